//! The API server goes and comes back.

use serde_json::json;

use crate::{
    pods::{has_role, pod},
    support::{ROLE, ROLE_ANNOTATION},
    webhook::Cluster,
};

#[tokio::test]
async fn after_a_crash_of_the_api_server_the_first_pods_have_their_identity() {
    let Some(mut cluster) = Cluster::start("outage").await else { return };
    cluster.api().await.create_namespace("outage").await;
    for round in 0..3 {
        cluster.plane.kill_api_server();
        cluster.plane.start_api_server().await;
        let api = cluster.api().await;
        // One that was known before, and one that is new and comes with its account.
        let old = api.create_pod("outage", &pod(&format!("old-{round}"))).await.unwrap();
        let name = format!("new-{round}");
        api.create_account("outage", &name, &json!({ROLE_ANNOTATION: ROLE})).await;
        let mut new = pod(&name);
        new["spec"]["serviceAccountName"] = json!(name);
        let new = api.create_pod("outage", &new).await.unwrap();
        assert!(has_role(&old) && has_role(&new), "round {round}");
    }
}
