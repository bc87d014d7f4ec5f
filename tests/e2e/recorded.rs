//! The recorded requests' pods, created anew: the same as the core gives, which the goldens hold.

use std::fs;

use serde_json::{Value, json};

use crate::{
    api::Api,
    harness::{Test, tests},
    identity,
    support::{self, all_recorded, recorded},
    webhook::shared,
};

pub(crate) const TESTS: &[Test] = tests![recorded_pods_are_given_what_the_goldens_say];

async fn recorded_pods_are_given_what_the_goldens_say() {
    let cluster = shared().await;
    let api = cluster.api().await;
    create_accounts(&api).await;
    assert_eq!(deviations(&api).await, [] as [&str; 0]);
}

/// The accounts that there were when the requests were recorded.
pub(crate) async fn create_accounts(api: &Api) {
    api.create_namespace("payments").await;
    api.create_account("payments", "default", &json!({})).await;
}

/// Creates the pods of all recorded creations (as a dry run, since names repeat), and returns the names of those that
/// are not given what the golden says.
pub(crate) async fn deviations(api: &Api) -> Vec<String> {
    let mut deviations = Vec::new();
    let mut count = 0;
    for name in all_recorded() {
        let request: Value = serde_json::from_slice::<Value>(&recorded(&name)).unwrap()["request"].take();
        if request["operation"] != "CREATE" {
            continue;
        }
        let mut pod = request["object"].clone();
        pod["metadata"].as_object_mut().unwrap().remove("managedFields");
        let shown = api.create("/api/v1/namespaces/payments/pods?dryRun=All", &pod).await;
        let shown = shown.unwrap_or_else(|error| panic!("{name}: {error}"));
        count += 1;
        let golden = golden(&name, pod);
        if identity::of(&shown) != identity::of(&golden) || identity::env(&shown) != identity::env(&golden) {
            deviations.push(name);
        }
    }
    assert!(count > 25, "{count} creations were recorded");
    deviations
}

/// The pod as it should be: the golden's, or as it came where that has no patch.
fn golden(name: &str, pod: Value) -> Value {
    let golden = fs::read(support::path("goldens").join(format!("{name}.json"))).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    if golden["pod"].is_null() { pod } else { golden["pod"].clone() }
}
