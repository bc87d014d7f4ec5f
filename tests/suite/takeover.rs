//! A new process takes over the ports of an old one, and each answers probes for itself.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use crate::support::{
    api_server::ApiServer,
    client::{Client, Handshake},
    daemon::{Daemon, command, stdout, write_kubeconfig},
    eventually, recorded,
};

const ACCOUNTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/service-accounts.yaml");

fn probe(socket: &Path) -> Output {
    command(&["probe", "--probe-socket", socket.to_str().unwrap()]).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_process_serves_until_the_new_one_is_ready() {
    let (api, dir) = (ApiServer::start().await, tempfile::tempdir().unwrap());
    let [old_socket, new_socket] = ["old", "new"].map(|name| dir.path().join(name));
    let path = |socket: &Path| format!("--probe-socket={}", socket.display());
    let args = ["--reuse-port", "--drain-delay=0s", "--service-accounts", ACCOUNTS, &path(&old_socket)]
        .map(String::from);
    let mut old = Daemon::start(&args.each_ref().map(|arg| &**arg)).await;
    assert!(probe(&old_socket).status.success());

    // It is not ready before there are a Secret and a webhook configuration.
    let kubeconfig = write_kubeconfig(dir.path(), api.address, None);
    let mut starting = command(&[
        &format!("--listen={}", old.address),
        &format!("--admin-listen={}", old.admin),
        "--reuse-port",
        &path(&new_socket),
        "--tls-self-managed",
        "--tls-server-name=127.0.0.1",
        "--namespace=aws-pod-identity-webhook",
        "--kubeconfig",
        &kubeconfig,
        "--context=test",
    ]);
    starting.stderr(Stdio::null());
    let mut new = tokio::process::Command::from(starting).kill_on_drop(true).spawn().unwrap();
    let not_ready = "not ready: the webhook's port is not open yet\n";
    eventually("the new process answers", || stdout(&probe(&new_socket)) == not_ready).await;
    assert_eq!(probe(&new_socket).status.code(), Some(1));
    for _ in 0..8 {
        let mut client = Client::connect(old.address, &old.ca_pem).await;
        assert_eq!(client.mutate(&recorded("minimal")).await.status, 200, "by the old process");
    }

    api.create_for_webhook();
    eventually("the new process is ready", || probe(&new_socket).status.success()).await;
    old.signal("-TERM");
    assert_eq!(old.exit_code().await, Some(0));
    let by_address =
        Handshake { server_name: Some("127.0.0.1"), now: Some(api.now()), ..Handshake::default() };
    assert!(Client::try_connect(old.address, &api.ca_bundle(0), by_address).await.is_ok());
    new.kill().await.unwrap();
    assert!(!probe(&new_socket).status.success(), "the socket of a process that has ended");
}
