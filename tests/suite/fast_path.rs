//! Requests of pods without a role are answered with and without parsing. Both answers are equal.

use std::sync::Arc;

use eks_pod_identity_webhook::{
    admission::{Answer, Buffers, Outcome, Webhook},
    injection::account::Account,
};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::{
    checks::admission::is_as_encoded,
    properties,
    support::{self, recorded},
};

/// The accounts of the recorded requests; `plain` and `default` have no role.
fn look_up(namespace: &str, name: &str) -> Option<Account> {
    support::recorded_account(namespace, name)
}

/// The answer without parsing, where there is one.
fn fast_path(body: &[u8]) -> Option<(Outcome, Vec<u8>)> {
    let (mut buffers, mut response) = (Buffers::default(), Vec::new());
    let (_, outcome) = Webhook::new(Arc::default()).fast_path(body, look_up, &mut buffers)?;
    buffers.take_response(&mut response);
    Some((outcome, response))
}

/// The answer by way of the parser; `None` if the request is refused or its account unknown.
fn parse(body: &[u8]) -> Option<(Outcome, Vec<u8>)> {
    let (mut buffers, mut body) = (Buffers::default(), body.to_vec());
    let webhook = Webhook::new(Arc::default());
    let document = buffers.parse(&mut body).ok()?;
    let request = webhook.read(&document).ok()?;
    let Answer::Rendered(outcome) = webhook.answer(&request, look_up, &mut buffers).ok()? else {
        return None;
    };
    let mut response = Vec::new();
    buffers.take_response(&mut response);
    Some((outcome, response))
}

/// What a kube-apiserver would send for the creation of this object.
fn creation_of(object: Value) -> Vec<u8> {
    let mut review: Value = serde_json::from_slice(&recorded("unannotated-account")).unwrap();
    review["request"]["object"] = object;
    serde_json::to_vec(&review).unwrap()
}

/// Names the account as kube-apiserver does, in two fields that follow each other.
fn name_account(pod: &mut Value, account: &str) {
    if let Some(spec) = pod["spec"].as_object_mut() {
        for field in ["serviceAccountName", "serviceAccount"] {
            spec.shift_remove(field);
            spec.insert(field.to_owned(), account.into());
        }
    }
}

fn assert_agreement(body: &[u8]) {
    let (Some(short), Some(long)) = (fast_path(body), parse(body)) else { return };
    let [short, long] = [short, long].map(|(outcome, body)| (outcome, String::from_utf8(body).unwrap()));
    assert_eq!(short, long, "{}", String::from_utf8_lossy(body));
}

#[test]
fn recorded_requests_without_a_role_are_answered_unparsed_and_no_others() {
    for name in support::all_recorded() {
        let body = recorded(&name);
        assert_agreement(&body);
        let unparsed = matches!(&*name, "unannotated-account" | "default-account");
        assert_eq!(fast_path(&body).is_some(), unparsed, "{name}");
    }
}

