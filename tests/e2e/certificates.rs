//! The self-managed certificate, as a real API server trusts it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64_simd::STANDARD;
use eks_pod_identity_webhook::tls::self_managed::{
    certificate::Certificate,
    secret::{Reading, SecretContents},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    api::Api,
    control_plane::ControlPlane,
    harness::{Test, tests},
    pods::{has_role, pod},
    support::{
        client::{Client, Handshake},
        pki::Ca,
    },
    wait::{eventually, within},
    webhook::{ACCOUNT, Cluster, DEFAULTS, NAMESPACE, Replica},
};

pub(crate) const TESTS: &[Test] = tests![
    replicas_agree_on_a_certificate_and_rotate_it_without_a_pod_refused,
    an_overwritten_ca_bundle_is_repaired
];

pub(crate) const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/eks-pod-identity-webhook";
const SECRET: &str = "/api/v1/namespaces/aws-pod-identity-webhook/secrets/eks-pod-identity-webhook-tls";

/// A real API server's clock can't be moved, so lives are short. A leaf is due after 5.3 s to 6.1 s, an authority after 16 s
/// to 18.4 s; a busy machine may be 1.9 s late before anything expires.
const HURRIED: [&str; 3] = ["--tls-ca-validity=24s", "--tls-leaf-validity=8s", "--tls-rotation-overlap=2s"];

async fn replicas_agree_on_a_certificate_and_rotate_it_without_a_pod_refused() {
    let plane = ControlPlane::start("rotation").await;
    let mut cluster = Cluster::install_replicas(plane, DEFAULTS, 3, &HURRIED).await;
    let api = cluster.api().await;
    api.create_namespace("rotation").await;
    // One made it, and the others took it.
    assert_eq!(rotations(&cluster, "authority").await, 1.0);
    fail_closed(&api).await;

    let load = Load::start(&api, "rotation");
    let first = stored(&api).await;
    let by_another = |stored: &SecretContents| {
        let leaf = &stored.leaf.as_ref().unwrap().certificate;
        stored.newest != first.newest && leaf.is_signed_by(&stored.newest)
    };
    // First a leaf by the same authority, then another authority, then a leaf by that.
    let second = until(&api, "another leaf", |stored| stored.leaf != first.leaf).await;
    assert_eq!(second.newest, first.newest);
    let last = until(&api, "a leaf by another authority", by_another).await;
    for replica in &cluster.replicas {
        serves_another_than(&api, replica, &second).await;
    }
    assert!(last.older.contains(&first.newest), "its leaves may still be served");
    // As docs/operate/certificates.md says: new keys now.
    api.merge(SECRET, &json!({"data": null})).await.unwrap();
    let renewed = until(&api, "new keys", |stored| {
        let leaf = stored.leaf.as_ref().map(|leaf| &leaf.certificate);
        stored.newest != last.newest && leaf.is_some_and(|leaf| leaf.is_signed_by(&stored.newest))
    })
    .await;
    assert!(renewed.older.contains(&last.newest), "its leaves may still be served");
    for replica in &cluster.replicas {
        serves_another_than(&api, replica, &last).await;
        assert_eq!(replica.readyz().await.0, 200);
    }
    let created = load.all_created().await;
    assert!(created > 100, "{created}");

    // And the load would have noticed.
    cluster.kill_program();
    let error = api.create("/api/v1/namespaces/rotation/pods?dryRun=All", &pod("refused")).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("failed calling webhook"), "{error}");
}

async fn an_overwritten_ca_bundle_is_repaired() {
    let plane = ControlPlane::start("ca-bundle").await;
    let cluster = Cluster::install_replicas(plane, DEFAULTS, 2, &[]).await;
    let api = cluster.api().await;
    api.create_namespace("ca-bundle").await;
    let stored = stored(&api).await;
    let another = STANDARD.encode_to_string(Ca::new().pem());
    for bundle in [Value::Null, json!(another)] {
        let change =
            entries(&api, |entry| json!({"name": entry["name"], "clientConfig": {"caBundle": bundle}}));
        api.merge_strategically(CONFIGURATION, &change.await).await.unwrap();
        is_repaired(&api, &stored).await;
    }

    // As a re-install does it.
    let mut configuration = api.get(CONFIGURATION).await.unwrap();
    api.delete(CONFIGURATION).await.unwrap();
    configuration["metadata"] = json!({"name": ACCOUNT});
    for entry in configuration["webhooks"].as_array_mut().unwrap() {
        entry["clientConfig"].as_object_mut().unwrap().remove("caBundle");
    }
    let (collection, _) = CONFIGURATION.rsplit_once('/').unwrap();
    api.create(collection, &configuration).await.unwrap();
    is_repaired(&api, &stored).await;
    assert_eq!(self::stored(&api).await, stored, "none of this was a reason for another certificate");
}

