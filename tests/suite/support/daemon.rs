//! The program, running.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Output, Stdio},
};

use base64_simd::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr},
};

use super::{pki::Ca, within};

const BINARY: &str = env!("CARGO_BIN_EXE_eks-pod-identity-webhook");

/// The program, without the environment of the test run.
pub(crate) fn command(args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(BINARY);
    command.env_clear().args(args);
    command
}

/// What the program printed.
pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// What it printed beside that.
pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A daemon that is running.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    /// The lines of its log that were read.
    pub(crate) seen: Vec<String>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Who signed the certificate that it was given, if it was given one.
    pub(crate) ca_pem: String,
    _certs: Option<TempDir>,
}

impl Daemon {
    pub(crate) async fn start(args: &[&str]) -> Self {
        let (ca, certs) = (Ca::new(), tempfile::tempdir().unwrap());
        ca.server(1).write(certs.path());
        let file = |name: &str| certs.path().join(name).to_str().unwrap().to_owned();
        let mut command = command(&["--tls-cert-file", &file("tls.crt"), "--tls-key-file", &file("tls.key")]);
        command.args(args);
        Self { ca_pem: ca.pem(), _certs: Some(certs), ..Self::run(command).await }
    }

    /// Runs that command, on loopback.
    pub(crate) async fn run(mut command: std::process::Command) -> Self {
        command.args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"]);
        Self::spawn(command).await
    }

    /// Runs that command and nothing else.
    pub(crate) async fn spawn(mut command: std::process::Command) -> Self {
        command.env("LOG_FORMAT", "json").stderr(Stdio::piped());
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let (address, admin, ca_pem) = (unknown, unknown, String::new());
        let mut daemon = Self { child, lines, seen: Vec::new(), address, admin, ca_pem, _certs: None };
        let listening = daemon.line("listening").await;
        let address = |key: &str| listening[key].as_str().unwrap().parse().unwrap();
        (daemon.address, daemon.admin) = (address("listen"), address("admin_listen"));
        daemon
    }

    /// Reads the log until a line with this message.
    pub(crate) async fn line(&mut self, message: &str) -> Value {
        let find = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.seen.push(line.clone());
                let line: Value = serde_json::from_str(&line).unwrap();
                if line["message"] == message {
                    return line;
                }
            }
            panic!("the log ended without {message:?}");
        };
        within(message, find).await
    }

    /// A line with this message, which may have been read already.
    pub(crate) async fn logged(&mut self, message: &str) -> Value {
        let mut seen = self.seen.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        match seen.find(|line| line["message"] == message) {
            Some(line) => line,
            None => self.line(message).await,
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        within("the end of the daemon", self.child.wait()).await.unwrap().code()
    }

    pub(crate) async fn rest_of_the_log(&mut self) -> String {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.seen.push(line);
        }
        self.seen.join("\n")
    }
}

/// A kubeconfig of this API server, whose context `test` is not the current one.
pub(crate) fn write_kubeconfig(dir: &Path, address: SocketAddr, ca_pem: Option<String>) -> String {
    let cluster = match ca_pem {
        None => json!({"server": format!("http://{address}")}),
        Some(pem) => {
            let server = format!("https://localhost:{}", address.port());
            json!({"server": server, "certificate-authority-data": STANDARD.encode_to_string(pem)})
        }
    };
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "other",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": "secret-token"}}],
    });
    let path = dir.join("kubeconfig");
    fs::write(&path, kubeconfig.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}
