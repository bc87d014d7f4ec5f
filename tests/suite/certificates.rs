//! Self-managed certificates: replicas against an API server whose clock the tests move, and clients that trust what
//! the webhook configuration publishes at that moment and nothing else.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use eks_pod_identity_webhook::{
    metrics::Metrics,
    tls::{
        Clients,
        self_managed::{
            certificate::Certificate,
            controller::{Controller, ControllerConfig},
            policy::Policy,
            secret::{Reading, SecretContents},
        },
    },
};
use hyper::Method;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{
    self,
    api_server::{
        ApiServer,
        objects::{Interference, NAMESPACE},
    },
    client::{Client, Handshake},
    daemon::{Daemon, write_kubeconfig},
    eventually,
    pki::Ca,
    recorded,
    server::{Options, Server, plain_get},
    within,
};

const SERVER_NAME: &str = "eks-pod-identity-webhook.aws-pod-identity-webhook.svc";
const OVERLAP: Duration = Duration::from_millis(500);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn policy(jitter: f64) -> Policy {
    Policy {
        names: Policy::names("eks-pod-identity-webhook", NAMESPACE, "cluster.local"),
        authority_validity: 270 * DAY,
        leaf_validity: 90 * DAY,
        overlap: OVERLAP,
        jitter,
    }
}

struct Replica {
    server: Server,
    controller: JoinHandle<()>,
}

impl Replica {
    async fn start(api: &ApiServer, jitter: f64) -> Self {
        Self::start_with(api, policy(jitter), None).await
    }

