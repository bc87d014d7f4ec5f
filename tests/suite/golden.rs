//! Every recorded request, whole: through the core and through HTTP over TLS, its patch applied, its pod compared.
//!
//! `UPDATE_GOLDENS=1 cargo test golden` writes the files anew; read the difference before you commit it.

use std::fs;

use serde_json::{Value, json};

use crate::support::{self, server::Server};

/// What is kept of an answer: all of it, with the patch decoded and applied. `managedFields`, half of a recorded pod
/// and never touched, are compared here and left out of the file.
fn golden(request: &Value, answer: &[u8]) -> Value {
    let mut answer: Value = serde_json::from_slice(answer).unwrap();
    let patch = support::patch_of(&answer);
    if let Some(response) = answer["response"].as_object_mut() {
        response.remove("patch");
    }
    let pod = patch.as_ref().map(|patch| {
        let mut pod = request["request"]["object"].clone();
        json_patch::patch(&mut pod, &patch.0).unwrap();
        assert_eq!(pod["metadata"], request["request"]["object"]["metadata"]);
        pod["metadata"].as_object_mut().unwrap().remove("managedFields");
        pod
    });
    json!({"answer": answer, "patch": patch, "pod": pod})
}

fn check(name: &str, golden: &Value) {
    let path = support::path("goldens").join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(golden).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{name} differs from {}:\n{text}", path.display());
}

#[tokio::test]
async fn recorded_requests_are_answered_as_agreed() {
    let server = Server::start(support::server::Options::default()).await;
    let mut client = server.client().await;
    let names = support::all_recorded();
    assert_eq!(names.len(), 37);
    for name in names {
        let body = support::recorded(&name);
        let request: Value = serde_json::from_slice(&body).unwrap();
        let answer = support::admit(&*body, support::recorded_account).unwrap().unwrap();
        check(&name, &golden(&request, &answer.body));

        let response = client.mutate(&body).await;
        assert_eq!(response.status, 200, "{name}");
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.body, answer.body, "{name}: HTTP and the core answer differently");
    }
}

/// Reinvocation: what was injected is not injected again.
#[test]
fn a_second_run_adds_nothing() {
    for name in support::all_recorded() {
        let mut request: Value = serde_json::from_slice(&support::recorded(&name)).unwrap();
        let answer = support::admit(request.to_string(), support::recorded_account).unwrap().unwrap();
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let Some(patch) = support::patch_of(&answer) else { continue };
        json_patch::patch(&mut request["request"]["object"], &patch.0).unwrap();

        let again = support::admit(request.to_string(), support::recorded_account).unwrap().unwrap();
        let again: Value = serde_json::from_slice(&again.body).unwrap();
        assert!(support::patch_of(&again).is_none(), "{name}: {again}");
        assert_eq!(again["response"]["auditAnnotations"]["outcome"], "unchanged", "{name}");
    }
}
