//! The API server goes, comes back without its history, falls silent, is slow, or has a great many accounts.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::time::sleep;

use crate::{
    cgroup::Cgroup,
    cluster::{ANNOTATED, Cluster, counts, duration_of_a_fault, metric_of, role},
    harness::{Test, tests},
    load::{Caller, Load, Tally},
    resources::replica_after,
    reviews::Review,
    support::{
        ROLE,
        api_server::{ApiServer, InitialEvents},
        daemon::Daemon,
        eventually, within,
    },
};

pub(crate) const TESTS: &[Test] = tests![
    an_outage_that_ends_without_history_fails_no_call,
    a_list_that_trickles_fails_no_call_and_is_waited_for,
    a_hundred_thousand_accounts_that_change_fail_no_call,
    a_hundred_thousand_accounts_are_listed_in_pages_where_nothing_streams,
    a_watch_that_ends_at_once_fails_no_call_and_is_logged_once,
    accounts_with_large_annotations_take_little_memory;
    on_demand: a_half_open_watch_is_given_up_and_fails_no_call,
];

const OTHER_ROLE: &str = "arn:aws:iam::111122223333:role/other";

/// Waits until all of them count so many accounts with a role; tells how long it took.
async fn converge(replicas: &[Daemon], annotated: usize) -> Duration {
    let begun = Instant::now();
    for replica in replicas {
        counts(replica, ANNOTATED, annotated as f64).await;
    }
    begun.elapsed()
}

async fn an_outage_that_ends_without_history_fails_no_call() {
    let mut cluster = Cluster::start().await;
    cluster.api.apply("payments", "gone", role(ROLE));
    let replicas = cluster.replicas::<2>(&[]).await;
    let load = cluster.load();
    load.goes_on(200).await;

    cluster.api.stop().await;
    let down = Instant::now();
    cluster.api.delete("payments", "gone");
    for name in ["new", "newer"] {
        cluster.api.apply("payments", name, role(ROLE));
    }
    cluster.api.compact();
    sleep(duration_of_a_fault()).await;
    load.goes_on(200).await;
    for replica in &replicas {
        assert_eq!(metric_of(replica, "watch_failing").await, 1.0, "the outage is noticed");
    }
    let down = down.elapsed();
    cluster.api.resume().await;
    let converged = converge(&replicas, 3).await;
    load.goes_on(200).await;
    load.end().await.none_failed(
        "API server gone, history compacted",
        &format!("gone for {down:.1?}, caught up {converged:.1?} after its return"),
    );
    assert_eq!(cluster.api.lists(), 4, "one for each replica, before and after");
    cluster.gives("new", ROLE).await;
}

/// It takes more than a minute: `cargo test --test faults -- --ignored half_open`. That the bound holds by the clock of the
/// runtime is tested in `suite::watch`.
// On demand: takes 65 s.
async fn a_half_open_watch_is_given_up_and_fails_no_call() {
    let cluster = Cluster::start().await;
    let replicas = cluster.replicas::<2>(&[]).await;
    let load = cluster.load();
    eventually("everybody watches", || cluster.api.open_watches() == 2).await;
    cluster.api.mute_watches();
    let silent = Instant::now();
    cluster.api.apply("payments", "new", role(ROLE));
    while metric_of(&replicas[0], ANNOTATED).await < 2.0 || metric_of(&replicas[1], ANNOTATED).await < 2.0 {
        assert!(silent.elapsed() < Duration::from_secs(120), "it is never noticed");
        sleep(Duration::from_millis(20)).await;
    }
    let noticed = silent.elapsed();
    let figures = format!("noticed and caught up after {noticed:.1?}, without a list");
    load.end().await.none_failed("half-open watch", &figures);
    assert_eq!(cluster.api.lists(), 2);
    cluster.gives("new", ROLE).await;
}

