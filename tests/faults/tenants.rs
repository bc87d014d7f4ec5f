//! Tenants and peers who take as much as they can: memory stays within the bounds of `docs/reliability.md`, no more than
//! the chart allows, and the calls of others are answered.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::sleep,
};

use crate::{
    cgroup::Cgroup,
    cluster::{Cluster, command_after, duration_of_a_fault, metric_of},
    harness::{Test, tests},
    load::Load,
    support::{
        ROLE, ROLE_ANNOTATION,
        client::{Client, Handshake, Response, request},
        daemon::Daemon,
        minimal_of, recorded,
        server::plain_get,
        within,
    },
};

pub(crate) const TESTS: &[Test] = tests![
    responses_that_are_not_read_are_bounded,
    responses_of_control_characters_that_are_not_read_are_bounded,
    large_pods_from_many_clients_are_bounded,
    pods_of_many_values_are_bounded_with_many_threads,
    probes_are_answered_beside_silent_connections,
    calls_are_answered_beside_silent_and_idle_connections,
    recordings_of_large_objects_are_bounded,
    all_of_them_at_once_stay_within_the_charts_limit
];

/// Connections that were cut off because their peers did not read.
const SLOW_READS: &str = r#"connections_closed_total{reason="slow_read"}"#;

/// The chart's memory limit.
const LIMIT: u64 = 256 << 20;

/// The most that requests may make the process use.
const BOUND: u64 = 160 << 20;

/// A replica that is called, within the chart's limit where a control group can be created.
struct Target {
    cluster: Cluster,
    replica: Daemon,
    load: Load,
    group: Option<Cgroup>,
}

impl Target {
    async fn start(args: &[&str]) -> Self {
        let cluster = Cluster::start().await;
        let group = Cgroup::with_memory(LIMIT).ok();
        let enter = group.as_ref().map_or("exec".to_owned(), Cgroup::enter);
        let replica = cluster.replica_by(command_after(&enter), args).await;
        cluster.balancer.sees(&replica, true).await;
        let load = cluster.load();
        load.goes_on(100).await;
        Self { cluster, replica, load, group }
    }

    async fn connect(&self) -> Client {
        connect(&self.replica, &self.cluster.ca.pem()).await.unwrap()
    }

    /// The calls of others go on and none has failed; the process has used no more than `bound` at any time.
    async fn end(mut self, attack: &str, figures: &str, bound: u64) {
        self.load.goes_on(100).await;
        let peak = metric_of(&self.replica, "process_resident_memory_peak_bytes").await as u64;
        let kills = self.group.as_ref().map(Cgroup::kills);
        let limited = if kills.is_some() { "within 256 MiB" } else { "without a control group" };
        let cut_off = metric_of(&self.replica, SLOW_READS).await;
        let figures = format!("{figures}, {cut_off} not read in time; {} MiB at most, {limited}", peak >> 20);
        self.load.end().await.none_failed(attack, &figures);
        assert!(peak <= bound, "{attack}: {} MiB", peak >> 20);
        assert_eq!(kills.unwrap_or(0), 0);
        // The group can be removed once it is empty.
        self.replica.child.kill().await.unwrap();
    }
}

async fn connect(replica: &Daemon, ca: &str) -> std::io::Result<Client> {
    Client::try_connect(replica.address, ca, Handshake::default()).await
}

/// `minimal` with so many of these containers.
fn pod_of(count: usize, container: impl Fn(usize) -> Value) -> Vec<u8> {
    pod_of_account("api", count, container)
}

fn pod_of_account(account: &str, count: usize, container: impl Fn(usize) -> Value) -> Vec<u8> {
    let mut review: Value = serde_json::from_slice(&minimal_of(account)).unwrap();
    review["request"]["object"]["spec"]["containers"] = (0..count).map(container).collect();
    request("POST", "/mutate?timeout=10s", &serde_json::to_vec(&review).unwrap())
}

fn small_container(number: usize) -> Value {
    json!({"name": format!("c{number}"), "image": "i"})
}

/// Sends this request from so many clients over and over, each of which reads its answers; returns how many got 200, and
/// how many were refused or cut off: the cores are shared with the clients, which may be too slow for the timeouts.
async fn send_and_read(target: &Target, request: &[u8], clients: usize) -> (u64, u64) {
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let (request, ca, address) = (request.to_vec(), target.cluster.ca.pem(), target.replica.address);
        running.spawn(async move {
            let (begun, mut counts) = (Instant::now(), (0, 0));
            let mut client = None;
            while begun.elapsed() < duration_of_a_fault() {
                if client.is_none() {
                    client = Client::try_connect(address, &ca, Handshake::default()).await.ok();
                }
                let response = match &mut client {
                    Some(client) => within("a response", exchange(client, &request)).await,
                    None => None,
                };
                match response.as_ref().map(|response| response.status) {
                    Some(200) => counts.0 += 1,
                    // 400: what would be injected is larger than a pod can be.
                    Some(503 | 408 | 400) | None => counts.1 += 1,
                    Some(status) => panic!("{status}"),
                }
                if response.is_none_or(|response| response.header("connection") == Some("close")) {
                    client = None;
                }
            }
            counts
        });
    }
    let counts = running.join_all().await;
    (counts.iter().map(|count| count.0).sum(), counts.iter().map(|count| count.1).sum())
}

