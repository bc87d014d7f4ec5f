//! The API server goes, comes back without its history, falls silent, is slow, or has a great many accounts.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    cluster::{ANNOTATED, Cluster, counts, duration_of_a_fault, metric_of, role},
    harness::{Test, tests},
    load::{Caller, Load, Tally},
    reviews::Review,
    support::{ROLE, api_server::ApiServer, daemon::Daemon, eventually},
};

pub(crate) const TESTS: &[Test] = tests![
    an_outage_that_ends_without_history_fails_no_call,
    a_list_that_trickles_fails_no_call_and_is_waited_for,
    a_hundred_thousand_accounts_that_change_fail_no_call;
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
    // Somebody's first page has been sent; nobody's last, of ten, three times.
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