#[test]
fn a_key_of_the_same_name_hides_nothing() {
    let pod = |account: &str, decoy: &str| {
        let text = format!(r#"{{"serviceAccountName":"{decoy}"}}"#);
        creation_of(json!({
            "metadata": {"annotations": {"serviceAccountName": decoy, "text": text}},
            "spec": {"containers": [{"name": "a"}], "serviceAccountName": account, "serviceAccount": account},
        }))
    };
    assert_eq!(fast_path(&pod("plain", "default")).unwrap().0, Outcome::NoRole);
    for (account, decoy) in
        [("api", "plain"), ("plain", "api"), ("plain", "unknown"), ("", "plain"), ("plain", "")]
    {
        assert_eq!(fast_path(&pod(account, decoy)), None, "{account:?} {decoy:?}");
    }
    assert_eq!(parse(&pod("api", "plain")).unwrap().0, Outcome::Injected);
    // In a string its quotes are escaped, so it does not match the pattern.
    let text = json!({
        "metadata": {"annotations": {"text": r#"{"serviceAccountName":"api"}"#}},
        "spec": {"containers": [{"name": "a"}], "serviceAccountName": "plain", "serviceAccount": "plain"},
    });
    assert_eq!(fast_path(&creation_of(text)).unwrap().0, Outcome::NoRole);
}

/// kube-apiserver names an account in every pod, unless its ServiceAccount plugin is switched off: then a label would
/// have been taken for it.
#[test]
fn a_key_of_the_same_name_is_not_taken_for_the_pods_account() {
    let pod = creation_of(json!({
        "metadata": {"labels": {"serviceAccount": "plain", "serviceAccountName": "plain"}},
        "spec": {"containers": [{"name": "a"}]},
    }));
    assert_eq!(fast_path(&pod), None);
}

#[test]
fn unusual_requests_are_left_to_the_parser() {
    let usual = String::from_utf8(recorded("unannotated-account")).unwrap();
    assert!(fast_path(usual.as_bytes()).is_some());
    for (old, new) in [
        (r#"{"kind":"#, r#"{ "kind":"#),
        (r#""serviceAccountName":"plain""#, r#""serviceAccountName": "plain""#),
        (r#""serviceAccountName":"plain""#, r#""serviceAccountName":"pl\u0061in""#),
        (r#""serviceAccountName":"plain","#, ""),
        (r#""serviceAccountName":"plain""#, r#""serviceAccountName":null"#),
        (r#""operation":"CREATE""#, r#""operation":"UPDATE""#),
        (r#""namespace":"payments","operation""#, r#""operation""#),
        (r#""apiVersion":"admission.k8s.io/v1""#, r#""apiVersion":"admission.k8s.io/v2""#),
        (r#""resource":"pods"},"requestKind""#, r#""resource":"pods"},"subResource":"x","requestKind""#),
        (r#""metadata":{"#, r#""metadata":{"labels":{"eks.amazonaws.com/skip-pod-identity-webhook":""},"#),
        (r#""metadata":{"#, r#""metadata":{"annotations":{"kubernetes.io/config.mirror":""},"#),
    ] {
        let unusual = usual.replacen(old, new, 1);
        assert_ne!(unusual, usual, "{old}");
        assert_eq!(fast_path(unusual.as_bytes()), None, "{new}");
    }
}

/// What the generated pods' accounts and decoys are called: known without a role, mostly.
const ACCOUNTS: &[&str] = &["plain", "plain", "plain", "default", "default", "api", "unknown", "", "a\"b"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_ways_agree_on_every_pod(
        mut pod in properties::pod(),
        account in select(ACCOUNTS),
        decoys in vec((select(&["annotations", "labels", "x"][..]), select(ACCOUNTS)), 0..3),
        exempting in prop::option::weighted(0.1, select(&[
            ("annotations", "kubernetes.io/config.mirror"),
            ("labels", "eks.amazonaws.com/skip-pod-identity-webhook"),
        ][..])),
    ) {
        // Only where the object is one: the others are refused by the long way.
        if pod["metadata"].is_object() && pod["spec"].is_object() {
            name_account(&mut pod, account);
            let decoys = decoys.into_iter().map(|(map, account)| (map, "serviceAccountName", account));
            for (map, key, value) in decoys.chain(exempting.map(|(map, key)| (map, key, ""))) {
                let map = &mut pod["metadata"][map];
                if map.is_object() || map.is_null() {
                    map[key] = value.into();
                }
            }
        }
        assert_agreement(&creation_of(pod));
    }

    #[test]
    fn both_ways_agree_on_damaged_requests(
        name in select(&["unannotated-account", "default-account", "minimal"][..]),
        edits in vec((any::<prop::sample::Index>(), 0..40_usize, any::<prop::sample::Index>(), 0..60_usize), 1..4),
    ) {
        // Pieces of the request are cut out and others put in their place.
        let mut body = recorded(name);
        for (at, cut, from, take) in edits {
            let (at, from) = (at.index(body.len()), from.index(body.len()));
            let piece = body[from..body.len().min(from + take)].to_vec();
            let end = body.len().min(at + cut);
            body.splice(at..end, piece);
        }
        if is_as_encoded(&body) {
            assert_agreement(&body);
        }
    }
}

/// The generator has to reach what the property is about.
#[test]
fn many_generated_pods_are_answered_both_ways() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut both = 0;
    for _ in 0..500 {
        let mut pod = properties::pod().new_tree(&mut runner).unwrap().current();
        name_account(&mut pod, "plain");
        let body = creation_of(pod);
        both += usize::from(fast_path(&body).is_some() && parse(&body).is_some());
    }
    // Most of the others have a key under our prefix, which only the parser reads.
    assert!(both > 200, "{both} of 500");
}
