//! Pods that are refused credentials: the SDK's message is a symptom that `docs/troubleshooting.md` lists.

use serde_json::{Value, json};

use super::{ACCOUNT, PAGE, World, node::ISSUER, role, said, trust_policy};

const NOT_AUTHORIZED: &str = "Not authorized to perform sts:AssumeRoleWithWebIdentity";

pub(super) async fn all(world: &mut World<'_>) {
    trust_policy_does_not_fit(world).await;
    provider_does_not_fit(world).await;
    documents_do_not_fit(world).await;
    token_has_expired(world).await;
    arn_is_malformed(world).await;
    authority_is_not_trusted(world).await;
}

/// A pod of the account `name` with these annotations is refused with `message`.
async fn refused(world: &World<'_>, name: &str, annotations: &Value, message: &str) {
    let output = world.run(name, annotations).await;
    assert!(!output.status.success(), "{name}: {output:?}");
    assert!(said(&output).contains(message), "{name}, not {message:?}:\n{}", said(&output));
    assert!(PAGE.contains(message), "docs/troubleshooting.md does not list {message:?}");
}

async fn trust_policy_does_not_fit(world: &mut World<'_>) {
    let other_namespace = trust_policy(&["--service-account=payments/other-namespace"]);
    let other_account = world.trusting("other");
    let account = format!("--service-account={}/other-audience", world.namespace);
    let other_audience = trust_policy(&[&account, "--token-audience=vault"]);
    let other_issuer = trust_policy(&[
        &format!("--service-account={}/other-issuer", world.namespace),
        "--issuer=https://old.test",
    ]);
    let pattern = trust_policy(&[&format!("--service-account={}-*/other-pattern", world.namespace)]);
    for (name, policy) in [
        ("other-namespace", other_namespace),
        ("other-account", other_account),
        ("other-audience", other_audience),
        ("other-issuer", other_issuer),
        ("other-pattern", pattern),
    ] {
        let arn = world.role(name, policy);
        refused(world, name, &role(&arn), NOT_AUTHORIZED).await;
    }
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/not-there");
    refused(world, "not-there", &role(&arn), NOT_AUTHORIZED).await;
}

async fn provider_does_not_fit(world: &mut World<'_>) {
    world.node.state["accounts"][ACCOUNT]["providers"][ISSUER] = json!(["sts.amazonaws.com"]);
    let arn = world.role("unknown-audience", world.trusting("unknown-audience"));
    let annotations = json!({"eks.amazonaws.com/role-arn": arn, "eks.amazonaws.com/audience": "unknown"});
    refused(world, "unknown-audience", &annotations, "Incorrect token audience").await;
    // Another account's role: that account does not know the issuer.
    let message = "No OpenIDConnect provider found in your account for";
    refused(world, "no-provider", &role("arn:aws:iam::444455556666:role/no-provider"), message).await;
}

async fn documents_do_not_fit(world: &mut World<'_>) {
    let message = "Couldn't retrieve verification key from your identity provider";
    let arn = world.role("rotated", world.trusting("rotated"));
    world.node.publish(&[world.node.key("new")]);
    refused(world, "rotated", &role(&arn), message).await;
    world.node.state["issuers"] = json!({});
    refused(world, "unpublished", &role(&arn), message).await;
    // With both keys published, tokens of either are good.
    world.node.publish(&[world.node.key("new"), world.node.accounts_key()]);
    let arn = world.role("published", world.trusting("published"));
    let output = world.run("published", &role(&arn)).await;
    assert!(output.status.success(), "{output:?}");
}

async fn token_has_expired(world: &mut World<'_>) {
    let arn = world.role("expired", world.trusting("expired"));
    world.node.state["seconds_ahead"] = json!(3600);
    refused(world, "expired", &role(&arn), "Token expired: current date/time").await;
    world.node.state["seconds_ahead"] = json!(0);
}

async fn arn_is_malformed(world: &mut World<'_>) {
    refused(world, "malformed", &role("a-name-instead-of-an-arn"), "Request ARN is invalid").await;
    refused(world, "short", &role("a-name"), world.sdk.short_arn).await;
}

async fn authority_is_not_trusted(world: &mut World<'_>) {
    let arn = world.role("untrusted", world.trusting("untrusted"));
    let container = world.container("untrusted", &role(&arn), &json!({})).await;
    let output = world.node.run_trusting(None, world.sdk, &container).await;
    let message = world.sdk.untrusted;
    assert!(!output.status.success() && said(&output).contains(message), "{}", said(&output));
    assert!(PAGE.contains(message), "docs/troubleshooting.md does not list {message:?}");
}