async fn a_list_that_trickles_fails_no_call_and_is_waited_for() {
    const ACCOUNTS: usize = 2000;
    let cluster = Cluster::start().await;
    cluster.api.has_had("payments", (0..ACCOUNTS).map(name), ROLE);
    let replicas = cluster.replicas::<2>(&[]).await;
    let load = cluster.load();
    load.goes_on(200).await;

    // Some 500 pieces; as long as `eventually` waits at most.
    cluster.api.trickle(Some(duration_of_a_fault().min(Duration::from_secs(8)) / 500));
    let pages = cluster.api.pages();
    cluster.api.apply("payments", "new", role(ROLE));
    cluster.api.compact();
    cluster.api.break_watches();
    let begun = Instant::now();
    let late = cluster.replica(&[]).await;
    // The first of ten pages has been sent once, and the last page to no one, three times.
    eventually("the lists have begun", || cluster.api.pages() > pages).await;
    assert!(!cluster.balancer.sends_to(&late), "it does not know all accounts yet");
    cluster.balancer.sees(&late, true).await;
    let synced = begun.elapsed();
    assert_eq!(metric_of(&late, ANNOTATED).await, (ACCOUNTS + 2) as f64, "ready means that it knows all");
    converge(&replicas, ACCOUNTS + 2).await;
    load.goes_on(200).await;
    let figures =
        format!("a list of {} took {synced:.1?}, during which the new replica got no call", ACCOUNTS + 5);
    load.end().await.none_failed("list that trickles", &figures);
}

