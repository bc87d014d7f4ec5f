//! Clusters of many accounts.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use serde_json::json;

use crate::{
    accounts::right_behind,
    api::Api,
    harness::{Test, tests},
    pods::{has_role, pod},
    support::{ROLE, ROLE_ANNOTATION},
    wait::within,
    webhook::{Cluster, Replica},
};

pub(crate) const TESTS: &[Test] = tests![
    a_pod_of_any_of_10_000_accounts_has_its_role,
    accounts_with_large_annotations_take_little_memory;
    on_demand: a_hundred_thousand_accounts_in_5_000_namespaces,
];

const ANNOTATED: &str = r#"accounts{state="annotated"}"#;

/// How many pods follow their account at once.
const PAIRS: usize = 500;

async fn a_pod_of_any_of_10_000_accounts_has_its_role() {
    const ACCOUNTS: usize = 10_000;
    let cluster = Cluster::start("scale").await;
    let api = &cluster.api().await;
    create(api, 20, ACCOUNTS).await;

    // The last ones first: the watch has just seen them.
    for index in (0..ACCOUNTS).rev().step_by(97) {
        let (namespace, name) = (format!("scale-{ACCOUNTS}-{}", index % 20), format!("account-{index}"));
        let mut pod = pod(&name);
        pod["spec"]["serviceAccountName"] = json!(name);
        let pods = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
        assert!(has_role(&api.create(&pods, &pod).await.unwrap()), "{name}");
    }
    assert!(cluster.metric(ANNOTATED).await >= ACCOUNTS as f64);

    // And one that starts now lists them all before it is ready.
    let late = cluster.run("late").await;
    late.is_ready().await;
    assert!(late.metric(ANNOTATED).await >= ACCOUNTS as f64);
}

/// Each annotation is close to the limit of Kubernetes, and JSON writes `<` in six bytes.
async fn accounts_with_large_annotations_take_little_memory() {
    const ACCOUNTS: usize = 200;
    const MOST: f64 = 128.0 * 1048576.0;
    let cluster = Cluster::start("large-annotations").await;
    let api = &cluster.api().await;
    api.create_namespace("tenant").await;
    let annotations = json!({"foreign": "<".repeat(260_000)});
    let created = stream::iter(0..ACCOUNTS).map(async |index| {
        api.create_account("tenant", &format!("account-{index}"), &annotations).await;
    });
    created.buffer_unordered(8).count().await;

    let late = cluster.run("late").await;
    within(Duration::from_secs(60), "it is ready", async || late.readyz().await.0 == 200).await;
    assert!(late.metric(r#"accounts{state="unannotated"}"#).await >= ACCOUNTS as f64);
    for replica in [&late, &cluster.replicas[0]] {
        figures("with large annotations", replica).await;
        let peak = replica.process_metric("process_resident_memory_peak_bytes").await;
        assert!(peak < MOST, "{peak} bytes");
    }
}

/// Takes minutes: `cargo test --test e2e scale:: -- --ignored` prints the figures of `docs/reliability.md`. `E2E_PROGRAM` names a
/// release build.
async fn a_hundred_thousand_accounts_in_5_000_namespaces() {
    const ACCOUNTS: usize = 100_000;
    const NAMESPACES: usize = 5_000;
    let mut cluster = Cluster::start("scale-100000").await;
    let api = cluster.api().await;
    let begun = Instant::now();
    create(&api, NAMESPACES, ACCOUNTS).await;
    println!("{ACCOUNTS} accounts created in {:.0?}", begun.elapsed());
    knows(&cluster.replicas[0], ACCOUNTS).await;
    figures("since before the first account", &cluster.replicas[0]).await;

    let begun = Instant::now();
    let late = cluster.run("late").await;
    within(Duration::from_secs(120), "it is ready", async || late.readyz().await.0 == 200).await;
    println!("ready {:.2?} after the start", begun.elapsed());
    assert!(late.metric(ANNOTATED).await >= ACCOUNTS as f64);
    figures("ready", &late).await;

    api.create_namespace("behind").await;
    assert_eq!(right_behind(&api, "behind", PAIRS).await, PAIRS);
    println!("{PAIRS} of {PAIRS} pods right behind their account have its role");

    // The history is gone when the API server comes back, and some accounts have changed.
    late.pause();
    create(&api, 5, 1_000).await;
    cluster.plane.kill_api_server();
    cluster.plane.start_api_server().await;
    let lists = cluster.metric("watch_lists_total").await;
    let begun = Instant::now();
    late.resume();
    knows(&late, ACCOUNTS + PAIRS + 1_000).await;
    println!("up to date {:.2?} after it went on without history", begun.elapsed());
    println!(
        "lists: {}, and {lists} of the replica that was not paused",
        late.metric("watch_lists_total").await
    );
    figures("after the list", &late).await;
    figures("of the other", &cluster.replicas[0]).await;
}

/// Creates accounts with a role, spread over namespaces.
async fn create(api: &Api, namespaces: usize, accounts: usize) {
    let prefix = format!("scale-{accounts}");
    let created = stream::iter(0..namespaces).map(async |index| {
        let namespace = json!({"metadata": {"name": format!("{prefix}-{index}")}});
        api.create("/api/v1/namespaces", &namespace).await.unwrap();
    });
    created.buffer_unordered(64).count().await;
    let created = stream::iter(0..accounts).map(async |index| {
        let name = format!("account-{index}");
        let namespace = format!("{prefix}-{}", index % namespaces);
        api.create_account(&namespace, &name, &json!({ROLE_ANNOTATION: ROLE})).await;
    });
    created.buffer_unordered(64).count().await;
}

/// Waits until a replica knows so many accounts with a role.
async fn knows(replica: &Replica, accounts: usize) {
    let limit = Duration::from_secs(120);
    within(limit, "every account is known", async || replica.metric(ANNOTATED).await >= accounts as f64)
        .await;
}

async fn figures(when: &str, replica: &Replica) {
    let mega = |bytes: f64| bytes / 1e6;
    let resident = mega(replica.process_metric("process_resident_memory_bytes").await);
    let peak = mega(replica.process_metric("process_resident_memory_peak_bytes").await);
    let seconds = replica.process_metric("process_cpu_seconds_total").await;
    println!("{when}: {resident:.0} MB resident, at most {peak:.0} MB; {seconds:.2} s of CPU");
}
