//! Clusters and issuers behind a proxy, and the errors of a kubeconfig: as with kubectl.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    ROLE, ROLE_ANNOTATION,
    api_server::ApiServer,
    daemon::{Daemon, command, stderr, stdout, write_kubeconfig},
    eventually,
    pki::Ca,
    proxy::Proxy,
    server::plain_get,
    within,
};

/// A name that only the proxy can resolve.
const NAME: &str = "api.cluster.invalid";

/// A cluster that can't be reached but through the proxy.
struct Behind {
    api: ApiServer,
    proxy: Proxy,
    dir: TempDir,
}

impl Behind {
    async fn start() -> Self {
        let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
        let api = ApiServer::start_tls(&ca.server_called(NAME)).await;
        api.apply("payments", "api", json!({ROLE_ANNOTATION: ROLE}));
        fs::write(dir.path().join("ca.crt"), ca.pem()).unwrap();
        write_kubeconfig(dir.path(), api.address, Some(ca.pem()));
        let behind = Self { proxy: Proxy::start(api.address).await, api, dir };
        behind.edit(|kubeconfig| {
            kubeconfig["clusters"][0]["cluster"]["server"] = json!(format!("https://{NAME}:6443"))
        });
        behind
    }

    fn edit(&self, edit: impl FnOnce(&mut Value)) {
        edit_kubeconfig(self.dir.path(), edit);
    }

    async fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        let kubeconfig = self.dir.path().join("kubeconfig");
        let kubeconfig = ["--context=test", "--kubeconfig", kubeconfig.to_str().unwrap()];
        run(&[args, &kubeconfig].concat(), env).await
    }

    async fn audit(&self, env: &[(&str, &str)]) -> Output {
        self.run(&["audit"], env).await
    }
}

fn edit_kubeconfig(dir: &Path, edit: impl FnOnce(&mut Value)) {
    let path = dir.join("kubeconfig");
    let mut kubeconfig = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut kubeconfig);
    fs::write(path, kubeconfig.to_string()).unwrap();
}

async fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = command(args);
    command.envs(env.iter().copied());
    within("the end of the command", tokio::process::Command::from(command).output()).await.unwrap()
}

fn assert_works(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(output), stderr(output));
}

#[tokio::test]
async fn clusters_are_reached_through_the_proxy_of_the_environment() {
    let behind = Behind::start().await;
    let url = behind.proxy.url("http");
    let output = behind.audit(&[]).await;
    assert!(stderr(&output).contains("dns") || stderr(&output).contains("lookup"), "{}", stderr(&output));
    for name in ["HTTPS_PROXY", "https_proxy"] {
        assert_works(&behind.audit(&[(name, &url), ("NO_PROXY", "other.invalid,10.0.0.0/8,")]).await);
    }
    assert_works(&behind.audit(&[("HTTPS_PROXY", &behind.proxy.address.to_string())]).await);
    let expected = format!("CONNECT {NAME}:6443 HTTP/1.1");
    assert!(behind.proxy.seen().contains(&expected), "{:?}", behind.proxy.seen());

    for scheme in ["socks5", "socks5h"] {
        assert_works(&behind.audit(&[("HTTPS_PROXY", &behind.proxy.url(scheme))]).await);
    }
    assert!(behind.proxy.seen().contains(&format!("SOCKS {NAME}:6443")));
}