async fn exchange(client: &mut Client, request: &[u8]) -> Option<Response> {
    client.stream.write_all(request).await.ok()?;
    client.stream.flush().await.ok()?;
    client.try_response().await
}

/// Row 4: requests whose responses are as large as they can be, on connections that never read.
async fn responses_that_are_not_read_are_bounded() {
    let target = Target::start(&[]).await;
    let sent = send_and_never_read(&target, &pod_of(2_500, small_container)).await;
    target.end("responses that are not read", &format!("{sent} sent"), BOUND).await;
}

/// Row 4: the same with small requests. JSON writes a control character in six bytes, and the role is injected into each
/// container. What is more than a pod can hold is refused.
async fn responses_of_control_characters_that_are_not_read_are_bounded() {
    let target = Target::start(&[]).await;
    let role = json!({ROLE_ANNOTATION: "\u{1}".repeat(2_048)});
    target.cluster.api.apply("payments", "controls", role);
    let pod_of = |count| pod_of_account("controls", count, small_container);
    let mut client = target.connect().await;
    let answer = async {
        loop {
            let response = exchange(&mut client, &pod_of(110)).await.unwrap();
            assert_eq!(response.status, 200);
            if response.body.len() > 1 << 20 {
                return response.body.len();
            }
        }
    };
    let answered = within("an answer with the role", answer).await;
    let (sent, refused) =
        (send_and_never_read(&target, &pod_of(110)).await, exchange(&mut client, &pod_of(640)).await);
    assert_eq!(refused.unwrap().status, 400);
    let figures = format!("{sent} sent, {} bytes answered with {answered}", pod_of(110).len());
    target.end("responses of control characters that are not read", &figures, BOUND).await;
}

/// Sends this request on 60 connections that never read, over and over; returns how many were sent.
async fn send_and_never_read(target: &Target, request: &[u8]) -> usize {
    let (begun, mut sent) = (Instant::now(), 0);
    while sent == 0 || begun.elapsed() < duration_of_a_fault() {
        let mut deaf = Vec::new();
        for _ in 0..60 {
            let mut client = target.connect().await;
            client.send(request).await;
            deaf.push(client);
        }
        sent += deaf.len();
        target.load.goes_on(50).await;
        if begun.elapsed() >= duration_of_a_fault() {
            // What they hold is given back within seconds.
            let ends = async {
                while metric_of(&target.replica, SLOW_READS).await == 0.0 {
                    sleep(Duration::from_millis(50)).await;
                }
            };
            within("the end of those that do not read", ends).await;
        }
    }
    sent
}

fn large_pod() -> Vec<u8> {
    let padding = "x".repeat(200);
    pod_of(10_000, |number| json!({"name": format!("c{number}"), "image": padding}))
}

fn pod_of_many_values() -> Vec<u8> {
    let args = vec![""; 340_000];
    pod_of(1, |_| json!({"name": "c", "image": "i", "args": args}))
}

/// Row 5.
async fn large_pods_from_many_clients_are_bounded() {
    let target = Target::start(&[]).await;
    let request = large_pod();
    let (answered, refused) = send_and_read(&target, &request, 48).await;
    assert!(answered + refused > 0);
    target.end("large pods", &format!("{answered} answered, {refused} got 503"), BOUND).await;
}

/// Row 6.
async fn pods_of_many_values_are_bounded_with_many_threads() {
    let target = Target::start(&["--threads=32"]).await;
    let request = pod_of_many_values();
    let (answered, refused) = send_and_read(&target, &request, 64).await;
    assert!(answered > 0);
    let kept = metric_of(&target.replica, "process_resident_memory_bytes").await as u64 >> 20;
    let figures = format!("{answered} answered, {refused} got 503, {kept} MiB right after");
    target.end("pods of many values", &figures, BOUND).await;
}

/// A connection that sends nothing, from the address of another pod. Probes and calls come from other addresses, so they
/// are not evicted in its place.
async fn connect_silently(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    socket.connect(address).await.unwrap()
}