async fn a_hundred_thousand_accounts_that_change_fail_no_call() {
    const ACCOUNTS: usize = 100_000;
    let cluster = Cluster::start().await;
    cluster.api.has_had("payments", (0..ACCOUNTS).map(name), ROLE);
    let begun = Instant::now();
    let replicas = cluster.replicas::<2>(&[]).await;
    let synced = begun.elapsed();
    // Either role is right as long as it changes.
    let changing = (0..ASKED).map(|number| Review::of(&name(number), &[ROLE, OTHER_ROLE]));
    let load = cluster.load_with(changing.collect());

    let (is_over, newcomers) = (AtomicBool::new(false), Mutex::new(Tally::new()));
    let (rounds, ()) = tokio::join!(
        async {
            let rounds = change(&cluster.api, ACCOUNTS).await;
            is_over.store(true, Ordering::Relaxed);
            rounds
        },
        come_with_their_pods(&cluster, &newcomers, &is_over),
    );
    let (last, newcomers) = (Instant::now(), newcomers.into_inner().unwrap());
    let changes = rounds * CHANGES_IN_A_ROUND;
    for replica in &replicas {
        let seen = (changes + newcomers.pods as usize) as f64;
        counts(replica, r#"watch_events_total{type="applied"}"#, seen).await;
    }
    let converged = last.elapsed();
    let memory = metric_of(&replicas[0], "process_resident_memory_bytes").await / 1e6;
    let changes = changes as f64 / duration_of_a_fault().as_secs_f64();
    let figures = format!(
        "two replicas were ready after {synced:.1?}; {changes:.0} changes a second, the last of which was \
         known after {converged:.1?}; {memory:.0} MB resident"
    );
    load.end().await.none_failed("100,000 accounts that change", &figures);
    newcomers.none_failed("pods right behind their accounts, meanwhile", "");

    let settled = (0..ASKED).map(|number| Review::of(&name(number), &[role_in(rounds, number)]));
    let load = Load::on(&cluster.target, settled.collect());
    load.goes_on(2 * ASKED as u64).await;
    load.end().await.none_failed("once they stay", "as they are now");
}

async fn a_hundred_thousand_accounts_are_listed_in_pages_where_nothing_streams() {
    const ACCOUNTS: usize = 100_000;
    let cluster = Cluster::start().await;
    cluster.api.initial_events(InitialEvents::Refused);
    cluster.api.has_had("payments", (0..ACCOUNTS).map(name), ROLE);
    let begun = Instant::now();
    let [mut replica] = cluster.replicas::<1>(&[]).await;
    let ready = begun.elapsed();
    assert_eq!(metric_of(&replica, ANNOTATED).await, (ACCOUNTS + 1) as f64);
    assert!(cluster.api.pages() < 30, "pages are large: {}", cluster.api.pages());
    let cpu = metric_of(&replica, "process_cpu_seconds_total").await;
    let memory = metric_of(&replica, "process_resident_memory_peak_bytes").await / 1e6;
    println!("  ready after {ready:.1?}, {cpu:.2} s of CPU, {memory:.0} MB at most");
    cluster.gives(&name(ACCOUNTS - 1), ROLE).await;
    replica.child.kill().await.unwrap();
    let fallback = "the API server does not stream ServiceAccounts; they are listed in pages";
    assert_eq!(replica.rest_of_the_log().await.matches(fallback).count(), 1);
}

async fn a_watch_that_ends_at_once_fails_no_call_and_is_logged_once() {
    let cluster = Cluster::start().await;
    let [mut replica] = cluster.replicas::<1>(&[]).await;
    let load = cluster.load();
    eventually("it watches", || cluster.api.open_watches() == 1).await;
    let (begun, watches) = (Instant::now(), cluster.api.watches());
    cluster.api.end_watches_at_once(true);
    let ended = r#"watch_errors_total{reason="watch_ended"}"#;
    within("six failures", async {
        while metric_of(&replica, ended).await < 6.0 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (lasted, calls) = (begun.elapsed(), cluster.api.watches() - watches);
    cluster.api.end_watches_at_once(false);
    cluster.api.apply("payments", "new", role(ROLE));
    cluster.gives("new", ROLE).await;
    replica.line("can watch ServiceAccounts again").await;
    let figures = format!("{calls} calls in {lasted:.1?}");
    load.end().await.none_failed("watches that end at once", &figures);
    let warnings = replica.seen.iter().filter(|line| line.contains("can't watch ServiceAccounts")).count();
    assert_eq!(warnings, 1);
}

/// Kubernetes allows 256 KiB of annotations, and JSON writes some characters in six bytes. This server is quicker at as many
/// bytes of others.
async fn accounts_with_large_annotations_take_little_memory() {
    const ACCOUNTS: usize = 200;
    const MOST: f64 = 128.0 * 1048576.0;
    for by in [InitialEvents::Streamed, InitialEvents::Refused] {
        let group = Cgroup::with_memory(256 << 20);
        let cluster = Cluster::start().await;
        cluster.api.initial_events(by);
        let annotations = json!({"foreign": "x".repeat(6 * 260_000)});
        cluster.api.has_had_annotated("tenant", (0..ACCOUNTS).map(name), &annotations);
        let script = group.as_ref().map_or_else(|_| "exec".to_owned(), Cgroup::enter);
        let mut replica = replica_after(&cluster, &script, &[]).await;
        for lists in 2..4 {
            eventually("it watches", || cluster.api.open_watches() == 1).await;
            cluster.api.compact();
            cluster.api.break_watches();
            counts(&replica, "watch_lists_total", f64::from(lists)).await;
            eventually("it watches", || cluster.api.open_watches() == 1).await;
        }
        let peak = metric_of(&replica, "process_resident_memory_peak_bytes").await;
        println!("  {by:?}: {:.0} MiB resident at most", peak / 1048576.0);
        assert!(peak < MOST, "{by:?}: {peak} bytes");
        assert_eq!(metric_of(&replica, r#"accounts{state="unannotated"}"#).await, ACCOUNTS as f64 + 2.0);
        replica.child.kill().await.unwrap();
    }
}

/// So many of the accounts that change are asked about.
const ASKED: usize = 50;

/// Those, and as many others.
const CHANGES_IN_A_ROUND: usize = 2 * ASKED;

fn name(number: usize) -> String {
    format!("account-{number:05}")
}

/// The role of an account that is asked about, since this round.
fn role_in(round: usize, number: usize) -> &'static str {
    [ROLE, OTHER_ROLE][(round + number) % 2]
}

/// Changes accounts, some thousand a second; tells in how many rounds.
async fn change(api: &ApiServer, accounts: usize) -> usize {
    let (begun, mut rounds) = (Instant::now(), 0);
    while begun.elapsed() < duration_of_a_fault() {
        rounds += 1;
        for number in 0..ASKED {
            api.apply("payments", &name(number), role(role_in(rounds, number)));
            let other = ASKED + (rounds * ASKED + number) % (accounts - ASKED);
            api.apply("payments", &name(other), role(OTHER_ROLE));
        }
        sleep(Duration::from_millis(20)).await;
    }
    rounds
}

/// `kubectl apply -f all.yaml`, over and over.
async fn come_with_their_pods(cluster: &Cluster, tally: &Mutex<Tally>, is_over: &AtomicBool) {
    let mut caller = Caller::new(&cluster.target);
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("new-{number}");
        cluster.api.apply("payments", &name, role(ROLE));
        caller.create(&Review::of(&name, &[ROLE]), tally).await;
        sleep(Duration::from_millis(20)).await;
    }
}
