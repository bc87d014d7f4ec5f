//! A node with the stand-in for AWS, in namespaces of its own: an SDK runs there with a container's environment and files, and
//! finds STS, the issuer and the agent by the names and the address that it uses in a cluster.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{
    kubelet::Container,
    sdk::{Sdk, python, source},
};
use crate::{
    control_plane::ControlPlane, harness::Skipped, process::Process, support::pki::Ca, wait::eventually,
};

const BINARY: &str = env!("CARGO_BIN_EXE_eks-pod-identity-webhook");

pub(crate) const ISSUER: &str = "https://issuer.test";

/// The names that lead to the stand-in.
const HOSTS: [&str; 4] = [
    "issuer.test",
    "sts.us-east-1.amazonaws.com",
    "sts.eu-central-1.amazonaws.com",
    "sts.cn-north-1.amazonaws.com.cn",
];

/// Enters the namespaces of a node, gives a container its token, and runs it.
const ENTER: &str =
    r#"mount -t tmpfs none /run && mkdir -p "${2%/*}" && cp "$1" "$2" && shift 2 && exec "$@""#;

pub(crate) struct Node {
    stand_in: Process,
    dir: PathBuf,
    /// What the stand-in knows: see `aws/stand_in.py`.
    pub(crate) state: Value,
}

impl Node {
    /// A node on which AWS knows the issuer of a control plane and nothing else.
    pub(crate) async fn start(plane: &ControlPlane, name: &str) -> Result<Self, Skipped> {
        let python = python()?;
        let dir = plane.dir.join(format!("node-{name}"));
        fs::create_dir(&dir).unwrap();
        let ca = Ca::new();
        fs::write(dir.join("ca.crt"), ca.pem()).unwrap();
        ca.server_of(&HOSTS).write(&dir);
        let hosts = HOSTS.map(|host| format!("127.0.0.1 {host}\n")).concat();
        fs::write(dir.join("hosts"), hosts).unwrap();

        let args = ["--user", "--map-root-user", "--mount", "--net"].map(Into::into);
        let args = args.into_iter().chain([source("aws/node"), python, dir.clone().into()]);
        let stand_in = Process::start(Path::new("unshare"), args, dir.join("aws.log"));
        let state = json!({"issuers": {}, "accounts": {}, "agent": {}, "seconds_ahead": 0});
        let mut node = Self { stand_in, dir, state };
        node.publish(&[node.accounts_key()]);
        eventually("the stand-in for AWS listens", async || {
            let log = node.stand_in.log();
            assert!(!log.contains("Traceback") && !log.contains("node:"), "{log}");
            log.contains("listening")
        })
        .await;
        Ok(node)
    }

    /// Publishes the issuer's documents, with these keys.
    pub(crate) fn publish(&mut self, keys: &[PathBuf]) {
        let folder = self.dir.join("documents");
        let mut command = Command::new(BINARY);
        command.args(["oidc", "generate", "--issuer", ISSUER, "--output-dir"]).arg(&folder);
        for key in keys {
            command.arg("--key-file").arg(key);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        self.state["issuers"]["issuer.test"] = json!(folder);
    }

    /// The key that the API server signs tokens with.
    pub(crate) fn accounts_key(&self) -> PathBuf {
        self.dir.with_file_name("accounts.pub")
    }

    /// Another key, as a control plane has that was built anew.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        let file = self.dir.join(name).with_extension("pub");
        fs::write(&file, KeyPair::generate().unwrap().public_key_pem()).unwrap();
        file
    }

    /// Runs an SDK as the process of a container.
    pub(crate) async fn run(&self, sdk: &Sdk, container: &Container) -> Output {
        self.run_trusting(Some(&self.dir.join("ca.crt")), sdk, container).await
    }

    /// The same, in an image that has these authorities, or those that come with the SDK.
    pub(crate) async fn run_trusting(
        &self,
        authority: Option<&Path>,
        sdk: &Sdk,
        container: &Container,
    ) -> Output {
        fs::write(self.dir.join("state.json"), self.state.to_string()).unwrap();
        let [(file, token)] = &container.tokens[..] else { panic!("not one token: {:?}", container.env) };
        fs::write(self.dir.join("token"), token).unwrap();
        let pid = self.stand_in.pid().to_string();
        let mut command = tokio::process::Command::new("nsenter");
        command.args(["--user", "--mount", "--net", "--preserve-credentials", "--target", &pid]);
        command.args(["unshare", "--mount", "sh", "-c", ENTER, "sh"]);
        command.arg(self.dir.join("token")).arg(file).args(&sdk.command);
        command.env_clear().envs(container.env.iter().cloned());
        command.env("PATH", env::var_os("PATH").unwrap());
        // SDKs differ in the variable that names the authorities that they trust.
        for variable in ["AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"] {
            command.envs(authority.map(|file| (variable, file)));
        }
        command.stdin(Stdio::null()).output().await.unwrap()
    }

    /// The requests that AWS has had, from the first.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.stand_in.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
