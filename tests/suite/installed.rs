//! What the chart installs by default, run as it is installed: the arguments and variables of its Deployment, as many
//! replicas, its Secret and its webhook configuration. Only the addresses and the way to the API server are others.

use eks_pod_identity_webhook::injection::settings::Settings;
use serde_json::{Value, json};

use crate::support::{
    ROLE, ROLE_ANNOTATION,
    api_server::ApiServer,
    client::{Client, Handshake, request},
    daemon::{Daemon, command, write_kubeconfig},
    manifests, patch_of, recorded,
    server::plain_get,
    within,
};

#[tokio::test]
async fn plain_manifests_become_ready_and_answer() {
    let region = Settings::default().region.to_string();
    becomes_ready_and_answers("deploy/kubernetes/self-managed/webhook.yaml", &region).await;
}

#[tokio::test]
async fn the_chart_becomes_ready_and_answers() {
    becomes_ready_and_answers("tests/fixtures/rendered/install.yaml", "us-west-2").await;
}

async fn becomes_ready_and_answers(file: &str, region: &str) {
    let mut objects = manifests::read(file);
    let api = ApiServer::start().await;
    api.apply("payments", "api", json!({ROLE_ANNOTATION: ROLE}));
    api.create(manifests::of_kind(&mut objects, "Secret"));
    let configuration = manifests::of_kind(&mut objects, "MutatingWebhookConfiguration").clone();
    api.create(&configuration);

    let deployment = manifests::of_kind(&mut objects, "Deployment");
    let replicas = deployment["spec"]["replicas"].as_u64().unwrap();
    let mut daemons = Vec::new();
    for _ in 0..replicas {
        daemons.push(start(&api, deployment).await);
    }
    let container = manifests::container(deployment);
    for daemon in &daemons {
        for probe in ["readinessProbe", "livenessProbe"] {
            let path = container[probe]["httpGet"]["path"].as_str().unwrap();
            within(probe, async { while plain_get(daemon.admin, path).await.0 != 200 {} }).await;
        }
        for (index, entry) in configuration["webhooks"].as_array().unwrap().iter().enumerate() {
            let answer = call(daemon, entry, &api.ca_bundle(index)).await;
            assert_eq!(answer["response"]["auditAnnotations"]["outcome"], "injected");
            let patch = serde_json::to_value(patch_of(&answer).unwrap()).unwrap().to_string();
            let expected = json!({"name": "AWS_REGION", "value": region}).to_string();
            assert!(patch.contains(&expected), "{expected} is not in {patch}");
        }
    }
    assert_eq!(api.refused(), Vec::<String>::new(), "the chart gives no more rights");
}

/// Starts a replica with what the Deployment says.
async fn start(api: &ApiServer, deployment: &Value) -> Daemon {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(&[]);
    command.args(manifests::args(deployment));
    for variable in manifests::container(deployment)["env"].as_array().into_iter().flatten() {
        command.env(variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
    }
    let kubeconfig = write_kubeconfig(dir.path(), api.address, None);
    command.args(["--context=test", "--kubeconfig", &kubeconfig]);
    Daemon::run(command).await
}

/// Asks it as the API server does: by the Service's name, trusting what the entry publishes and nothing else.
async fn call(daemon: &Daemon, entry: &Value, bundle: &str) -> Value {
    let service = &entry["clientConfig"]["service"];
    let [name, namespace, path] = ["name", "namespace", "path"].map(|key| service[key].as_str().unwrap());
    let name = format!("{name}.{namespace}.svc");
    let handshake = Handshake { server_name: Some(&name), ..Handshake::default() };
    let mut client = Client::try_connect(daemon.address, bundle, handshake).await.unwrap();
    let target = format!("{path}?timeout={}s", entry["timeoutSeconds"]);
    client.send(&request("POST", &target, &recorded("minimal"))).await;
    let response = client.response().await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}