#[tokio::test]
async fn clusters_are_reached_through_their_own_proxy_url() {
    let behind = Behind::start().await;
    let url = format!("http://user:p%40ss@{}", behind.proxy.address);
    behind.edit(|kubeconfig| kubeconfig["clusters"][0]["cluster"]["proxy-url"] = json!(url));
    assert_works(&behind.audit(&[("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "*")]).await);
    let credentials =
        format!("Proxy-Authorization: Basic {}", base64_simd::STANDARD.encode_to_string("user:p@ss"));
    assert!(behind.proxy.seen().contains(&credentials), "{:?}", behind.proxy.seen());
}

#[tokio::test]
async fn servers_in_no_proxy_are_reached_directly() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let api = ApiServer::start_tls(&ca.server(1)).await;
    let proxy = Proxy::start(api.address).await;
    let kubeconfig = write_kubeconfig(dir.path(), api.address, Some(ca.pem()));
    let args = ["audit", "--context=test", "--kubeconfig", &kubeconfig];
    for list in ["localhost", "other, localhost,", "*"] {
        let env = [("HTTPS_PROXY", &*proxy.url("http")), ("no_proxy", list)];
        assert_works(&run(&args, &env).await);
        assert_eq!(proxy.seen(), Vec::<String>::new(), "{list}");
    }
    assert_works(&run(&args, &[("HTTPS_PROXY", &proxy.url("http")), ("NO_PROXY", "other")]).await);
    assert!(!proxy.seen().is_empty());
}

#[tokio::test]
async fn every_command_that_asks_a_cluster_uses_the_proxy() {
    let behind = Behind::start().await;
    let issuer = format!("https://{NAME}");
    let discovery = json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    let jwks = fs::read_to_string(crate::support::path("fixtures/oidc/jwks")).unwrap();
    behind.api.answer("/.well-known/openid-configuration", 200, &discovery.to_string());
    behind.api.answer("/openid/v1/jwks", 200, &jwks);
    behind.api.answer("/version", 200, r#"{"gitVersion":"v1.36.2","minor":"36"}"#);
    let url = behind.proxy.url("http");
    let env = [("HTTPS_PROXY", &*url)];
    let ca = behind.dir.path().join("ca.crt");

    let output =
        behind.run(&["trust-policy", "--aws-account-id=111122223333", "--service-account=a/b"], &env).await;
    assert!(stdout(&output).contains(NAME), "{}{}", stdout(&output), stderr(&output));
    let seen = |line: String| behind.proxy.seen().contains(&line);
    let output = behind.run(&["oidc", "verify", "--ca-file", ca.to_str().unwrap()], &env).await;
    assert!(stdout(&output).contains("pass  keys"), "{}{}", stdout(&output), stderr(&output));
    assert!(seen(format!("CONNECT {NAME}:443 HTTP/1.1")), "the issuer, too: {:?}", behind.proxy.seen());
    let output = behind.run(&["doctor"], &env).await;
    assert!(stdout(&output).contains("v1.36.2"), "{}{}", stdout(&output), stderr(&output));
}

#[tokio::test]
async fn serve_watches_a_cluster_through_the_proxy() {
    let behind = Behind::start().await;
    let kubeconfig = behind.dir.path().join("kubeconfig");
    let mut command = command(&[
        "serve",
        "--tls-self-signed",
        "--listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--context=test",
        "--drain-delay=0s",
    ]);
    command.env("HTTPS_PROXY", behind.proxy.url("http"));
    let daemon = Daemon::run(command).await;
    within("ready", async { while plain_get(daemon.admin, "/readyz").await.0 != 200 {} }).await;
    eventually("it watches", || behind.api.open_watches() == 1).await;
}

#[tokio::test]
async fn a_proxy_that_does_not_work_is_named() {
    let behind = Behind::start().await;
    let closed = closed_port().await;
    let output = behind.audit(&[("HTTPS_PROXY", &format!("http://user:secret@{closed}"))]).await;
    let expected = format!("through the proxy http://{closed}: Connection refused");
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    for bad in ["ftp://proxy", "socks4://proxy:1080"] {
        let output = behind.audit(&[("HTTPS_PROXY", bad)]).await;
        let expected = "HTTPS_PROXY: want the URL of a proxy, such as http://proxy.example:3128";
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

async fn closed_port() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_credential_plugin_that_can_not_be_run_and_a_missing_kubeconfig_are_named_once() {
    let behind = Behind::start().await;
    let command = behind.dir.path().join("ca.crt");
    let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": command, "interactiveMode": "Never"});
    behind.edit(|kubeconfig| kubeconfig["users"][0]["user"] = json!({"exec": exec}));
    let output = behind.audit(&[]).await;
    let expected = format!("the credential plugin {} of user test is not executable", command.display());
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    let output = run(&["audit", "--kubeconfig=/no/such/kubeconfig"], &[]).await;
    let error = stderr(&output);
    assert!(error.contains("--kubeconfig") && error.matches("No such file").count() == 1, "{error}");
}

#[tokio::test]
async fn a_missing_credential_plugin_is_named_with_its_install_hint() {
    let behind = Behind::start().await;
    for (command, hint) in
        [("no-such-plugin", Some("Get it from https://plugins.example\n")), ("/no/such/plugin", None)]
    {
        let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": command, "interactiveMode": "Never",
            "installHint": hint});
        behind.edit(|kubeconfig| kubeconfig["users"][0]["user"] = json!({"exec": exec}));
        let output = behind.audit(&[("PATH", "/usr/bin:/bin")]).await;
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            error.contains(command) && error.contains("credential plugin") && error.contains("user test"),
            "{error}"
        );
        assert!(!error.contains("No such file"), "{error}");
        assert_eq!(error.contains("Get it from https://plugins.example"), hint.is_some(), "{error}");
    }
}

#[tokio::test]
async fn a_server_certificate_that_is_its_own_ca_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Ca::own_server_certificate("localhost");
    let api = ApiServer::start_tls(&pair).await;
    let kubeconfig = write_kubeconfig(dir.path(), api.address, Some(pair.cert.clone()));
    let ca = dir.path().join("ca.crt");
    fs::write(&ca, &pair.cert).unwrap();
    let issuer = format!("https://localhost:{}", api.address.port());
    let cluster = ["--context=test", "--kubeconfig", &*kubeconfig];
    let keys = crate::support::path("fixtures/oidc/keys-1.pem");
    for args in [
        [&["audit"][..], &cluster].concat(),
        [&["doctor"][..], &cluster].concat(),
        vec![
            "oidc",
            "verify",
            "--ca-file",
            ca.to_str().unwrap(),
            "--issuer",
            &issuer,
            "--key-file",
            keys.to_str().unwrap(),
        ],
    ] {
        let output = run(&args, &[]).await;
        let text = format!("{}{}", stdout(&output), stderr(&output));
        assert!(text.contains("the server's certificate is a CA certificate"), "{args:?}: {text}");
        assert!(text.contains("basicConstraints=critical,CA:FALSE"), "{args:?}: {text}");
    }
}

/// Some wait for a browser, or for a server that is away.
#[tokio::test]
async fn a_hanging_credential_plugin_blocks_neither_probes_nor_signals() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = write_kubeconfig(dir.path(), closed_port().await, None);
    let started = dir.path().join("started");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 60", started.display());
    let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": ["-c", script],
        "interactiveMode": "Never"});
    edit_kubeconfig(dir.path(), |kubeconfig| kubeconfig["users"][0]["user"] = json!({"exec": exec}));
    for (certificate, answers_probes) in [("--tls-self-signed", true), ("--tls-self-managed", false)] {
        let admin = closed_port().await;
        let mut program = tokio::process::Command::from(command(&[
            "serve",
            certificate,
            "--listen=127.0.0.1:0",
            &format!("--admin-listen={admin}"),
            "--kubeconfig",
            &kubeconfig,
            "--context=test",
        ]));
        let mut program = program.stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        eventually("the plugin runs", || started.exists()).await;
        let plugin = fs::read_to_string(&started).unwrap();
        fs::remove_file(&started).unwrap();
        if answers_probes {
            assert_eq!(within("a probe", plain_get(admin, "/livez")).await.0, 200);
        }
        let kill = |pid: &str| std::process::Command::new("kill").arg(pid.trim()).status().unwrap();
        assert!(kill(&program.id().unwrap().to_string()).success());
        let ended = within("the end of the program", program.wait()).await.unwrap();
        assert!(kill(&plugin).success());
        assert_eq!(ended.code(), Some(0), "{certificate}");
    }
}
