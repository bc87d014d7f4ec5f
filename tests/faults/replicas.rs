//! Replicas come and go, and so do their certificates.

use std::{fs, net::TcpListener, sync::Arc, time::Instant};

use crate::{
    cluster::{Cluster, duration_of_a_fault},
    harness::{Test, tests},
    load::{Load, Target},
    reviews,
    support::{
        client::{Client, Handshake},
        daemon::Daemon,
        pki::Ca,
        within,
    },
};

pub(crate) const TESTS: &[Test] = tests![
    a_rolling_replacement_fails_no_call,
    a_replica_that_is_killed_fails_calls_only_until_it_is_seen,
    an_exchange_of_certificate_and_authority_in_files_fails_no_call,
    a_successor_on_the_same_port_refuses_no_connection
];

/// Longer than the balancer takes to see that a replica is not ready, as in a cluster.
const DRAIN: &[&str] = &["--drain-delay=300ms"];

async fn a_rolling_replacement_fails_no_call() {
    let cluster = Cluster::start().await;
    let mut replicas = cluster.replicas::<3>(DRAIN).await;
    let load = cluster.load();
    load.goes_on(200).await;
    let begun = Instant::now();
    let mut replaced = 0;
    while replaced < replicas.len() || begun.elapsed() < duration_of_a_fault() {
        let new = cluster.replica(DRAIN).await;
        cluster.balancer.sees(&new, true).await;
        let index = replaced % replicas.len();
        let mut old = std::mem::replace(&mut replicas[index], new);
        old.signal("-TERM");
        assert_eq!(old.exit_code().await, Some(0));
        cluster.balancer.remove(&old);
        replaced += 1;
    }
    let each = begun.elapsed().as_secs_f64() / replaced as f64;
    load.goes_on(200).await;
    load.end().await.none_failed("rolling replacement", &format!("{replaced} replaced, {each:.2} s each"));
}

/// As two versions on a node's network: the new process opens the port once it is ready, beside the old one, which then drains.
async fn a_successor_on_the_same_port_refuses_no_connection() {
    let cluster = Cluster::start().await;
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut serving = cluster.sharing(address).await;
    let target = Target { address, trusted: Arc::clone(&cluster.target.trusted) };
    let load = Load::on(&target, reviews::golden());
    load.goes_on(200).await;
    let (begun, mut handovers) = (Instant::now(), 0);
    while handovers < 3 || begun.elapsed() < duration_of_a_fault() {
        let mut old = std::mem::replace(&mut serving, cluster.sharing(address).await);
        old.signal("-TERM");
        assert_eq!(old.exit_code().await, Some(0));
        load.goes_on(50).await;
        handovers += 1;
    }
    load.end().await.none_failed("handover on one port", &format!("{handovers} handovers"));
}

/// What no server can mend: calls that the dead replica had taken, and those sent there before it is known to be dead.
async fn a_replica_that_is_killed_fails_calls_only_until_it_is_seen() {
    let cluster = Cluster::start().await;
    let [mut victim, _second, _third] = cluster.replicas(&[]).await;
    let load = cluster.load();
    load.goes_on(500).await;
    assert_eq!(load.failures(), 0);
    let killed = Instant::now();
    victim.child.kill().await.unwrap();
    cluster.balancer.sees(&victim, false).await;
    let seen = killed.elapsed();
    // Callers have noticed by now.
    load.goes_on(100).await;
    let failures = load.failures();
    cluster.balancer.remove(&victim);
    let replacement = cluster.replica(&[]).await;
    cluster.balancer.sees(&replacement, true).await;
    let replaced = killed.elapsed();
    load.goes_on(500).await;
    assert_eq!(load.failures(), failures, "once it is seen, no call fails");
    let figures = format!("seen after {seen:.1?}, replaced after {replaced:.1?}");
    load.end().await.print("kill -9 of one of three", &figures);
}

/// As cert-manager renews: the new authority is trusted beside the old one first. What the program does itself where it
/// keeps the certificate is tested in `suite::certificates` and in `e2e`.
async fn an_exchange_of_certificate_and_authority_in_files_fails_no_call() {
    let cluster = Cluster::start().await;
    let replicas = cluster.replicas::<3>(&["--reload-interval=50ms"]).await;
    let load = cluster.load();
    load.goes_on(200).await;
    let (begun, mut old) = (Instant::now(), cluster.ca.pem());
    let (mut exchanged, mut longest) = (0, std::time::Duration::ZERO);
    while exchanged < 3 || begun.elapsed() < duration_of_a_fault() {
        let new = Ca::new();
        *cluster.target.trusted.lock().unwrap() = old + &new.pem();
        load.goes_on(50).await;
        let written = Instant::now();
        write(&cluster, &new);
        for replica in &replicas {
            within("the new certificate", serves(replica, &new)).await;
        }
        longest = longest.max(written.elapsed());
        old = new.pem();
        *cluster.target.trusted.lock().unwrap() = old.clone();
        load.goes_on(200).await;
        exchanged += 1;
    }
    let figures = format!("{exchanged} exchanged, each served by all after {longest:.1?} at most");
    load.end().await.none_failed("certificate and authority", &figures);
}

/// Each file at once, but not both.
fn write(cluster: &Cluster, ca: &Ca) {
    let pair = ca.server(1);
    for (name, pem) in [("tls.crt", pair.cert), ("tls.key", pair.key)] {
        fs::write(cluster.file("new"), pem).unwrap();
        fs::rename(cluster.file("new"), cluster.file(name)).unwrap();
    }
}

async fn serves(replica: &Daemon, ca: &Ca) {
    while Client::try_connect(replica.address, &ca.pem(), Handshake::default()).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
