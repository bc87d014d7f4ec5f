//! No account makes the admission of its pods cost more than a small multiple of an ordinary one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eks_pod_identity_webhook::{
    accounts::cache::State,
    admission::{Buffers, Webhook},
    injection::account::Account,
};

use crate::support::{self, ROLE, ROLE_ANNOTATION, recorded};

const RUNS: usize = 300;

/// The shortest of many admissions of the same pod, and the length of the answer.
fn cost(account: &Account) -> (Duration, usize) {
    let (webhook, mut buffers) = (Webhook::new(Arc::default()), Buffers::default());
    let mut answer = Vec::new();
    let admit = || {
        answer = recorded_body();
        let begun = Instant::now();
        webhook.admit(&mut answer, &mut buffers, |_, _| Some(account.clone())).unwrap().unwrap();
        (begun.elapsed(), answer.len())
    };
    std::iter::repeat_with(admit).take(RUNS).min().unwrap()
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
