//! Container credentials: the SDKs ask the agent of EKS Pod Identity, with the token of the pod's volume.

use std::fs;

use serde_json::json;

use super::{
    PAGE,
    kubelet::Container,
    node::{ISSUER, Node},
    said,
    sdk::Sdk,
};
use crate::{
    api::Api,
    control_plane::ControlPlane,
    harness::Outcome,
    pods::pod,
    webhook::{Cluster, DEFAULTS},
};

const NAMESPACE: &str = "agents";

pub(super) async fn all() -> Outcome {
    let sdks = [Sdk::boto3()?, Sdk::command_line()?, Sdk::javascript()?, Sdk::rust()?];
    let cluster = cluster().await;
    let api = cluster.api().await;
    api.create("/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}})).await.unwrap();
    let associated = container(&api, "associated").await;
    let unknown = container(&api, "unknown").await;
    for sdk in sdks.into_iter().chain(Sdk::go().ok()) {
        let mut node = Node::start(&cluster.plane, sdk.name).await?;
        let subject = format!("system:serviceaccount:{NAMESPACE}:associated");
        let role = "arn:aws:iam::111122223333:role/of-the-agent";
        node.state["agent"] = json!({"issuers": [ISSUER], "associations": {subject: role}});

        let output = node.run(&sdk, &associated).await;
        let printed = String::from_utf8_lossy(&output.stdout);
        let session = "arn:aws:sts::111122223333:assumed-role/of-the-agent/eks-associated";
        assert_eq!(printed.trim(), session, "{}: {}", sdk.name, said(&output));

        let output = node.run(&sdk, &unknown).await;
        let message = sdk.unknown_to_agent;
        assert!(
            !output.status.success() && said(&output).contains(message),
            "{}: {}",
            sdk.name,
            said(&output)
        );
        assert!(PAGE.contains(message), "docs/troubleshooting.md does not list {message:?}");
    }
    Ok(())
}

/// A cluster whose webhook is given the list of accounts that have container credentials.
async fn cluster() -> Cluster {
    let plane = ControlPlane::start("container-credentials").await;
    let listed =
        ["associated", "unknown"].map(|name| json!({"namespace": NAMESPACE, "serviceAccount": name}));
    let file = plane.dir.join("identities.json");
    fs::write(&file, json!({"identities": listed}).to_string()).unwrap();
    let flag = format!("--watch-container-credentials-config={}", file.display());
    Cluster::install_replicas(plane, DEFAULTS, 1, &[&flag]).await
}

/// The container of a pod of the account `name`.
async fn container(api: &Api, name: &str) -> Container {
    api.create_account(NAMESPACE, name, &json!({})).await;
    let mut pod = pod(name);
    pod["spec"]["serviceAccountName"] = json!(name);
    let pod = api.create_pod(NAMESPACE, &pod).await.unwrap();
    let container = Container::of(api, &pod).await;
    let [(file, _)] = &container.tokens[..] else { panic!("{pod}") };
    assert_eq!(container.var("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), file.to_str().unwrap());
    container
}
