//! Files that change while the server runs.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc, time::Duration};

use eks_pod_identity_webhook::{
    accounts::{
        cache::Cache,
        sources::manifests::{self, Manifests},
    },
    injection::account::Account,
    metrics::Metrics,
};
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use rustls_pki_types::{PrivatePkcs1KeyDer, PrivateSec1KeyDer, pem::PemObject};

use crate::support::{
    assignments,
    client::Client,
    eventually, metric, recorded, resolver,
    server::{Options, Server},
};

fn serial(client: &Client) -> u64 {
    let (_, session) = client.stream.get_ref();
    let leaf = &session.peer_certificates().unwrap()[0];
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).unwrap();
    certificate.serial.clone().try_into().unwrap()
}

async fn eventually_serves(server: &Server, expected: u64) {
    for _ in 0..10_000 {
        if serial(&server.client().await) == expected {
            return;
        }
    }
    panic!("certificate {expected} was never served");
}

#[tokio::test]
async fn a_new_certificate_is_served_and_open_connections_live_on() {
    let server = Server::start(Options::default()).await;
    let mut open = server.client().await;
    assert_eq!(serial(&open), 1);

    server.ca.server(2).write(server.certs.path());
    eventually_serves(&server, 2).await;
    assert_eq!(server.metric(r#"tls_reloads_total{result="ok"}"#), 1.0);
    assert_eq!(open.mutate(&recorded("minimal")).await.status, 200);
    assert_eq!(serial(&open), 1);
}

#[tokio::test]
async fn the_symlink_swap_of_a_mounted_secret_is_noticed() {
    let server = Server::start(Options::default()).await;
    // As the kubelet does it: tls.crt → ..data/tls.crt, ..data → ..<date>, and `..data` is swapped.
    let dir = server.certs.path();
    let swap = |version: &str| {
        symlink(version, dir.join("..tmp")).unwrap();
        fs::rename(dir.join("..tmp"), dir.join("..data")).unwrap();
    };
    for (version, serial) in [("..1", 2), ("..2", 3)] {
        fs::create_dir(dir.join(version)).unwrap();
        server.ca.server(serial).write(&dir.join(version));
    }
    swap("..1");
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), dir.join("..link")).unwrap();
        fs::rename(dir.join("..link"), dir.join(name)).unwrap();
    }
    eventually_serves(&server, 2).await;
    swap("..2");
    eventually_serves(&server, 3).await;
}

