//! No account and no pod makes an admission cost more than a small multiple of an ordinary one of its size.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eks_pod_identity_webhook::{
    accounts::cache::State,
    admission::{Buffers, Webhook},
    injection::account::Account,
};

use serde_json::{Value, json};

use crate::support::{self, ROLE, ROLE_ANNOTATION, recorded};

const RUNS: usize = 300;

/// The shortest of many admissions of the same pod, and the length of the answer.
fn cost(account: &Account) -> (Duration, usize) {
    cost_of(account, RUNS, recorded_body)
}

fn cost_of(account: &Account, runs: usize, body: impl Fn() -> Vec<u8>) -> (Duration, usize) {
    let (webhook, mut buffers) = (Webhook::new(Arc::default()), Buffers::default());
    let mut answer = Vec::new();
    let admit = || {
        answer = body();
        let begun = Instant::now();
        webhook.admit(&mut answer, &mut buffers, |_, _| Some(account.clone())).unwrap().unwrap();
        (begun.elapsed(), answer.len())
    };
    std::iter::repeat_with(admit).take(runs).min().unwrap()
}

fn recorded_body() -> Vec<u8> {
    thread_local! {
        static BODY: Vec<u8> = recorded("minimal");
    }
    BODY.with(Clone::clone)
}

#[test]
fn hostile_annotations_cost_three_times_as_much_at_most() {
    let ordinary = cost(&support::account(&[(ROLE_ANNOTATION, ROLE)]));
    let names = "a,".repeat(127_000);
    let controls = "\u{1}".repeat(255_000);
    for (key, value) in [
        ("skip-containers", &names),
        ("include-containers", &names),
        ("skip-containers", &"x".repeat(255_000)),
        ("audience", &controls),
        ("audience", &"x".repeat(255_000)),
        ("region", &controls),
        ("token-expiration", &"9".repeat(255_000)),
        ("role-am", &controls),
    ] {
        let key = format!("eks.amazonaws.com/{key}");
        let account = support::account(&[(ROLE_ANNOTATION, ROLE), (&key, value)]);
        assert_eq!(State::of(&account), State::Malformed, "{key}");
        let hostile = cost(&account);
        assert!(
            hostile.0 <= ordinary.0 * 3,
            "{key}: {:?} where an ordinary one takes {:?}",
            hostile.0,
            ordinary.0
        );
        assert!(
            hostile.1 <= ordinary.1 * 3,
            "{key}: {} bytes where an ordinary one has {}",
            hostile.1,
            ordinary.1
        );
    }
}

#[test]
fn many_tokens_of_a_pod_and_many_mounts_of_them_do_not_multiply() {
    const MANY: usize = 6_000;
    let pod = |path: &str| {
        let token = json!({"serviceAccountToken": {"audience": "sts.amazonaws.com", "path": "token"}});
        let volume = |number| json!({"name": format!("v{number:05}"), "projected": {"sources": [token]}});
        let mount = |number| json!({"name": format!("w{number:05}"), "mountPath": path});
        let mut review: Value = serde_json::from_slice(&recorded_body()).unwrap();
        let spec = &mut review["request"]["object"]["spec"];
        spec["volumes"] = (0..MANY).map(volume).collect();
        spec["containers"][0]["volumeMounts"] = (0..MANY).map(mount).collect();
        review.to_string().into_bytes()
    };
    let account = support::account(&[(ROLE_ANNOTATION, ROLE)]);
    let [elsewhere, at_path] = [
        "/var/run/secrets/eks.amazonaws.com/serviceaccoun_",
        "/var/run/secrets/eks.amazonaws.com/serviceaccount",
    ]
    .map(|path| {
        let body = pod(path);
        cost_of(&account, 3, || body.clone()).0
    });
    assert!(at_path <= elsewhere * 3, "{at_path:?} at the token's path, {elsewhere:?} elsewhere");
}
