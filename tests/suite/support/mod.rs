//! What the tests share: recorded requests, a server on loopback, a client that shows every byte, an API server, the manifests of
//! `deploy/`.

pub(crate) mod api_server;
pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod issuer;
pub(crate) mod manifests;
pub(crate) mod pki;
pub(crate) mod port_forward;
pub(crate) mod proxy;
pub(crate) mod server;

use std::{fs, future::Future, path::PathBuf, sync::Arc, time::Duration};

use base64_simd::STANDARD;
use eks_pod_identity_webhook::{
    accounts::assignments::Assignments,
    admission::{BadReview, Buffers, Outcome, Webhook},
    injection::{account::Account, resolver::Resolver, settings::Settings},
};
use serde_json::Value;

pub(crate) const ROLE: &str = "arn:aws:iam::111122223333:role/payments-api";
pub(crate) const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";

/// A file beneath `tests/`.
pub(crate) fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(relative)
}

/// A request that a kube-apiserver sent, byte for byte.
pub(crate) fn recorded(name: &str) -> Vec<u8> {
    fs::read(path("fixtures/admission-reviews").join(format!("{name}.json"))).unwrap()
}

/// The recorded request `minimal`, for a pod of another account.
pub(crate) fn minimal_of(account: &str) -> Vec<u8> {
    let body = String::from_utf8(recorded("minimal")).unwrap();
    let [old, new] = ["api", account].map(|name| format!(r#""serviceAccountName":"{name}""#));
    assert!(body.contains(&old));
    body.replace(&old, &new).into_bytes()
}

/// The names of all recorded requests.
pub(crate) fn all_recorded() -> Vec<String> {
    let entries = fs::read_dir(path("fixtures/admission-reviews")).unwrap();
    let names = entries.filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".json").map(ToOwned::to_owned)
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// A resolver with default settings.
pub(crate) fn resolver() -> Resolver {
    Resolver::new(Arc::default())
}

/// What accounts are assigned by their annotations alone, with default settings.
pub(crate) fn assignments() -> Assignments {
    Assignments::new(Arc::new(resolver()))
}

/// An account with these annotations under the default settings.
pub(crate) fn account(annotations: &[(&str, &str)]) -> Account {
    resolver().resolve(annotations.iter().copied())
}

/// The accounts that existed when the requests were recorded.
pub(crate) fn recorded_account(namespace: &str, name: &str) -> Option<Account> {
    match (namespace, name) {
        ("payments", "api") => Some(account(&[(ROLE_ANNOTATION, ROLE)])),
        ("payments", "plain" | "default") => Some(Account::Nothing),
        _ => None,
    }
}

/// The core's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) outcome: Outcome,
}

/// The core's answer under the default settings.
pub(crate) fn admit(
    body: impl Into<Vec<u8>>,
    look_up: impl FnMut(&str, &str) -> Option<Account>,
) -> Result<Option<Answer>, BadReview> {
    let (webhook, mut body) = (Webhook::new(Arc::new(Settings::default())), body.into());
    let outcome = webhook.admit(&mut body, &mut Buffers::default(), look_up)?;
    Ok(outcome.map(|outcome| Answer { body, outcome }))
}

/// The patch of an AdmissionReview's response, decoded.
pub(crate) fn patch_of(answer: &Value) -> Option<json_patch::Patch> {
    let encoded = answer["response"]["patch"].as_str()?;
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
    Some(serde_json::from_slice(&STANDARD.decode_to_vec(encoded).unwrap()).unwrap())
}

/// Waits until something holds; fails after 20 s, which only a hang reaches.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(what, wait).await;
}

/// Awaits a future that is expected to end; fails after 20 s.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen within 20 s: {what}"),
    }
}

/// The value of a metric in a rendered exposition; 0 if it is not there.
pub(crate) fn metric(exposition: &str, series: &str) -> f64 {
    let prefix = format!("{series} ");
    exposition
        .lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .map_or(0.0, |value| value.trim().parse().unwrap())
}