    async fn start_with(api: &ApiServer, policy: Policy, client_ca: Option<PathBuf>) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let metrics = Metrics::new();
        let config = ControllerConfig {
            namespace: NAMESPACE.to_owned(),
            secret: "eks-pod-identity-webhook-tls".to_owned(),
            configuration: "eks-pod-identity-webhook".to_owned(),
            policy,
            clients: Clients { ca: client_ca, ..Clients::default() },
        };
        let controller = Controller::new(&api.client(metrics.accounts.clone()), config, &metrics.tls);
        let served = controller.served();
        let running = tokio::spawn(controller.run());
        let options = Options { served: Some((served, metrics)), ..Options::default() };
        Self { server: Server::start(options).await, controller: running }
    }

    async fn ready(&self) {
        let ready = async { while self.server.readyz().await.0 != 200 {} };
        within("ready", ready).await;
    }

    async fn not_ready(&self, reason: &str) {
        let expected = (503, format!("not ready: {reason}\n"));
        within(reason, async { while self.server.readyz().await != expected {} }).await;
    }

    fn rotations(&self, kind: &str) -> f64 {
        self.server.metric(&format!(r#"tls_rotations_total{{kind="{kind}"}}"#))
    }

    fn errors(&self, operation: &str) -> f64 {
        self.server.metric(&format!(r#"tls_self_managed_errors_total{{operation="{operation}"}}"#))
    }

    /// Waits until this is what connections are served with.
    async fn serves(&self, api: &ApiServer, stored: &SecretContents) {
        let expected = &stored.leaf.as_ref().unwrap().certificate;
        let serves = async {
            while connect(api, self.server.address, &api.ca_bundle(0)).await.ok().as_ref().map(leaf_of)
                != Some(expected.clone())
            {}
        };
        within("the new leaf is served", serves).await;
    }
}

async fn connect(api: &ApiServer, address: std::net::SocketAddr, bundle: &str) -> std::io::Result<Client> {
    let handshake =
        Handshake { server_name: Some(SERVER_NAME), now: Some(api.now()), ..Handshake::default() };
    Client::try_connect(address, bundle, handshake).await
}

fn leaf_of(client: &Client) -> Certificate {
    let (_, session) = client.stream.get_ref();
    Certificate::parse(session.peer_certificates().unwrap()[0].clone().into_owned()).unwrap()
}

fn stored(api: &ApiServer) -> Option<SecretContents> {
    Reading::of(&api.secret()).contents
}

/// Waits until the Secret is as it should be, and every entry publishes what it holds.
async fn until(api: &ApiServer, what: &str, holds: impl Fn(&SecretContents) -> bool) -> SecretContents {
    eventually(what, || {
        stored(api).is_some_and(|stored| {
            let pem: String = stored.authorities().map(Certificate::pem).collect();
            holds(&stored) && [0, 1].iter().all(|entry| api.ca_bundle(*entry) == pem)
        })
    })
    .await;
    stored(api).unwrap()
}

/// Requests to every replica on new connections, one after the other, for as long as the test likes.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn on<'a>(api: &Arc<ApiServer>, replicas: impl IntoIterator<Item = &'a Replica>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = replicas.into_iter().map(|replica| {
            let (api, address, stop) = (Arc::clone(api), replica.server.address, Arc::clone(&stop));
            tokio::spawn(async move {
                let body = recorded("minimal");
                // An API server sees the configuration change a little later; within the overlap it has to.
                let mut lagging = (Instant::now(), api.ca_bundle(0));
                let mut answered = 0;
                while answered < 4 || !stop.load(Ordering::Relaxed) {
                    let current = (Instant::now(), api.ca_bundle(answered % 2));
                    for (since, bundle) in [&current, &lagging] {
                        match connect(&api, address, bundle).await {
                            Ok(mut client) => {
                                assert_eq!(client.mutate(&body).await.status, 200);
                                answered += 1;
                            }
                            Err(_) if since.elapsed() > OVERLAP => {}
                            Err(error) => panic!("request {answered} failed: {error}; trusted: {bundle}"),
                        }
                    }
                    lagging = current;
                }
            })
        });
        Self { clients: clients.collect(), stop }
    }

    /// Ends it; fails if a request failed.
    async fn all_answered(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("every request is answered");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_once_agree_on_one_certificate() {
    let api = Arc::new(ApiServer::start().await);
    api.create_for_webhook();
    let replicas =
        tokio::join!(Replica::start(&api, 0.0), Replica::start(&api, 0.5), Replica::start(&api, 1.0));
    let replicas = <[Replica; 3]>::from(replicas);
    for replica in &replicas {
        replica.ready().await;
    }
    let stored = until(&api, "a leaf", |stored| stored.leaf.is_some()).await;
    for replica in &replicas {
        replica.serves(&api, &stored).await;
        assert_eq!(replica.errors("secret_update"), 0.0, "to lose a race is no failure");
        let expires = stored.newest.expires().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(replica.server.metric("tls_authority_expiry_timestamp_seconds"), expires.as_secs_f64());
    }
    for kind in ["authority", "leaf"] {
        assert_eq!(replicas.iter().map(|replica| replica.rotations(kind)).sum::<f64>(), 1.0, "{kind}");
    }
    assert_eq!(api.configuration()["webhooks"][0]["rules"], json!([{"keep": 1}]));
    assert_eq!(api.refused(), Vec::<String>::new());

    // The names by which the cluster may call it.
    for name in [
        SERVER_NAME,
        "eks-pod-identity-webhook.aws-pod-identity-webhook.svc.cluster.local",
        "eks-pod-identity-webhook.aws-pod-identity-webhook",
    ] {
        let handshake = Handshake { server_name: Some(name), ..Handshake::default() };
        let address = replicas[0].server.address;
        assert!(Client::try_connect(address, &api.ca_bundle(0), handshake).await.is_ok(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_and_authorities_are_rotated_without_a_failed_request() {
    let api = Arc::new(ApiServer::start().await);
    api.create_for_webhook();
    let mut replicas = Vec::new();
    for jitter in [0.0, 0.25, 1.0] {
        replicas.push(Replica::start(&api, jitter).await);
        replicas.last().unwrap().ready().await;
    }
    let first = until(&api, "a leaf", |stored| stored.leaf.is_some()).await;
    let load = Load::on(&api, &replicas);
    let mut last = first.clone();
    // A leaf is due after 60 to 69 days of 90, an authority after 180 to 207 days of 270.
    for (days, is_rotated, older) in
        [(65, false, 0), (130, false, 0), (195, true, 1), (260, true, 1), (325, true, 0)]
    {
        api.let_pass(65 * DAY, replicas.len()).await;
        let what = format!("rotated after {days} days");
        last = until(&api, &what, |stored| {
            let is_new = stored.leaf != last.leaf && (stored.newest != first.newest) == is_rotated;
            let leaf = &stored.leaf.as_ref().unwrap().certificate;
            is_new && leaf.is_signed_by(&stored.newest) && stored.older.len() == older
        })
        .await;
        for replica in &replicas {
            replica.serves(&api, &last).await;
            replica.ready().await;
        }
    }
    load.all_answered().await;
    let rotations = |kind| replicas.iter().map(|replica| replica.rotations(kind)).sum::<f64>();
    assert_eq!((rotations("authority"), rotations("leaf")), (2.0, 7.0));
    assert_eq!(api.refused(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_off_is_trusted_until_its_leaf_expires() {
    let api = Arc::new(ApiServer::start().await);
    api.create_for_webhook();
    let (cut_off, other) = (Replica::start(&api, 0.0).await, Replica::start(&api, 0.0).await);
    cut_off.ready().await;
    other.ready().await;
    let before = until(&api, "a leaf", |stored| stored.leaf.is_some()).await;
    cut_off.serves(&api, &before).await;
    cut_off.controller.abort();
    let load = Load::on(&api, [&cut_off, &other]);
    // The authority's key is lost, so there has to be another authority.
    api.set_secret_data("ca.key", b"");
    let after = until(&api, "a leaf of another authority", |stored| {
        stored.newest != before.newest
            && stored.leaf.as_ref().is_some_and(|leaf| leaf.certificate.is_signed_by(&stored.newest))
    })
    .await;
    other.serves(&api, &after).await;
    cut_off.serves(&api, &before).await;
    load.all_answered().await;

    api.let_pass(91 * DAY, 1).await;
    until(&api, "the old authority is dropped", |stored| stored.older.is_empty()).await;
    assert!(connect(&api, cut_off.server.address, &api.ca_bundle(0)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwritten_ca_bundle_is_repaired() {
    let api = ApiServer::start().await;
    api.create_for_webhook();
    let replica = Replica::start(&api, 0.0).await;
    replica.ready().await;
    let stored = stored(&api).unwrap();
    let patches = replica.server.metric("tls_ca_bundle_patches_total");
    let foreign = base64_simd::STANDARD.encode_to_string(Ca::new().pem());
    for (entry, bundle) in [(0, json!("")), (1, json!(null)), (0, json!("Cg==")), (1, json!(foreign))] {
        api.set_ca_bundle(entry, bundle);
        until(&api, "repaired", |now| *now == stored).await;
    }
    // A patch is counted once its answer is there, a little after it took effect.
    let counted = || replica.server.metric("tls_ca_bundle_patches_total") == patches + 4.0;
    eventually("four patches are counted", counted).await;
    replica.ready().await;

    // As a re-install does it.
    api.delete_configuration();
    replica.not_ready("the webhook configuration does not exist").await;
    api.create_configuration();
    until(&api, "repaired", |now| *now == stored).await;
    replica.ready().await;

    // What the API server refuses is tried again.
    api.fail_calls(&Method::PATCH, &[500, 403]);
    api.set_ca_bundle(0, json!(""));
    until(&api, "repaired", |now| *now == stored).await;
    assert_eq!(replica.errors("publish"), 2.0);
    assert_eq!(api.refused(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_ready_only_with_a_certificate_that_is_published() {
    let api = ApiServer::start().await;
    let replica = Replica::start(&api, 0.0).await;
    replica.not_ready("the certificate's Secret does not exist").await;
    assert!(connect(&api, replica.server.address, "").await.is_err(), "there is no certificate yet");
    api.create_secret(json!({}));
    replica.not_ready("the webhook configuration does not exist").await;
    api.fail_calls(&Method::PATCH, &[403; 3]);
    api.create_configuration();
    replica.not_ready("the webhook configuration's caBundle does not cover the certificate").await;
    replica.ready().await;
    assert_eq!(replica.errors("publish"), 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_goes_away_and_comes_back_empty_costs_no_request() {
    let api = Arc::new(ApiServer::start().await);
    api.create_for_webhook();
    let replicas = [Replica::start(&api, 0.0).await, Replica::start(&api, 0.0).await];
    for replica in &replicas {
        replica.ready().await;
    }
    let mut before = stored(&api).unwrap();
    for replica in &replicas {
        replica.serves(&api, &before).await;
    }
    let load = Load::on(&api, &replicas);
    for empties in [false, true] {
        if empties {
            api.empty_secret();
        } else {
            api.delete_secret();
            let watches = api.object_watches();
            api.break_object_watches();
            eventually("it is looked for", || api.object_watches() >= watches + 4).await;
            replicas[0].ready().await;
            api.create_secret(json!({}));
        }
        before = until(&api, "a new authority and its leaf", |stored| {
            let is_known = stored.older.contains(&before.newest);
            let leaf = stored.leaf.as_ref().filter(|_| stored.newest != before.newest && is_known);
            leaf.is_some_and(|leaf| leaf.certificate.is_signed_by(&stored.newest))
        })
        .await;
        for replica in &replicas {
            replica.serves(&api, &before).await;
        }
    }
    load.all_answered().await;
    assert_eq!(api.refused(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_secret_is_replaced() {
    for name in ["ca.crt", "ca.key", "tls.crt", "tls.key", "retired.crt"] {
        let api = Arc::new(ApiServer::start().await);
        api.create_for_webhook();
        let replica = Replica::start(&api, 0.0).await;
        replica.ready().await;
        let before = stored(&api).unwrap();
        let load = Load::on(&api, [&replica]);
        let garbage = b"-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n";
        api.set_secret_data(name, garbage);
        let is_whole = |stored: &SecretContents| {
            let leaf = stored.leaf.as_ref();
            Reading::of(&api.secret()).defects.is_empty()
                && leaf.is_some_and(|leaf| leaf.certificate.is_signed_by(&stored.newest))
        };
        if name != "retired.crt" {
            let after = until(&api, name, is_whole).await;
            assert_eq!(after.newest != before.newest, name.starts_with("ca."), "{name}");
            replica.serves(&api, &after).await;
        }
        eventually(name, || replica.errors("secret_content") >= 1.0).await;
        load.all_answered().await;

        // And for one that has never seen it whole.
        api.set_secret_data(name, garbage);
        replica.controller.abort();
        api.set_secret_data(name, garbage);
        let restarted = Replica::start(&api, 0.0).await;
        restarted.ready().await;
        assert!(connect(&api, restarted.server.address, &api.ca_bundle(1)).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_at_the_start_is_replaced() {
    for (age, keeps_authority) in [(100, true), (300, false)] {
        let api = ApiServer::start().await;
        let then = api.now() - age * DAY;
        let old = SecretContents::with_new_authority(None, &policy(0.0), then).unwrap();
        let old = old.with_new_leaf(&policy(0.0), then).unwrap().unwrap();
        api.create_secret(old.write_to(&json!({}))["data"].clone());
        api.create_configuration();
        let replica = Replica::start(&api, 0.0).await;
        replica.ready().await;
        assert_eq!(stored(&api).unwrap().newest == old.newest, keeps_authority);
        let mut client = connect(&api, replica.server.address, &api.ca_bundle(0)).await.unwrap();
        assert_eq!(client.mutate(&recorded("minimal")).await.status, 200);
    }
}

/// As after an installation on the control plane replaces one behind a Service.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_without_the_address_that_is_called_is_replaced() {
    let api = ApiServer::start().await;
    let now = api.now();
    let old = SecretContents::with_new_authority(None, &policy(0.0), now).unwrap();
    let old = old.with_new_leaf(&policy(0.0), now).unwrap().unwrap();
    api.create_secret(old.write_to(&json!({}))["data"].clone());
    api.create_configuration();
    let mut called = policy(0.0);
    called.names.insert(0, "127.0.0.1".to_owned());
    let on_control_plane = Replica::start_with(&api, called, None).await;
    on_control_plane.ready().await;
    let replaced = until(&api, "another leaf", |stored| stored.leaf != old.leaf).await;
    assert_eq!(replaced.newest, old.newest, "the authority stays");
    for name in ["127.0.0.1", SERVER_NAME] {
        let handshake = Handshake { server_name: Some(name), now: Some(api.now()), ..Handshake::default() };
        let address = on_control_plane.server.address;
        assert!(Client::try_connect(address, &api.ca_bundle(0), handshake).await.is_ok(), "{name}");
    }

    let behind_service = Replica::start(&api, 0.0).await;
    behind_service.ready().await;
    assert_eq!(stored(&api).unwrap(), replaced, "it has the name of the Service too");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_go_by_the_api_server_s_clock() {
    for is_behind in [false, true] {
        let api = ApiServer::start().await;
        api.set_clock(400 * DAY, is_behind);
        api.create_for_webhook();
        let replica = Replica::start(&api, 0.0).await;
        replica.ready().await;
        assert!(connect(&api, replica.server.address, &api.ca_bundle(0)).await.is_ok());
        let by_our_clock = Handshake { server_name: Some(SERVER_NAME), ..Handshake::default() };
        let ours = Client::try_connect(replica.server.address, &api.ca_bundle(0), by_our_clock).await;
        assert!(ours.is_err(), "the certificate is of another time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_can_be_required_to_have_a_certificate() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let client_ca = dir.path().join("ca.crt");
    std::fs::write(&client_ca, ca.pem()).unwrap();
    let api = ApiServer::start().await;
    api.create_for_webhook();
    let replica = Replica::start_with(&api, policy(0.0), Some(client_ca)).await;
    replica.ready().await;
    let pair = ca.client();
    let with = Handshake { server_name: Some(SERVER_NAME), client_cert: Some(&pair), ..Handshake::default() };
    let mut with = Client::try_connect(replica.server.address, &api.ca_bundle(0), with).await.unwrap();
    assert_eq!(with.mutate(&recorded("minimal")).await.status, 200);
    // In TLS 1.3 the client learns of it only when it reads.
    if let Ok(mut without) = connect(&api, replica.server.address, &api.ca_bundle(0)).await {
        assert!(without.is_closed().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_api_server_is_served_through() {
    let mut api = ApiServer::start().await;
    api.create_for_webhook();
    let replica = Replica::start(&api, 0.0).await;
    replica.ready().await;
    api.stop().await;
    eventually("it is noticed", || replica.errors("secret_watch") >= 2.0).await;
    replica.ready().await;
    assert!(connect(&api, replica.server.address, &api.ca_bundle(0)).await.is_ok());
    api.set_ca_bundle(0, json!(""));
    api.resume().await;
    until(&api, "repaired", |_| true).await;
}

/// Writes of the Secret in the 12 s after the start of these replicas, and the authorities and sizes among them.
async fn writes_under(api: &ApiServer, replicas: &[Replica], reason: &str) -> (usize, usize, usize) {
    let begun = Instant::now();
    for replica in replicas {
        replica.not_ready(reason).await;
    }
    tokio::time::sleep(Duration::from_secs(12).saturating_sub(begun.elapsed())).await;
    let written = api.written_secrets();
    let authorities: BTreeSet<_> =
        written.iter().map(|secret| secret["data"]["ca.crt"].to_string()).collect();
    let size = written.iter().map(|secret| secret.to_string().len()).max().unwrap();
    (written.len(), authorities.len(), size)
}

async fn prune(entry: &'static str, reason: &str) {
    let api = ApiServer::start().await;
    api.create_for_webhook();
    api.interfere(Some(Interference::Prune(entry)));
    let replicas = [Replica::start(&api, 0.0).await];
    let (writes, authorities, size) = writes_under(&api, &replicas, reason).await;
    println!("{entry} pruned, 12 s: {writes} writes, {authorities} authorities, {size} bytes at most");
    assert!((4..30).contains(&writes), "{entry}: {writes} writes");
    assert_eq!(authorities, 1, "{entry}");
    assert!(size < 4096, "{entry}: {size}");
    assert!(replicas[0].errors("secret_reverted") >= 3.0, "{entry}");

    api.interfere(None);
    replicas[0].ready().await;
    let mut client = connect(&api, replicas[0].server.address, &api.ca_bundle(0)).await.unwrap();
    assert_eq!(client.mutate(&recorded("minimal")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_that_a_policy_prunes_are_written_again_with_growing_pauses() {
    tokio::join!(
        prune("ca.key", "something removes ca.key from the certificate's Secret"),
        prune("ca.crt", "something removes what is written to the certificate's Secret"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_emptied_again_and_again_does_not_grow() {
    let api = ApiServer::start().await;
    api.create_for_webhook();
    api.interfere(Some(Interference::Empty));
    let replicas = [Replica::start(&api, 0.0).await, Replica::start(&api, 1.0).await];
    let reason = "something removes what is written to the certificate's Secret";
    let (writes, authorities, size) = writes_under(&api, &replicas, reason).await;
    println!("emptied, 2 replicas, 12 s: {writes} writes, {authorities} authorities, {size} bytes at most");
    assert!((4..30).contains(&writes), "{writes} writes");
    assert!(authorities <= 6, "{authorities}");
    assert!(size < 8192, "{size}");
    api.interfere(None);
    for replica in &replicas {
        replica.ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_served_certificate_stays_in_use_while_the_secret_is_emptied() {
    let api = Arc::new(ApiServer::start().await);
    api.create_for_webhook();
    let replica = Replica::start(&api, 0.0).await;
    replica.ready().await;
    let load = Load::on(&api, [&replica]);
    api.interfere(Some(Interference::Empty));
    api.empty_secret();
    eventually("it is written again", || replica.errors("secret_reverted") >= 4.0).await;
    replica.ready().await;
    load.all_answered().await;
}

#[tokio::test]
async fn the_daemon_keeps_its_certificate() {
    let api = Arc::new(ApiServer::start().await);
    api.apply("payments", "api", json!({support::ROLE_ANNOTATION: support::ROLE}));
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = write_kubeconfig(dir.path(), api.address, None);
    let mut daemon = Daemon::start(&[
        "--tls-self-managed",
        "--namespace=aws-pod-identity-webhook",
        "--kubeconfig",
        &kubeconfig,
        "--context=test",
        "--tls-ca-validity=18s",
        "--tls-leaf-validity=6s",
        "--tls-rotation-overlap=500ms",
        "--drain-delay=0s",
        "--log-level=debug",
    ])
    .await;
    let missing = (503, "not ready: the certificate's Secret does not exist\n".to_owned());
    within("not ready", async { while plain_get(daemon.admin, "/readyz").await != missing {} }).await;
    api.create_for_webhook();
    // The second comes after two thirds of six seconds.
    for _ in 0..2 {
        daemon.line("certificate taken into use").await;
        within("ready", async { while plain_get(daemon.admin, "/readyz").await.0 != 200 {} }).await;
        let mut client = connect(&api, daemon.address, &api.ca_bundle(0)).await.unwrap();
        assert_eq!(client.mutate(&recorded("minimal")).await.status, 200);
    }
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code().await, Some(0));
    let log = daemon.rest_of_the_log().await;
    let secret = api.secret();
    for name in ["ca.key", "tls.key"] {
        assert!(!log.contains(secret["data"][name].as_str().unwrap()) && !log.contains("PRIVATE"), "{name}");
    }
    assert_eq!(api.refused(), Vec::<String>::new());
}

#[tokio::test]
async fn the_daemon_ends_on_a_signal_while_it_has_no_certificate() {
    let api = ApiServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = write_kubeconfig(dir.path(), api.address, None);
    let args = ["--tls-self-managed", "--kubeconfig", &kubeconfig, "--context=test", "--drain-delay=0s"];
    let mut daemon = Daemon::start(&args).await;
    // Another namespace than the one of the Secret: what the role does not allow is said, and tried again.
    let refused = daemon.logged("can't keep the certificate").await;
    assert!(refused["error"].as_str().unwrap().contains("403"), "{refused}");
    assert_eq!(
        plain_get(daemon.admin, "/readyz").await.1,
        "not ready: the certificate's Secret has not been read yet\n"
    );
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code().await, Some(0));
}