/// Row 7.
async fn probes_are_answered_beside_silent_connections() {
    let target = Target::start(&[]).await;
    let mut longest = Duration::ZERO;
    for count in [32, 200] {
        let mut silent = Vec::new();
        for _ in 0..count {
            silent.push(connect_silently(target.replica.admin).await);
        }
        for path in ["/livez", "/readyz", "/metrics"] {
            let begun = Instant::now();
            let (status, _) = within("the probe", plain_get(target.replica.admin, path)).await;
            assert_eq!(status, 200, "{path} beside {count}");
            longest = longest.max(begun.elapsed());
        }
    }
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    target
        .end("silent connections to the admin port", &format!("a probe took {longest:.1?} at most"), BOUND)
        .await;
}

/// Row 8.
async fn calls_are_answered_beside_silent_and_idle_connections() {
    let target = Target::start(&["--max-connections=200"]).await;
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(connect_silently(target.replica.address).await);
    }
    target.load.goes_on(200).await;
    let (mut idle, get) = (Vec::new(), request("GET", "/healthz", b""));
    for _ in 0..400 {
        let mut client = target.connect().await;
        client.send(&get).await;
        assert_eq!(client.response().await.status, 200);
        idle.push(client);
    }
    let evicted = metric_of(&target.replica, r#"connections_closed_total{reason="evicted"}"#).await;
    target.end("silent and idle connections", &format!("{evicted} idle ones closed"), BOUND).await;
}

fn config_map() -> Vec<u8> {
    let mut review: Value = serde_json::from_slice(&recorded("minimal")).unwrap();
    review["request"]["resource"]["resource"] = "configmaps".into();
    review["request"]["object"] = json!({"data": {"k": "x".repeat(2_700_000)}});
    request("POST", "/mutate", &serde_json::to_vec(&review).unwrap())
}

/// Row 12.
async fn recordings_of_large_objects_are_bounded() {
    let target = Target::start(&["--record=recordings"]).await;
    let request = config_map();
    let (answered, refused) = send_and_read(&target, &request, 24).await;
    assert!(answered > 0);
    for entry in std::fs::read_dir(target.cluster.file("recordings")).unwrap() {
        let file = entry.unwrap();
        let len = match file.metadata() {
            Ok(metadata) => metadata.len(),
            // A recording that was being written has its name now, or an old one has made room.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => panic!("{:?}: {error}", file.path()),
        };
        assert!(len < 1 << 20, "{:?} is not a pod", file.path());
    }
    target.end("recordings", &format!("{answered} answered, {refused} got 503"), BOUND).await;
}

/// Rows 1 to 10 and 12. Row 11 is about a Secret that others change, and has a test in `suite::certificates`.
async fn all_of_them_at_once_stay_within_the_charts_limit() {
    let target = Target::start(&["--record=recordings", "--threads=32", "--max-connections=300"]).await;
    // Accounts of a tenant: large foreign annotations, large audiences, and many containers to skip.
    for number in 0..100 {
        let name = |kind: &str| format!("{kind}-{number}");
        target.cluster.api.apply("tenant", &name("foreign"), json!({"tenant/notes": "<".repeat(260_000)}));
        let audience = json!({ROLE_ANNOTATION: ROLE, "eks.amazonaws.com/audience": "a".repeat(260_000)});
        target.cluster.api.apply("tenant", &name("audience"), audience);
    }
    let skip = json!({ROLE_ANNOTATION: ROLE, "eks.amazonaws.com/skip-containers": "a,".repeat(127_000)});
    target.cluster.api.apply("payments", "skips", skip);

    let mut silent = Vec::new();
    for address in [target.replica.admin, target.replica.address].repeat(200) {
        silent.push(connect_silently(address).await);
    }
    let unread = pod_of(2_500, small_container);
    let mut deaf = Vec::new();
    for _ in 0..20 {
        // On a starved machine a handshake may take so long that it makes room for another.
        let Ok(mut client) = connect(&target.replica, &target.cluster.ca.pem()).await else { continue };
        client.stream.write_all(&unread).await.ok();
        deaf.push(client);
    }
    let (large, many, config_map) = (large_pod(), pod_of_many_values(), config_map());
    let skips = request("POST", "/mutate", &minimal_of("skips"));
    let breaks = async {
        let begun = Instant::now();
        while begun.elapsed() < duration_of_a_fault() {
            target.cluster.api.break_watches();
            assert_eq!(plain_get(target.replica.admin, "/livez").await.0, 200);
            sleep(Duration::from_millis(100)).await;
        }
    };
    let (large, many, config_maps, skips, ()) = tokio::join!(
        send_and_read(&target, &large, 12),
        send_and_read(&target, &many, 16),
        send_and_read(&target, &config_map, 6),
        send_and_read(&target, &skips, 4),
        breaks,
    );
    drop((silent, deaf));
    let figures = format!("answered and refused: {large:?}, {many:?}, {config_maps:?}, {skips:?}");
    target.end("all at once", &figures, LIMIT).await;
}
