//! Accounts that come, change and go.

use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    api::Api,
    harness::{Test, tests},
    identity,
    pods::{has_role, pod},
    support::{ROLE, ROLE_ANNOTATION},
    webhook::shared,
};

pub(crate) const TESTS: &[Test] = tests![
    a_pod_right_after_its_account_is_injected,
    an_account_created_anew_gives_its_new_role,
    a_role_that_is_changed_or_taken_away_is_followed
];

/// How many pods come right behind their account.
const PAIRS: usize = 500;

async fn a_pod_right_after_its_account_is_injected() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("race").await;
    assert_eq!(right_behind(&api, "race", PAIRS).await, PAIRS);
}

/// Creates accounts, each with a pod right behind it, eight pairs at a time; says how many pods have their role.
pub(crate) async fn right_behind(api: &Api, namespace: &str, pairs: usize) -> usize {
    let pods = stream::iter(0..pairs).map(|index| async move {
        let name = format!("account-{index}");
        api.create_account(namespace, &name, &json!({ROLE_ANNOTATION: ROLE})).await;
        let mut pod = pod(&name);
        pod["spec"]["serviceAccountName"] = json!(name);
        api.create(&format!("/api/v1/namespaces/{namespace}/pods"), &pod).await.unwrap()
    });
    pods.buffer_unordered(8).filter(|pod| std::future::ready(has_role(pod))).count().await
}

async fn an_account_created_anew_gives_its_new_role() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("anew").await;
    assert!(has_role(&api.create_pod("anew", &pod("before")).await.unwrap()));
    api.delete("/api/v1/namespaces/anew/serviceaccounts/api").await.unwrap();
    // The API server itself refuses pods of a deleted account, once its own watch has seen the deletion.
    let new_role = "arn:aws:iam::111122223333:role/new";
    api.create_account("anew", "api", &json!({ROLE_ANNOTATION: new_role})).await;
    sees(&api, "anew", new_role).await;
}

async fn a_role_that_is_changed_or_taken_away_is_followed() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("changes").await;
    let account = "/api/v1/namespaces/changes/serviceaccounts/api";
    for role in [json!("arn:aws:iam::111122223333:role/other"), Value::Null] {
        let change = json!({"metadata": {"annotations": {ROLE_ANNOTATION: role}}});
        api.merge(account, &change).await.unwrap();
        sees(&api, "changes", role.as_str().unwrap_or_default()).await;
    }
}

/// Waits until pods of the account `api` are given this role; an empty one: none.
async fn sees(api: &Api, namespace: &str, role: &str) {
    for _ in 0..1000 {
        let pods = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
        if let Ok(pod) = api.create(&pods, &pod("probe")).await {
            let identity = identity::of(&pod);
            if identity["containers"]["app"]["AWS_ROLE_ARN"].as_str().unwrap_or_default() == role {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("pods in {namespace} are not given {role:?} after 20 s");
}
