//! A cluster of many accounts.

use futures::{StreamExt, stream};
use serde_json::json;

use crate::{
    harness::{Test, tests},
    pods::{has_role, pod},
    support::{ROLE, ROLE_ANNOTATION},
    webhook::Cluster,
};

pub(crate) const TESTS: &[Test] = tests![a_pod_of_any_of_10_000_accounts_has_its_role];

const NAMESPACES: usize = 20;
const ACCOUNTS: usize = 10_000;

async fn a_pod_of_any_of_10_000_accounts_has_its_role() {
    let cluster = Cluster::start("scale").await;
    let api = &cluster.api().await;
    for index in 0..NAMESPACES {
        api.create("/api/v1/namespaces", &json!({"metadata": {"name": format!("scale-{index}")}}))
            .await
            .unwrap();
    }
    let place = |index: usize| (format!("scale-{}", index % NAMESPACES), format!("account-{index}"));
    let created = stream::iter(0..ACCOUNTS).map(|index| async move {
        let (namespace, name) = place(index);
        api.create_account(&namespace, &name, &json!({ROLE_ANNOTATION: ROLE})).await;
    });
    created.buffer_unordered(64).count().await;

    // The last ones first: the watch has just heard of them.
    for index in (0..ACCOUNTS).rev().step_by(97) {
        let (namespace, name) = place(index);
        let mut pod = pod(&name);
        pod["spec"]["serviceAccountName"] = json!(name);
        let pods = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
        assert!(has_role(&api.create(&pods, &pod).await.unwrap()), "{name}");
    }
    let annotated = r#"accounts{state="annotated"}"#;
    assert!(cluster.metric(annotated).await >= ACCOUNTS as f64);

    // And one that starts now lists them all before it is ready.
    let late = cluster.run("late").await;
    late.is_ready().await;
    assert!(late.metric(annotated).await >= ACCOUNTS as f64);
}
