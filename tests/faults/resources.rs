//! What a process may run out of: memory, open files, processor time, disk.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rlimit::Resource;
use tokio::{net::TcpStream, task::JoinSet, time::sleep};

use crate::{
    cgroup::Cgroup,
    cluster::{ANNOTATED, Cluster, command_after, counts, duration_of_a_fault, metric_of, role},
    harness::{Outcome, Skipped, Test, tests},
    support::{
        ROLE,
        client::{Client, request},
        daemon::Daemon,
        manifests, minimal_of, recorded, within,
    },
};

pub(crate) const TESTS: &[Test] = tests![
    under_the_charts_memory_limit_a_flood_fails_no_call,
    with_all_files_taken_no_call_fails_and_the_watch_goes_on,
    without_free_descriptors_open_connections_are_served_and_others_wait,
    an_unread_log_fails_no_call_and_stops_no_watch,
    starved_of_processor_time_no_call_fails,
    a_disk_that_is_full_of_recordings_fails_no_call
];

/// Linux's, on every architecture that the program is built for.
const O_NONBLOCK: i32 = 0o4000;

/// Starts the only replica, by a shell that does something first, and waits until it is called.
pub(crate) async fn replica_after(cluster: &Cluster, script: &str, args: &[&str]) -> Daemon {
    let replica = cluster.replica_by(command_after(script), args).await;
    cluster.balancer.sees(&replica, true).await;
    replica
}

/// 100,000 accounts, large bodies from many sides and pods of accounts that don't come, within what the chart allows.
async fn under_the_charts_memory_limit_a_flood_fails_no_call() -> Outcome {
    let limit = chart_limit();
    let group = Cgroup::with_memory(limit)
        .map_err(|error| Skipped(format!("a control group can't be created here: {error}")))?;
    let cluster = Cluster::start().await;
    cluster.api.has_had("payments", (0..100_000).map(|number| format!("account-{number:05}")), ROLE);
    let mut replica = replica_after(&cluster, &group.enter(), &[]).await;
    let load = cluster.load();
    load.goes_on(100).await;

    let refused = flood(&cluster).await;
    load.goes_on(100).await;
    assert_eq!(group.kills(), 0);
    let (resident, peak) = (metric_of(&replica, "process_resident_memory_peak_bytes").await, group.peak());
    let figures = format!(
        "of {} MiB: at most {:.0} resident, {:.0} with file cache; {refused} of the flood got 503",
        limit >> 20,
        resident / 1048576.0,
        peak as f64 / 1048576.0
    );
    load.end().await.none_failed("memory limit", &figures);
    assert_eq!(metric_of(&replica, ANNOTATED).await, 100_001.0);
    // The group can be removed once it is empty.
    replica.child.kill().await.unwrap();
    Ok(())
}

/// The bytes of the memory limit in the manifests.
fn chart_limit() -> u64 {
    let mut objects = manifests::read("deploy/kubernetes/self-managed/webhook.yaml");
    let deployment = manifests::of_kind(&mut objects, "Deployment");
    let limit = manifests::container(deployment)["resources"]["limits"]["memory"].as_str().unwrap();
    limit.strip_suffix("Mi").unwrap().parse::<u64>().unwrap() << 20
}

/// Sends large bodies, and pods of accounts that don't come, each over and over; tells how many were answered with 503.
async fn flood(cluster: &Cluster) -> u64 {
    let mut large = recorded("twenty-containers");
    large.resize(7 << 20, b' ');
    let strangers = (0..100).map(|number| minimal_of(&format!("unknown-{number}")));
    let mut floods = JoinSet::new();
    for body in std::iter::repeat_n(large, 12).chain(strangers) {
        let (address, trusted) = (cluster.target.address, cluster.ca.pem());
        floods.spawn(async move {
            let (begun, mut refused) = (Instant::now(), 0);
            while begun.elapsed() < duration_of_a_fault() {
                let mut client = Client::connect(address, &trusted).await;
                client.send(&request("POST", "/mutate?timeout=10s", &body)).await;
                refused += u64::from(client.response().await.status == 503);
            }
            refused
        });
    }
    floods.join_all().await.into_iter().sum()
}

/// Connections that say nothing, on both ports, more of them than there are files.
async fn with_all_files_taken_no_call_fails_and_the_watch_goes_on() {
    let cluster = Cluster::start().await;
    let replica = replica_after(&cluster, "ulimit -n 128; exec", &["--tls-handshake-timeout=2s"]).await;
    let limit = metric_of(&replica, "connections_limit").await;
    assert_eq!(limit, 64.0, "the rest is kept for other files");
    let load = cluster.load();
    load.goes_on(100).await;

    let (begun, mut floods) = (Instant::now(), 0);
    while floods == 0 || begun.elapsed() < duration_of_a_fault() {
        let mut flood = Vec::new();
        for address in [replica.address, replica.admin].repeat(80) {
            flood.push(TcpStream::connect(address).await.unwrap());
        }
        cluster.api.break_watches();
        floods += 1;
        let new = format!("new-{floods}");
        cluster.api.apply("payments", &new, role(ROLE));
        cluster.gives(&new, ROLE).await;
        load.goes_on(100).await;
    }
    assert_eq!(metric_of(&replica, "accept_errors_total").await, 0.0, "files were left");
    load.end().await.none_failed("open files", &format!("{floods} floods of 160 connections, 128 files"));
}

