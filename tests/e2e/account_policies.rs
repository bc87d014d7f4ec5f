//! The policies for ServiceAccounts: mistakes are reported to their writer, and a namespace uses its own roles only.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::{
    api::Api,
    control_plane::ControlPlane,
    harness::{Test, tests},
    support::{ROLE, manifests, resolver},
    wait::eventually,
};

pub(crate) const TESTS: &[Test] = tests![
    mistakes_in_annotations_are_warned_of_when_the_account_is_written,
    a_namespace_uses_the_roles_that_it_permits
];

/// `annotationPolicy` as by default, and `rolePolicy` with a default of `arn:…:role/tenants/{namespace}/*`.
const POLICIES: &str = "tests/fixtures/rendered/account-policies.yaml";

const PREFIX: &str = "eks.amazonaws.com";

async fn mistakes_in_annotations_are_warned_of_when_the_account_is_written() {
    let (_plane, api) = with_policies("annotation-policy").await;
    let keys: Value = serde_json::from_str(include_str!("../fixtures/annotation-keys.json")).unwrap();
    for key in keys["near"].as_object().unwrap().keys() {
        is_reported_as_by_the_program(&api, &json!({key: "arn:aws:iam::111122223333:role/a"})).await;
    }
    for key in keys["not"].as_array().unwrap() {
        let (_, warnings) = write(&api, &json!({key.as_str().unwrap(): "value"})).await;
        assert_eq!(warnings, "", "{key}");
    }
    let key = |name: &str| format!("{PREFIX}/{name}");
    let role = |name: &str| json!({key("role-arn"): format!("arn:aws:iam::111122223333:role/{name}")});
    let of_china = "arn:aws-cn:iam::111122223333:role/tenants/annotations/a";
    for annotations in [
        json!({key("role-arn"): "app"}),
        json!({key("role-arn"): "arn:aws:iam::1:role/a"}),
        json!({key("role-arn"): "arn:aws:iam::111122223333:user/a"}),
        role(&"a".repeat(65)),
        role("a//b"),
        role("/a"),
        role("a/"),
        json!({key("token-expiration"): "soon"}),
        json!({key("token-expiration"): "1h"}),
        json!({key("token-expiration"): "5"}),
        json!({key("token-expiration"): "-5"}),
        json!({key("token-expiration"): "99999999999"}),
        json!({key("token-expiration"): "9".repeat(30)}),
        json!({key("sts-regional-endpoints"): "maybe"}),
        json!({key("session-name"): "mine"}),
        json!({key("audience"): "a".repeat(600)}),
        json!({key("region"): "us-east-1a"}),
        json!({key("region"): "us-gov-west-1b"}),
        json!({key("region"): "Frankfurt"}),
        json!({key("region"): "eu-west1"}),
        json!({key("role-arn"): of_china, key("region"): "us-east-1"}),
        json!({key("role-arn"): "arn:aws:iam::111122223333:role/a", key("region"): "us-isob-east-1"}),
    ] {
        is_reported_as_by_the_program(&api, &annotations).await;
    }
    let sound = json!({
        key("role-arn"): of_china, key("region"): "cn-north-1", key("token-expiration"): "900",
        key("sts-regional-endpoints"): "true", key("audience"): "a", key("skip-containers"): "b",
        key("session-name"): "none",
    });
    assert_eq!(write(&api, &sound).await.1, "");
}

/// Writes an account with these annotations and a role, without which only keys are reported to those who create pods.
async fn is_reported_as_by_the_program(api: &Api, annotations: &Value) {
    let role = json!({format!("{PREFIX}/role-arn"): "arn:aws:iam::111122223333:role/tenants/accounts/a"});
    let mut annotated = role;
    json_patch::merge(&mut annotated, annotations);
    let pairs = annotated.as_object().unwrap();
    let account = resolver().resolve(pairs.iter().map(|(key, value)| (&**key, value.as_str().unwrap())));
    let (_, warnings) = write(api, &annotated).await;
    assert!(!account.warnings().is_empty(), "{annotations}");
    for warning in account.warnings().iter().map(|warning| warning.as_ref()) {
        let expected = warning.strip_prefix("ServiceAccount ").unwrap();
        assert!(warnings.contains(expected), "{annotations}: {warnings:?} lacks {expected:?}");
    }
}

