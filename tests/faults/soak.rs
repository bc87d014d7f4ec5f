//! An hour of everything at once: what the process holds has to stay as it is.
//!
//! `cargo test --test faults -- --ignored soak`; `SOAK_SECONDS` says how long, 3600 if it is not set. The samples
//! stay in `target/tmp/soak.csv`.

use std::{
    env,
    fmt::Write,
    fs,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use crate::{
    cluster::{Cluster, counts, metric_of, role},
    harness::{Test, tests},
    load::{Caller, Load, Tally},
    reviews::Review,
    support::{
        ROLE,
        client::{Client, request},
        daemon::Daemon,
        minimal_of,
    },
};

pub(crate) const TESTS: &[Test] = tests![; on_demand: soak];

/// What is sampled, and by how much more of it than its twentieth may be held at the end than at the beginning.
const SERIES: [(&str, f64); 5] = [
    ("process_resident_memory_bytes", 4e6),
    ("process_open_fds", 10.0),
    ("process_threads", 1.0),
    // A task is a connection or one of a few that live as long as the process.
    ("connections_open", 10.0),
    ("admissions_in_flight", 10.0),
];

const ACCOUNTS: usize = 10_000;

// On demand: takes an hour.
async fn soak() {
    let seconds = env::var("SOAK_SECONDS").map_or(3600, |seconds| seconds.parse().unwrap());
    let cluster = Cluster::start().await;
    cluster.api.has_had("payments", (0..ACCOUNTS).map(|number| format!("account-{number}")), ROLE);
    let [replica] = cluster.replicas(&["--lookup-grace=100ms", "--metrics-namespaces=10"]).await;
    let load = cluster.load();
    let samples = tokio::select! {
        samples = sample(&replica, &load, Duration::from_secs(seconds)) => samples,
        _ = async {
            tokio::join!(accounts_change(&cluster), strangers_call(&cluster), nonsense_comes(&cluster),
                connections_come_and_go(&cluster))
        } => unreachable!("they don't end"),
    };
    let (lists, watches) = (cluster.api.lists(), cluster.api.watches());
    let tally = load.end().await;
    tally.none_failed(
        "soak",
        &format!("{seconds} s, {} samples, {lists} lists, {watches} watches", samples.len()),
    );
    is_flat(&samples);
    // Nothing is left of anybody.
    counts(&replica, "admissions_in_flight", 0.0).await;
    counts(&replica, "connections_open", 0.0).await;
}

type Sample = [f64; SERIES.len()];

/// Samples until the time is over, and writes each sample down.
async fn sample(replica: &Daemon, load: &Load, duration: Duration) -> Vec<Sample> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak.csv");
    let mut csv = String::from("seconds,pods");
    SERIES.iter().for_each(|(series, _)| write!(csv, ",{series}").unwrap());
    csv.push('\n');
    let (begun, mut samples) = (Instant::now(), Vec::new());
    while begun.elapsed() < duration {
        sleep((duration / 400).max(Duration::from_millis(250))).await;
        let mut sample = Sample::default();
        for (value, (series, _)) in sample.iter_mut().zip(SERIES) {
            *value = metric_of(replica, series).await;
        }
        write!(csv, "{:.1},{}", begun.elapsed().as_secs_f64(), load.pods()).unwrap();
        sample.iter().for_each(|value| write!(csv, ",{value}").unwrap());
        csv.push('\n');
        fs::write(&path, &csv).unwrap();
        samples.push(sample);
    }
    println!("{}", path.display());
    samples
}

/// The last quarter holds no more than the second; the first is left to warm up.
fn is_flat(samples: &[Sample]) {
    let quarter = samples.len() / 4;
    for (index, (series, slack)) in SERIES.into_iter().enumerate() {
        let median = |from: usize| {
            let mut values: Vec<_> =
                samples[from..from + quarter].iter().map(|sample| sample[index]).collect();
            values.sort_by(f64::total_cmp);
            values[quarter / 2]
        };
        let (second, last) = (median(quarter), median(samples.len() - quarter));
        println!("{series}: {second} in the second quarter, {last} in the last");
        assert!(last <= second * 1.05 + slack, "{series} grows: {second}, {last}");
    }
}

/// Some hundred changes a second, accounts that come with their pods and go, watches that break, lists.
async fn accounts_change(cluster: &Cluster) {
    let (mut caller, tally) = (Caller::new(&cluster.target), Mutex::new(Tally::new()));
    for round in 0_usize.. {
        for number in 0..10 {
            let name = format!("account-{}", (10 * round + number) % ACCOUNTS);
            cluster.api.apply("payments", &name, role(&format!("{ROLE}-{round}")));
        }
        let new = format!("new-{round}");
        cluster.api.apply("payments", &new, role(ROLE));
        caller.create(&Review::of(&new, &[ROLE]), &tally).await;
        cluster.api.delete("payments", &new);
        match round % 500 {
            100 | 300 => cluster.api.break_watches(),
            499 => {
                cluster.api.compact();
                cluster.api.break_watches();
            }
            _ => {}
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Pods of accounts that never come.
async fn strangers_call(cluster: &Cluster) {
    for number in 0.. {
        let mut client = connect(cluster).await;
        let stranger = minimal_of(&format!("stranger-{number}"));
        client.send(&request("POST", "/mutate?timeout=10s", &stranger)).await;
        // Every second one does not wait for the answer.
        if number % 2 == 0 {
            assert_eq!(client.response().await.status, 503);
        }
    }
}

async fn nonsense_comes(cluster: &Cluster) {
    let nested = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let bodies = [b"{}".to_vec(), b"\xff\xfe".to_vec(), vec![b' '; 2 << 20], nested, vec![b'x'; 9 << 20]];
    for body in bodies.iter().cycle() {
        let mut client = connect(cluster).await;
        client.send(&request("POST", "/mutate?timeout=10s", body)).await;
        let expected = if body.len() > 8 << 20 { 413 } else { 400 };
        assert_eq!(client.response().await.status, expected, "{} bytes", body.len());
        sleep(Duration::from_millis(50)).await;
    }
}

/// Without a word, in the middle of a handshake, after it, in the middle of a request.
async fn connections_come_and_go(cluster: &Cluster) {
    loop {
        let silent = TcpStream::connect(cluster.target.address).await.unwrap();
        let mut begun = TcpStream::connect(cluster.target.address).await.unwrap();
        begun.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        let idle = connect(cluster).await;
        let mut cut_off = connect(cluster).await;
        cut_off.send(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{").await;
        sleep(Duration::from_millis(50)).await;
        drop((silent, begun, idle, cut_off));
    }
}

async fn connect(cluster: &Cluster) -> Client {
    Client::connect(cluster.target.address, &cluster.ca.pem()).await
}
