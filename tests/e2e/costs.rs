//! What a pod's creation costs in each mode. A measurement, not a promise: `docs/policy.md` has the figures.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    accounts::right_behind,
    api::Api,
    harness::{Outcome, Test, tests},
    pods::pod,
    policy,
    support::{ROLE, ROLE_ANNOTATION},
    webhook::Cluster,
};

pub(crate) const TESTS: &[Test] = tests![; on_demand: costs];

/// How many accounts the pod's namespace has.
const ACCOUNTS: [usize; 4] = [2, 15, 100, 1000];

/// How many creations are timed.
const TRIES: usize = 100;

/// How many accounts are followed by their pod at once.
const PAIRS: usize = 500;

// On demand: takes minutes and asserts nothing: cargo test --test e2e costs -- --ignored.
async fn costs() -> Outcome {
    let plane = policy::control_plane("costs-policy").await?;
    let api = plane.api().await;
    for accounts in ACCOUNTS {
        fill(&api, accounts).await;
    }
    for accounts in ACCOUNTS {
        println!("without either, {accounts} accounts: {:.1?}", latency(&api, accounts).await);
    }
    policy::apply(&plane, policy::DEFAULTS).await;
    policy::acts(&api, "accounts-2", &pod("probe")).await;
    for accounts in ACCOUNTS {
        println!("policy, {accounts} accounts: {:.1?}", latency(&api, accounts).await);
    }
    println!("policy: {} of {PAIRS} pods right behind their account have its role", followed(&api).await);

    let cluster = Cluster::start("costs-webhook").await;
    let api = cluster.api().await;
    for accounts in ACCOUNTS {
        fill(&api, accounts).await;
        println!("webhook, {accounts} accounts: {:.1?}", latency(&api, accounts).await);
    }
    println!("webhook: {} of {PAIRS} pods right behind their account have its role", followed(&api).await);
    Ok(())
}

async fn fill(api: &Api, accounts: usize) {
    let namespace = format!("accounts-{accounts}");
    api.create_namespace(&namespace).await;
    for index in 2..accounts {
        api.create_account(&namespace, &format!("account-{index}"), &json!({ROLE_ANNOTATION: ROLE})).await;
    }
}

/// The median of dry-run creations.
async fn latency(api: &Api, accounts: usize) -> Duration {
    let pods = format!("/api/v1/namespaces/accounts-{accounts}/pods?dryRun=All");
    let mut times = Vec::new();
    for _ in 0..TRIES {
        let begun = Instant::now();
        api.create(&pods, &pod("timed")).await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort();
    times[TRIES / 2]
}

async fn followed(api: &Api) -> usize {
    api.create_namespace("behind").await;
    right_behind(api, "behind", PAIRS).await
}