async fn a_namespace_uses_the_roles_that_it_permits() {
    let (_plane, api) = with_policies("role-policy").await;
    let role = |role: &str| json!({format!("{PREFIX}/role-arn"): role});
    let own = role("arn:aws:iam::111122223333:role/tenants/accounts/api");
    eventually("the policy", async || write(&api, &role(ROLE)).await.0 == StatusCode::FORBIDDEN).await;
    assert_eq!(write(&api, &own).await.0, StatusCode::CREATED);
    assert_eq!(write(&api, &json!({"example.com/a": "b"})).await.0, StatusCode::CREATED);
    let (_, _, text) = write_whole(&api, &role(ROLE)).await;
    let expected = "the namespace accounts permits arn:aws:iam::111122223333:role/tenants/accounts/* (annotation \
        eks.amazonaws.com/permitted-roles of the Namespace), not arn:aws:iam::111122223333:role/payments-api";
    assert!(text.contains(expected), "{text}");

    let permitted = "arn:aws:iam::*:role/payments-*, arn:aws:iam::1.1122223333:role/q";
    let annotations = json!({"metadata": {"annotations": {"eks.amazonaws.com/permitted-roles": permitted}}});
    api.merge("/api/v1/namespaces/accounts", &annotations).await.unwrap();
    eventually("the annotation", async || write(&api, &role(ROLE)).await.0 == StatusCode::CREATED).await;
    for refused in ["arn:aws:iam::111122223333:role/q", "arn:aws:iam::111122223333:role/tenants/accounts/api"]
    {
        assert_eq!(write(&api, &role(refused)).await.0, StatusCode::FORBIDDEN, "{refused}");
    }
    roles_are_permitted_as_by_the_program(&api).await;
    // An account that existed before can still be written by others.
    let before = "/api/v1/namespaces/accounts/serviceaccounts/before";
    api.merge(before, &json!({"metadata": {"labels": {"a": "b"}}})).await.unwrap();
    let other = json!({"metadata": {"annotations": role("arn:aws:iam::111122223333:role/other")}});
    assert!(api.merge(before, &other).await.unwrap_err().to_string().contains("permits"));
}

/// The cases that the program passes as well, each in a Namespace of its own.
async fn roles_are_permitted_as_by_the_program(api: &Api) {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../fixtures/role-policy.json")).unwrap();
    let mut tried = 0;
    for (index, case) in cases.iter().enumerate() {
        let (namespace, annotations) = match (case["annotation"].as_str(), case["default"].as_str()) {
            (Some(annotation), _) => {
                (format!("case-{index}"), json!({"eks.amazonaws.com/permitted-roles": annotation}))
            }
            // The default of the rendered policy.
            (None, Some("arn:aws:iam::111122223333:role/tenants/{namespace}/*")) => {
                ("payments".to_owned(), json!({}))
            }
            _ => continue,
        };
        let object = json!({"metadata": {"name": namespace, "annotations": annotations}});
        if let Err(error) = api.create("/api/v1/namespaces", &object).await {
            assert!(namespace == "payments" && error.to_string().contains("already exists"), "{error}");
        }
        let account = json!({format!("{PREFIX}/role-arn"): case["role"]});
        let (status, _, text) = write_to(api, &namespace, &account).await;
        let expected = if case["permitted"] == true { StatusCode::CREATED } else { StatusCode::FORBIDDEN };
        assert_eq!(status, expected, "{case}: {text}");
        tried += 1;
    }
    assert!(tried > 15, "{tried}");
}

/// A control plane with both policies, and the namespace `accounts` with an account of a role that is not permitted.
async fn with_policies(name: &str) -> (ControlPlane, Api) {
    let plane = ControlPlane::start(name).await;
    let api = plane.api().await;
    api.create("/api/v1/namespaces", &json!({"metadata": {"name": "accounts"}})).await.unwrap();
    api.create_account(
        "accounts",
        "before",
        &json!({format!("{PREFIX}/role-arn"): "arn:aws:iam::111122223333:role/x"}),
    )
    .await;
    for object in manifests::read(POLICIES) {
        api.apply(&object).await.unwrap_or_else(|error| panic!("{error}: {object}"));
    }
    let misspelled = json!({format!("{PREFIX}/role-arm"): "x"});
    eventually("the policies", async || !write(&api, &misspelled).await.1.is_empty()).await;
    (plane, api)
}

/// Writes an account as a dry run: the status, and the warnings.
async fn write(api: &Api, annotations: &Value) -> (StatusCode, String) {
    let (status, warnings, _) = write_whole(api, annotations).await;
    (status, warnings)
}

async fn write_whole(api: &Api, annotations: &Value) -> (StatusCode, String, String) {
    write_to(api, "accounts", annotations).await
}

async fn write_to(api: &Api, namespace: &str, annotations: &Value) -> (StatusCode, String, String) {
    let account = json!({"metadata": {"generateName": "a-", "annotations": annotations}});
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts?dryRun=All");
    let response = api.create_raw(&path, &account).await;
    let warnings = response
        .headers()
        .get_all("warning")
        .iter()
        .map(|value| unquoted(&String::from_utf8_lossy(value.as_bytes())));
    let (status, warnings) = (response.status(), warnings.collect::<Vec<_>>().join("\n"));
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let status_object: Value = serde_json::from_slice(&body).unwrap();
    (status, warnings, status_object["message"].as_str().unwrap_or_default().to_owned())
}

/// The text of a header `299 - "…"` (RFC 9110, quoted-string).
fn unquoted(warning: &str) -> String {
    let text = warning.splitn(3, ' ').last().unwrap_or_default();
    text.trim_matches('"').replace(r#"\""#, "\"")
}
