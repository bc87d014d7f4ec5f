//! Replicas behind a balancer, on an API server, with one certificate in files.

use std::{
    env,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::MutexGuard;

use crate::{
    balancer::Balancer,
    load::{Load, Target},
    reviews::{self, Review},
    support::{
        ROLE, ROLE_ANNOTATION,
        api_server::ApiServer,
        daemon::{Daemon, command, write_kubeconfig},
        metric,
        pki::Ca,
        server::plain_get,
        within,
    },
};

/// Which accounts have a role.
pub(crate) const ANNOTATED: &str = r#"accounts{state="annotated"}"#;

/// One fault at a time: figures of one are not to be those of another.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How long a fault lasts that has a duration.
pub(crate) fn duration_of_a_fault() -> Duration {
    let seconds = env::var("FAULTS_SECONDS").map_or(2, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

pub(crate) struct Cluster {
    pub(crate) api: ApiServer,
    pub(crate) balancer: Balancer,
    pub(crate) ca: Ca,
    pub(crate) target: Target,
    /// Certificate and kubeconfig.
    dir: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Cluster {
    /// One without replicas, in which the accounts of the recorded requests exist.
    pub(crate) async fn start() -> Self {
        let alone = ALONE.lock().await;
        let (api, balancer) = (ApiServer::start().await, Balancer::start().await);
        api.apply("payments", "api", role(ROLE));
        for name in ["plain", "default"] {
            api.apply("payments", name, json!({}));
        }
        let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
        ca.server(1).write(dir.path());
        write_kubeconfig(dir.path(), api.address, None);
        let target = Target { address: balancer.address, trusted: Arc::new(Mutex::new(ca.pem())) };
        Self { api, balancer, ca, target, dir, _alone: alone }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a replica, which the balancer sends nothing to until it is ready.
    pub(crate) async fn replica(&self, args: &[&str]) -> Daemon {
        self.replica_by(command(&[]), args).await
    }

    /// The same, by another command than the program alone.
    pub(crate) async fn replica_by(&self, mut command: Command, args: &[&str]) -> Daemon {
        command.current_dir(self.dir.path()).args([
            "--kubeconfig=kubeconfig",
            "--context=test",
            "--tls-cert-file=tls.crt",
            "--tls-key-file=tls.key",
        ]);
        command.args(args);
        let replica = Daemon::run(command).await;
        self.balancer.add(&replica);
        replica
    }

    /// Starts a process that shares this port, and waits until it listens.
    pub(crate) async fn sharing(&self, address: SocketAddr) -> Daemon {
        let mut command = command(&[
            "--kubeconfig=kubeconfig",
            "--context=test",
            "--tls-cert-file=tls.crt",
            "--tls-key-file=tls.key",
            "--reuse-port",
            "--drain-delay=300ms",
            "--admin-listen=127.0.0.1:0",
        ]);
        command.arg(format!("--listen={address}")).current_dir(self.dir.path());
        Daemon::spawn(command).await
    }

    /// Starts replicas and waits until each is called.
    pub(crate) async fn replicas<const N: usize>(&self, args: &[&str]) -> [Daemon; N] {
        let mut replicas = Vec::new();
        for _ in 0..N {
            replicas.push(self.replica(args).await);
        }
        for replica in &replicas {
            self.balancer.sees(replica, true).await;
        }
        replicas.try_into().ok().unwrap()
    }

    /// Every replica answers pods of an account with this role, and no call fails.
    pub(crate) async fn gives(&self, name: &str, role: &str) {
        let load = Load::on(&self.target, vec![Review::of(name, &[role])]);
        load.goes_on(50).await;
        load.end().await.none_failed(name, "its role is known");
    }

    /// Calls for every recorded request.
    pub(crate) fn load(&self) -> Load {
        self.load_with(Vec::new())
    }

    /// Calls for these requests as well.
    pub(crate) fn load_with(&self, others: Vec<Review>) -> Load {
        let mut reviews = reviews::golden();
        reviews.extend(others);
        Load::on(&self.target, reviews)
    }
}

/// The program, started by a shell that does something first.
pub(crate) fn command_after(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.args(["-c", &format!(r#"{script} "$0" "$@""#), env!("CARGO_BIN_EXE_eks-pod-identity-webhook")]);
    command
}

/// The annotations of an account with this role.
pub(crate) fn role(role: &str) -> Value {
    json!({ROLE_ANNOTATION: role})
}

/// A metric of a replica, under its name without the prefix.
pub(crate) async fn metric_of(replica: &Daemon, series: &str) -> f64 {
    let (_, exposition) = plain_get(replica.admin, "/metrics").await;
    let prefix = if series.starts_with("process_") { "" } else { "pod_identity_webhook_" };
    metric(&exposition, &format!("{prefix}{series}"))
}

/// Waits until a metric of a replica has this value.
pub(crate) async fn counts(replica: &Daemon, series: &str, value: f64) {
    let what = format!("{series} is {value}");
    within(&what, async {
        while metric_of(replica, series).await != value {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