#[tokio::test]
async fn a_broken_pair_is_counted_and_the_old_one_stays() {
    let server = Server::start(Options::default()).await;
    let dir = server.certs.path();
    let mut failures = 0.0;
    let mismatched = server.ca.server(2).key;
    for (name, content) in
        [("tls.key", &*mismatched), ("tls.key", "garbage"), ("tls.crt", ""), ("tls.crt", "x")]
    {
        fs::write(dir.join(name), content).unwrap();
        failures += 1.0;
        eventually("the failure is counted", || {
            server.metric(r#"tls_reloads_total{result="failed"}"#) == failures
        })
        .await;
        assert_eq!(serial(&server.client().await), 1);
    }
    fs::remove_file(dir.join("tls.crt")).unwrap();
    eventually("the failure is counted", || server.metric(r#"tls_reloads_total{result="failed"}"#) == 5.0)
        .await;
    server.ca.server(3).write(dir);
    eventually_serves(&server, 3).await;
    assert_eq!(server.metric(r#"tls_reloads_total{result="ok"}"#), 1.0);
}

#[tokio::test]
async fn keys_of_every_usual_form_are_taken() {
    let server = Server::start(Options::default()).await;
    let sec1 = include_str!("../fixtures/keys/p256-sec1.pem");
    let rsa = include_str!("../fixtures/keys/rsa-pkcs1.pem");
    assert!(PrivateSec1KeyDer::from_pem_slice(sec1.as_bytes()).is_ok());
    assert!(PrivatePkcs1KeyDer::from_pem_slice(rsa.as_bytes()).is_ok());
    let generated = |algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let pem = key.serialize_pem();
        (key, pem)
    };
    let parsed = |pkcs8: &str, pem: &str| (KeyPair::from_pem(pkcs8).unwrap(), pem.to_owned());
    let keys = [
        generated(&PKCS_ECDSA_P384_SHA384),
        generated(&PKCS_ED25519),
        parsed(include_str!("../fixtures/keys/p256-pkcs8.pem"), sec1),
        parsed(include_str!("../fixtures/keys/rsa-pkcs8.pem"), rsa),
    ];
    for (serial, (key, pem)) in (2..).zip(keys) {
        let mut pair = server.ca.server_with_key(serial, key);
        pair.key = pem;
        // A chain, as an intermediate would make it.
        pair.cert += &server.ca.pem();
        pair.write(server.certs.path());
        eventually_serves(&server, serial).await;
    }
}

#[tokio::test]
async fn changed_manifests_are_read_and_broken_ones_leave_the_accounts_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let account = |name: &str| {
        format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: a}}\n---\n")
    };
    fs::write(dir.path().join("accounts.yaml"), account("first") + &account("second")).unwrap();
    fs::write(dir.path().join("notes.txt"), "no manifest").unwrap();
    fs::write(dir.path().join("pod.json"), r#"{"apiVersion": "v1", "kind": "Pod"}"#).unwrap();
    let metrics = Metrics::new();
    let (cache, writer) = Cache::new(metrics.accounts.clone());
    let manifests = Manifests::open(dir.path(), assignments(), writer).await.unwrap();
    assert!(cache.is_synced());
    assert!(cache.look_up("a", "first").is_some() && cache.look_up("a", "second").is_some());
    tokio::spawn(manifests.follow(Duration::from_millis(5)));

    let knows = |name: &'static str| {
        let cache = Arc::clone(&cache);
        move || cache.look_up("a", name).is_some()
    };
    fs::write(dir.path().join("more.yml"), account("third")).unwrap();
    eventually("a new file is read", knows("third")).await;
    fs::write(dir.path().join("accounts.yaml"), account("first")).unwrap();
    eventually("a removed account is gone", || !knows("second")()).await;

    fs::write(dir.path().join("accounts.yaml"), "kind: [").unwrap();
    let errors = || {
        let exposition = String::from_utf8(metrics.render()).unwrap();
        metric(&exposition, r#"pod_identity_webhook_watch_errors_total{reason="manifests"}"#)
    };
    eventually("the failure is counted", || errors() == 1.0).await;
    assert!(knows("first")() && knows("third")());
    fs::write(dir.path().join("accounts.yaml"), account("fourth")).unwrap();
    eventually("mended manifests are read", knows("fourth")).await;
}

#[test]
fn accounts_are_read_as_kubernetes_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let load = |metadata: &str| {
        let path = dir.path().join("accounts.yaml");
        fs::write(&path, format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {metadata}\n")).unwrap();
        manifests::load(&path, &resolver()).map_err(|error| error.to_string())
    };
    let loaded = load("{name: a, annotations: {other: , eks.amazonaws.com/role-arn: }}").unwrap();
    assert_eq!((&*loaded.accounts[0].namespace, &*loaded.accounts[0].name), ("default", "a"));
    let (_, _, account) = loaded.resolve(&mut assignments()).next().unwrap();
    assert!(matches!(account, Account::Nothing));
    for (metadata, message) in [
        (
            "{name: a, annotations: {x: 1}}",
            "ServiceAccount default/a: annotation x is not a string; put it in quotes",
        ),
        ("{name: a, namespace: 1}", "ServiceAccount a: its namespace is not a string"),
        ("{namespace: a}", "a ServiceAccount has no metadata.name"),
    ] {
        let error = load(metadata).unwrap_err();
        assert!(error.ends_with(&format!("accounts.yaml, document 1, line 1: {message}")), "{error}");
    }
}
