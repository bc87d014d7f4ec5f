//! From the annotation to credentials: a pod's token is issued by the API server, an AWS SDK runs with the container's environment,
//! and a stand-in for AWS verifies the token by the issuer's documents and evaluates the role's trust policy.

mod container;
mod grants;
mod kubelet;
mod node;
mod refusals;
mod sdk;

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::{
    api::Api,
    harness::{Outcome, Test, tests},
    pods::pod,
    support::ROLE_ANNOTATION,
    webhook::{Cluster, shared},
};
use kubelet::Container;
use node::{ISSUER, Node};
use sdk::Sdk;

pub(crate) const TESTS: &[Test] = tests![boto3, command_line, javascript, rust, go, container_credentials];

const BINARY: &str = env!("CARGO_BIN_EXE_eks-pod-identity-webhook");

/// Where users look up the message of an SDK.
const PAGE: &str = include_str!("../../../docs/troubleshooting.md");

/// The AWS account of the tests' roles.
const ACCOUNT: &str = "111122223333";

async fn boto3() -> Outcome {
    all(&Sdk::boto3()?).await
}

async fn command_line() -> Outcome {
    all(&Sdk::command_line()?).await
}

async fn javascript() -> Outcome {
    all(&Sdk::javascript()?).await
}

async fn rust() -> Outcome {
    all(&Sdk::rust()?).await
}

async fn go() -> Outcome {
    all(&Sdk::go()?).await
}

async fn container_credentials() -> Outcome {
    container::all().await
}

async fn all(sdk: &Sdk) -> Outcome {
    let cluster = shared().await;
    let mut world = World::new(cluster, sdk).await?;
    grants::all(&mut world).await;
    refusals::all(&mut world).await;
    Ok(())
}

/// A cluster, an AWS account, and an SDK that gets credentials of the one by the other.
struct World<'a> {
    api: Api,
    namespace: String,
    node: Node,
    sdk: &'a Sdk,
}

impl<'a> World<'a> {
    async fn new(cluster: &Cluster, sdk: &'a Sdk) -> Result<Self, crate::harness::Skipped> {
        let mut node = Node::start(&cluster.plane, sdk.name).await?;
        node.state["accounts"][ACCOUNT] = json!({"providers": {ISSUER: ["sts.amazonaws.com"]}, "roles": {}});
        let (api, namespace) = (cluster.api().await, format!("credentials-{}", sdk.name));
        api.create("/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await.unwrap();
        Ok(Self { api, namespace, node, sdk })
    }

    /// Creates the role `name` of the AWS account, with a trust policy.
    fn role(&mut self, name: &str, policy: Value) -> String {
        self.node.state["accounts"][ACCOUNT]["roles"][name] = policy;
        format!("arn:aws:iam::{ACCOUNT}:role/{name}")
    }

    /// The trust policy that `trust-policy` prints for an account of the test's namespace.
    fn trusting(&self, account: &str) -> Value {
        trust_policy(&[&format!("--service-account={}/{account}", self.namespace)])
    }

    /// Creates the account `name`, and a pod of it, and runs the SDK in that.
    async fn run(&self, name: &str, annotations: &Value) -> Output {
        let container = self.container(name, annotations, &json!({})).await;
        self.node.run(self.sdk, &container).await
    }

    /// Creates the account `name` with these annotations, and a pod of it with further metadata.
    async fn container(&self, name: &str, annotations: &Value, metadata: &Value) -> Container {
        self.api.create_account(&self.namespace, name, annotations).await;
        let mut pod = pod(name);
        pod["spec"]["serviceAccountName"] = json!(name);
        json_patch::merge(&mut pod["metadata"], metadata);
        let pod = self.api.create_pod(&self.namespace, &pod).await.unwrap();
        Container::of(&self.api, &pod).await
    }
}

/// The annotation of a role.
fn role(arn: &str) -> Value {
    json!({ROLE_ANNOTATION: arn})
}

/// What `trust-policy` prints with these arguments.
fn trust_policy(args: &[&str]) -> Value {
    let account = format!("--aws-account-id={ACCOUNT}");
    let mut command = Command::new(BINARY);
    command.args(["trust-policy", &account]).args(args).env("TRUST_POLICY_ISSUER", ISSUER);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What an SDK's program printed, on both streams.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