/// Dry-run creations of pods, four at a time, each of which every replica is asked about.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<usize>>,
}

impl Load {
    pub(crate) fn start(api: &Api, namespace: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pods = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
        let clients = (0..4).map(|client| {
            let (api, pods, stop) = (api.clone(), pods.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut created = 0;
                while !stop.load(Ordering::Relaxed) {
                    let pod = api.create(&pods, &pod(&format!("load-{client}"))).await;
                    assert!(has_role(&pod.unwrap_or_else(|error| panic!("after {created}: {error}"))));
                    created += 1;
                }
                created
            })
        });
        Self { clients: clients.collect(), stop }
    }

    /// Ends it, and says how many there were; fails if one was refused or left without its role.
    pub(crate) async fn all_created(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut created = 0;
        for client in self.clients {
            created += client.await.expect("every pod is created");
        }
        created
    }
}

/// Makes every entry refuse pods where its replica can't be asked.
pub(crate) async fn fail_closed(api: &Api) {
    let change = entries(api, |entry| json!({"name": entry["name"], "failurePolicy": "Fail"}));
    api.merge_strategically(CONFIGURATION, &change.await).await.unwrap();
}

/// A change of every entry of the webhook configuration.
async fn entries(api: &Api, change: impl Fn(&Value) -> Value) -> Value {
    let configuration = api.get(CONFIGURATION).await.unwrap();
    let webhooks: Vec<_> = configuration["webhooks"].as_array().unwrap().iter().map(change).collect();
    json!({"webhooks": webhooks})
}

async fn stored(api: &Api) -> SecretContents {
    Reading::of(&api.get(SECRET).await.unwrap()).contents.unwrap()
}

/// Waits until the Secret is as it should be: for a minute, since certificates take their time.
async fn until(api: &Api, what: &str, holds: impl Fn(&SecretContents) -> bool) -> SecretContents {
    let mut last = None;
    within(Duration::from_secs(60), what, async || {
        last = Reading::of(&api.get(SECRET).await.unwrap()).contents.filter(&holds);
        last.is_some()
    })
    .await;
    last.unwrap()
}

/// Waits until every entry publishes the Secret's authorities and nothing else, and the API server has read that.
async fn is_repaired(api: &Api, stored: &SecretContents) {
    let pem: String = stored.authorities().map(Certificate::pem).collect();
    let bundle = json!(STANDARD.encode_to_string(pem));
    eventually("the caBundle is the Secret's", async || {
        let configuration = api.get(CONFIGURATION).await.unwrap();
        let mut entries = configuration["webhooks"].as_array().unwrap().iter();
        entries.all(|entry| entry["clientConfig"]["caBundle"] == bundle)
    })
    .await;
    let pods = "/api/v1/namespaces/ca-bundle/pods?dryRun=All";
    eventually("pods have their role", async || has_role(&api.create(pods, &pod("probe")).await.unwrap()))
        .await;
}

/// Waits until a replica serves another leaf than this one, to clients that trust the published authorities.
async fn serves_another_than(api: &Api, replica: &Replica, old: &SecretContents) {
    let old = &old.leaf.as_ref().unwrap().certificate;
    let name = format!("{ACCOUNT}.{NAMESPACE}.svc");
    eventually("another leaf is served", async || {
        let configuration = api.get(CONFIGURATION).await.unwrap();
        let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap();
        let bundle = String::from_utf8(STANDARD.decode_to_vec(bundle).unwrap()).unwrap();
        let handshake = Handshake { server_name: Some(&name), ..Handshake::default() };
        let client = Client::try_connect(replica.address, &bundle, handshake).await.unwrap();
        let (_, session) = client.stream.get_ref();
        let served = session.peer_certificates().unwrap()[0].clone().into_owned();
        &Certificate::parse(served).unwrap() != old
    })
    .await;
}

/// How many rotations the replicas have done, together.
async fn rotations(cluster: &Cluster, kind: &str) -> f64 {
    let mut rotations = 0.0;
    for replica in &cluster.replicas {
        rotations += replica.metric(&format!(r#"tls_rotations_total{{kind="{kind}"}}"#)).await;
    }
    rotations
}
