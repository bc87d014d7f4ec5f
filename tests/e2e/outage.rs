//! The API server goes and comes back.

use serde_json::json;

use crate::{
    harness::{Test, tests},
    pods::{has_role, pod},
    support::{ROLE, ROLE_ANNOTATION},
    webhook::Cluster,
};

pub(crate) const TESTS: &[Test] = tests![after_a_crash_of_the_api_server_the_first_pods_have_their_identity];

async fn after_a_crash_of_the_api_server_the_first_pods_have_their_identity() {
    let mut cluster = Cluster::start("outage").await;
    cluster.api().await.create_namespace("outage").await;
    cluster.plane.kill_api_server();
    cluster.plane.start_api_server().await;

    let api = cluster.api().await;
    assert!(has_role(&api.create_pod("outage", &pod("of-an-old-account")).await.unwrap()));
    // Its watch has to be on its feet for one that is new.
    api.create_account("outage", "new", &json!({ROLE_ANNOTATION: ROLE})).await;
    let mut pod = pod("of-a-new-account");
    pod["spec"]["serviceAccountName"] = json!("new");
    assert!(has_role(&api.create_pod("outage", &pod).await.unwrap()));
}