/// As if others had taken every file of the node: none can be opened, neither to accept a connection nor for the watch.
async fn without_free_descriptors_open_connections_are_served_and_others_wait() {
    let cluster = Cluster::start().await;
    let [replica] = cluster.replicas(&[]).await;
    let load = cluster.load();
    load.goes_on(100).await;
    let mut connected = Client::connect(cluster.target.address, &cluster.ca.pem()).await;
    let golden = connected.mutate(&recorded("minimal")).await.body;

    let (pid, most) = (replica.child.id().unwrap(), metric_of(&replica, "process_max_fds").await as u64);
    let limit =
        |files| rlimit::prlimit(pid.cast_signed(), Resource::NOFILE, Some((files, most)), None).unwrap();
    limit(1);
    let begun = Instant::now();
    cluster.api.break_watches();
    cluster.api.apply("payments", "new", role(ROLE));
    // Those who wait to be accepted do so for less than kube-apiserver's timeout.
    while begun.elapsed() < duration_of_a_fault().min(Duration::from_secs(5)) {
        assert_eq!(connected.mutate(&recorded("minimal")).await.body, golden);
        sleep(Duration::from_millis(5)).await;
    }
    limit(most);
    let begun = Instant::now();
    cluster.gives("new", ROLE).await;
    let converged = begun.elapsed();
    load.goes_on(200).await;
    let errors = metric_of(&replica, "accept_errors_total").await;
    assert!(errors > 0.0, "none could be opened");
    let figures = format!("{errors} times none could be accepted; all was well {converged:.1?} later");
    load.end().await.none_failed("no file to open", &figures);
}

/// The reader of the log has stopped: a container runtime that hangs, or a pipe into a stopped program.
async fn an_unread_log_fails_no_call_and_stops_no_watch() {
    let cluster = Cluster::start().await;
    let [mut replica] = cluster.replicas(&["--log-level=debug"]).await;
    let load = cluster.load();
    fill_log(&replica);
    load.goes_on(500).await;
    for number in 1..=5 {
        cluster.api.compact();
        cluster.api.break_watches();
        let new = format!("new-{number}");
        cluster.api.apply("payments", &new, role(ROLE));
        cluster.gives(&new, ROLE).await;
    }
    load.goes_on(500).await;
    within("lines are dropped", async {
        while metric_of(&replica, "log_lines_dropped_total").await == 0.0 {
            load.goes_on(500).await;
        }
    })
    .await;
    load.end().await.none_failed("log full", "5 lists");
    // A reader that continues gets the new lines.
    replica.signal("-TERM");
    replica.line("drained").await;
    assert_eq!(replica.exit_code().await, Some(0));
}

/// Fills the pipe of a replica's log to the last byte.
fn fill_log(replica: &Daemon) {
    let pipe = format!("/proc/{}/fd/2", replica.child.id().unwrap());
    let mut pipe = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(pipe).unwrap();
    let full = loop {
        if let Err(error) = pipe.write(b"{}\n") {
            break error;
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
}

/// A busy loop for each core, and the program has the least share of the processor that there is.
async fn starved_of_processor_time_no_call_fails() {
    let cluster = Cluster::start().await;
    let replica = replica_after(&cluster, "exec nice -n 19", &[]).await;
    let load = cluster.load();
    load.goes_on(100).await;
    let cores = std::thread::available_parallelism().unwrap().get();
    let busy: Vec<_> = (0..cores).map(|_| Busy::start()).collect();
    let (begun, cpu) = (Instant::now(), metric_of(&replica, "process_cpu_seconds_total").await);
    sleep(duration_of_a_fault()).await;
    load.goes_on(10).await;
    let share =
        (metric_of(&replica, "process_cpu_seconds_total").await - cpu) / begun.elapsed().as_secs_f64();
    let tally = load.end().await;
    drop(busy);
    tally.none_failed("starved of processor time", &format!("{:.0} % of a core was left", share * 100.0));
}

/// A loop that ends with the test.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        Self(Command::new("/bin/sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A file system of 256 KiB in a mount namespace of its own.
const SMALL_DISK: &str =
    r#"exec unshare --mount sh -c 'mount -t tmpfs -o size=256k none recordings && exec "$0" "$@"'"#;

async fn a_disk_that_is_full_of_recordings_fails_no_call() -> Outcome {
    let cluster = Cluster::start().await;
    fs::create_dir(cluster.file("recordings")).unwrap();
    let mut probe = Command::new("/bin/sh");
    probe.args(["-c", &SMALL_DISK.replace(r#""$0" "$@""#, "true")]).current_dir(cluster.file("."));
    if !probe.stderr(Stdio::null()).status().unwrap().success() {
        return Err(Skipped("file systems can't be mounted here".to_owned()));
    }
    let mut replica = replica_after(&cluster, SMALL_DISK, &["--record=recordings"]).await;
    let load = cluster.load();
    let said = replica.line("can't write to --record; nothing more is recorded").await;
    counts(&replica, "recording_active", 0.0).await;
    load.goes_on(500).await;
    let written = metric_of(&replica, r#"recordings_total{result="written"}"#).await;
    let folder =
        format!("/proc/{}/root{}", replica.child.id().unwrap(), cluster.file("recordings").display());
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len() as f64, written, "none of them half-written: {files:?}");
    for file in files {
        serde_json::from_slice::<serde_json::Value>(&fs::read(file).unwrap()).unwrap();
    }
    let figures = format!("{written} recordings, each whole; then {}", said["error"]);
    load.end().await.none_failed("disk full", &figures);
    within("the end", async {
        replica.signal("-TERM");
        assert_eq!(replica.exit_code().await, Some(0));
    })
    .await;
    Ok(())
}
