//! Pods that are given credentials.

use serde_json::{Value, json};

use super::{ACCOUNT, World, kubelet::Container, node::ISSUER, role, said, trust_policy};

pub(super) async fn all(world: &mut World<'_>) {
    token_is_as_the_volume_asks(world).await;
    trust_policies(world).await;
    session_names(world).await;
    audience_of_the_account(world).await;
    region_is_the_endpoint(world).await;
}

/// Runs the SDK in a container, and expects a session of the role.
async fn granted(world: &World<'_>, container: &Container, session: &str) {
    let output = world.node.run(world.sdk, container).await;
    let arn = container.var("AWS_ROLE_ARN").replace(":iam:", ":sts:").replace(":role/", ":assumed-role/");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed.trim(), format!("{arn}/{session}"), "{}", said(&output));
}

async fn token_is_as_the_volume_asks(world: &mut World<'_>) {
    let arn = world.role("claims", world.trusting("claims"));
    let annotations =
        json!({"eks.amazonaws.com/role-arn": arn, "eks.amazonaws.com/token-expiration": "7200"});
    let container = world.container("claims", &annotations, &json!({})).await;
    let [(file, token)] = &container.tokens[..] else { panic!("{:?}", container.env) };
    assert_eq!(file.to_str().unwrap(), container.var("AWS_WEB_IDENTITY_TOKEN_FILE"));
    let claims = claims(token);
    assert_eq!(claims["aud"], json!(["sts.amazonaws.com"]));
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["kubernetes.io"]["pod"]["name"], "claims");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 7200);
    granted(world, &container, "claims").await;
}

async fn trust_policies(world: &mut World<'_>) {
    let namespace = world.namespace.clone();
    let exact = world.trusting("exact");
    let several = trust_policy(&[&format!("--service-account={namespace}/other,{namespace}/several")]);
    let pattern = trust_policy(&[&format!("--service-account={namespace}/patter?,{namespace}/other")]);
    // A role that two clusters use has the statements of both.
    let mut issuers = trust_policy(&["--service-account=payments/api", "--issuer=https://old.test"]);
    let own = world.trusting("issuers")["Statement"][0].take();
    issuers["Statement"].as_array_mut().unwrap().push(own);
    for (name, policy) in [("exact", exact), ("several", several), ("pattern", pattern), ("issuers", issuers)]
    {
        let arn = world.role(name, policy);
        let container = world.container(name, &role(&arn), &json!({})).await;
        granted(world, &container, name).await;
    }
}

async fn session_names(world: &mut World<'_>) {
    let long = "long.".repeat(40) + "n";
    let cases = [
        ("generated", json!({"name": null, "generateName": "generated-"}), None),
        ("one-character", json!({"name": "a"}), Some("pod-a".to_owned())),
        ("long", json!({"name": long}), None),
    ];
    for (name, metadata, session) in cases {
        let arn = world.role(name, world.trusting(name));
        let container = world.container(name, &role(&arn), &metadata).await;
        let injected = container.var("AWS_ROLE_SESSION_NAME").to_owned();
        granted(world, &container, session.as_deref().unwrap_or(&injected)).await;
    }
}

async fn audience_of_the_account(world: &mut World<'_>) {
    world.node.state["accounts"][ACCOUNT]["providers"][ISSUER] = json!(["sts.amazonaws.com", "vault"]);
    let account = format!("--service-account={}/audience", world.namespace);
    let arn = world.role("audience", trust_policy(&[&account, "--token-audience=vault"]));
    let annotations = json!({"eks.amazonaws.com/role-arn": arn, "eks.amazonaws.com/audience": "vault"});
    let container = world.container("audience", &annotations, &json!({})).await;
    granted(world, &container, "audience").await;
}

/// The SDK asks STS in the region that was injected, also in another partition.
async fn region_is_the_endpoint(world: &mut World<'_>) {
    let account = format!("--service-account={}/region-china", world.namespace);
    let chinese = trust_policy(&[&account, "--aws-partition=aws-cn"]);
    let european = world.trusting("region-europe");
    let cases = [
        ("region-europe", european, "aws", "eu-central-1", "sts.eu-central-1.amazonaws.com"),
        ("region-china", chinese, "aws-cn", "cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
    ];
    for (name, policy, partition, region, host) in cases {
        let arn = world.role(name, policy).replace(":aws:", &format!(":{partition}:"));
        let annotations = json!({
            "eks.amazonaws.com/role-arn": arn,
            "eks.amazonaws.com/region": region,
            "eks.amazonaws.com/sts-regional-endpoints": "true",
        });
        let container = world.container(name, &annotations, &json!({})).await;
        granted(world, &container, name).await;
        let requests = world.node.requests();
        let request = requests.iter().find(|request| request["session"] == name).unwrap();
        assert_eq!(request["host"], host);
    }
}

/// The claims of a token, unverified.
fn claims(token: &str) -> Value {
    let payload = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}
