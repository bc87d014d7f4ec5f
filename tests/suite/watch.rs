//! The watch, against an API server that misbehaves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use eks_pod_identity_webhook::{
    accounts::{cache::Cache, sources::watch},
    admission::Outcome,
    injection::account::Account,
    metrics::Metrics,
};
use serde_json::{Value, json};

use crate::support::{
    self, ROLE, ROLE_ANNOTATION,
    api_server::{ApiServer, InitialEvents},
    eventually, metric, recorded,
    server::{Options, Server},
};

/// Runs each of the tests against a server that streams and against one that only lists in pages.
macro_rules! by_stream_and_in_pages {
    ($($test:ident),+ $(,)?) => {
        mod by_stream {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::InitialEvents::Streamed).await;
            })+
        }

        mod in_pages {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::InitialEvents::Refused).await;
            })+
        }
    };
}

by_stream_and_in_pages!(
    changes_are_followed,
    readiness_waits_for_the_whole_list,
    a_relist_leaves_no_ghost_and_no_gap,
    a_list_that_breaks_off_leaves_no_ghost,
    a_list_that_trickles_is_read_to_its_end,
    a_half_open_watch_is_given_up_after_65_seconds_and_goes_on_where_it_was,
    a_broken_watch_goes_on_where_it_was,
    an_outage_is_served_through_and_caught_up_with,
    a_watch_on_which_nothing_happens_is_known_to_work,
    missing_rights_are_counted_and_survived,
    a_watch_refused_with_410_is_listed_anew,
    a_watch_that_is_refused_again_and_again_is_listed_anew,
    the_change_in_a_malformed_event_is_not_lost,
    an_account_that_is_deleted_while_others_are_listed_leaves_no_ghost,
    a_watch_that_ends_at_once_is_retried_with_growing_pauses,
);

struct Watched {
    api: ApiServer,
    cache: Arc<Cache>,
    metrics: Metrics,
}

impl Watched {
    /// A watch of an API server that has some accounts.
    async fn start(by: InitialEvents, accounts: &[&str]) -> Self {
        let api = server(by).await;
        for name in accounts {
            api.apply("a", name, role());
        }
        Self::follow(api)
    }

    fn follow(api: ApiServer) -> Self {
        let metrics = Metrics::new();
        let (cache, writer) = Cache::new(metrics.accounts.clone());
        let client = api.client(metrics.accounts.clone());
        tokio::spawn(watch::follow(client, support::assignments(), writer));
        Self { api, cache, metrics }
    }

    async fn synced(&self) {
        eventually("the first sync", || self.cache.is_synced()).await;
        eventually("the watch", || self.api.open_watches() == 1).await;
    }

    fn has_role(&self, name: &str) -> bool {
        matches!(self.cache.look_up("a", name), Some(Account::Granted(_)))
    }

    fn is_unknown(&self, name: &str) -> bool {
        self.cache.look_up("a", name).is_none()
    }

    async fn sees(&self, name: &str) {
        eventually(&format!("{name} is seen"), || self.has_role(name)).await;
    }

    fn metric(&self, series: &str) -> f64 {
        let exposition = String::from_utf8(self.metrics.render()).unwrap();
        metric(&exposition, &format!("pod_identity_webhook_{series}"))
    }
}

async fn server(by: InitialEvents) -> ApiServer {
    let api = ApiServer::start().await;
    api.initial_events(by);
    api
}

fn role() -> Value {
    json!({ROLE_ANNOTATION: ROLE})
}

async fn changes_are_followed(by: InitialEvents) {
    let watched = Watched::start(by, &["first"]).await;
    watched.synced().await;
    assert!(watched.has_role("first") && watched.is_unknown("second"));

    watched.api.apply("a", "second", json!(null));
    eventually("it is known", || matches!(watched.cache.look_up("a", "second"), Some(Account::Nothing)))
        .await;
    assert_eq!(watched.metric(r#"accounts{state="unannotated"}"#), 1.0);
    watched.api.apply("a", "second", role());
    watched.sees("second").await;
    watched.api.bookmark();
    watched.api.apply("a", "second", json!({}));
    eventually("it lost its role", || matches!(watched.cache.look_up("a", "second"), Some(Account::Nothing)))
        .await;
    watched.api.delete("a", "second");
    eventually("it is gone", || watched.is_unknown("second")).await;

    assert_eq!(watched.api.lists(), 1);
    assert_eq!(watched.api.asked_for_whole_objects(), 0);
    for (series, value) in [
        (r#"accounts{state="annotated"}"#, 1.0),
        (r#"accounts{state="unannotated"}"#, 0.0),
        (r#"watch_events_total{type="applied"}"#, 3.0),
        (r#"watch_events_total{type="deleted"}"#, 1.0),
        ("watch_lists_total", 1.0),
        ("watch_synced", 1.0),
    ] {
        eventually(series, || watched.metric(series) == value).await;
    }
    assert!(
        watched.metric("watch_last_event_timestamp_seconds")
            >= watched.metric("watch_last_sync_timestamp_seconds")
    );
}

async fn readiness_waits_for_the_whole_list(by: InitialEvents) {
    let api = server(by).await;
    for index in 0..600 {
        api.apply("payments", &format!("account-{index:03}"), role());
    }
    api.apply("payments", "api", role());
    api.hold_pages(true);

    let server = Server::start_unsynced(Options::default()).await;
    let Server { writer, .. } = server;
    let client = api.client(server.metrics.accounts.clone());
    tokio::spawn(watch::follow(client, support::assignments(), writer));
    eventually("the first page", || api.pages() == 1).await;
    let (status, reason) = support::server::plain_get(server.admin, "/readyz").await;
    assert_eq!((status, &*reason), (503, "not ready: the ServiceAccounts have not been listed yet\n"));

    let mut client = support::client::Client::connect(server.address, &server.ca.pem()).await;
    let response = client.mutate(&recorded("unannotated-account")).await;
    assert_eq!(response.status, 503);
    assert_eq!(response.text(), "the ServiceAccounts have not been listed yet; try again\n");
    // What the first pages held is served before the rest has come.
    assert_eq!(client.mutate(&support::minimal_of("account-000")).await.status, 200);

    api.hold_pages(false);
    let mut ready = (0, String::new());
    for _ in 0..10_000 {
        ready = support::server::plain_get(server.admin, "/readyz").await;
        if ready.0 == 200 {
            break;
        }
    }
    assert_eq!(ready, (200, "ok\n".to_owned()));
    assert_eq!(client.mutate(&recorded("minimal")).await.status, 200);
    assert_eq!(api.pages() > 1, by == InitialEvents::Refused);
}

async fn a_relist_leaves_no_ghost_and_no_gap(by: InitialEvents) {
    let names: Vec<_> = (0..1200).map(|index| format!("account-{index:04}")).collect();
    let watched = Watched::start(by, &names.iter().map(|name| &**name).collect::<Vec<_>>()).await;
    watched.api.apply("a", "ghost", role());
    watched.synced().await;
    watched.sees("ghost").await;

    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let (cache, stop, count) = (Arc::clone(&watched.cache), Arc::clone(&done), Arc::clone(&answered));
    // Admissions run all the while, for every account in turn.
    let template = String::from_utf8(recorded("minimal")).unwrap().replace("payments", "a");
    let admissions = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            for name in &names {
                let body = template.replace(r#"Name":"api""#, &format!(r#"Name":"{name}""#));
                let answer = support::admit(body, |namespace, name| cache.look_up(namespace, name)).unwrap();
                assert_eq!(
                    answer.map(|answer| answer.outcome),
                    Some(Outcome::Injected),
                    "{name} was missing"
                );
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    for round in 0..3 {
        let before = answered.load(Ordering::Relaxed);
        // The history is gone, and with it the events during the outage.
        watched.api.break_watches();
        let ghost = if round == 0 { "ghost".to_owned() } else { format!("ghost-{round}") };
        if round > 0 {
            eventually("nobody watches", || watched.api.open_watches() == 0).await;
        }
        watched.api.delete("a", &ghost);
        watched.api.apply("a", &format!("ghost-{}", round + 1), role());
        watched.api.compact();
        eventually("the ghost is gone", || watched.is_unknown(&ghost)).await;
        watched.sees(&format!("ghost-{}", round + 1)).await;
        assert!(answered.load(Ordering::Relaxed) > before, "admissions ran during the relist");
        eventually("the watch", || watched.api.open_watches() == 1).await;
    }
    done.store(true, Ordering::Relaxed);
    admissions.join().unwrap();
    assert!(watched.metric("watch_lists_total") > 1.0);
    assert_eq!(watched.metric(r#"accounts{state="annotated"}"#), 1201.0);
}

async fn a_list_that_breaks_off_leaves_no_ghost(by: InitialEvents) {
    let names: Vec<_> = (0..600).map(|index| format!("account-{index:04}")).collect();
    let watched = Watched::start(by, &names.iter().map(|name| &**name).collect::<Vec<_>>()).await;
    watched.synced().await;
    // The first page of the next list holds account-0000, the second fails; then it is deleted.
    watched.api.fail_lists(&[200, 500]);
    watched.api.compact();
    watched.api.hold_pages(true);
    let pages = watched.api.pages();
    watched.api.break_watches();
    eventually("the first page", || watched.api.pages() > pages).await;
    watched.api.delete("a", "account-0000");
    watched.api.hold_pages(false);
    eventually("the ghost is gone", || watched.is_unknown("account-0000")).await;
    assert!(watched.has_role("account-0599"));
    assert_eq!(watched.metric(r#"watch_errors_total{reason="list"}"#), 1.0);
}

async fn an_account_that_is_deleted_while_others_are_listed_leaves_no_ghost(by: InitialEvents) {
    let api = server(by).await;
    for index in 0..200 {
        api.apply("a", &format!("account-{index:03}"), role());
    }
    api.hold_pages(true);
    let watched = Watched::follow(api);
    watched.sees("account-000").await;
    watched.api.delete("a", "account-000");
    watched.api.apply("a", "account-001", json!({}));
    watched.api.hold_pages(false);
    watched.synced().await;
    eventually("the ghost is gone", || watched.is_unknown("account-000")).await;
    eventually("the role is gone", || !watched.has_role("account-001")).await;
    assert!(watched.has_role("account-199"));
    assert_eq!(watched.api.lists(), 1);
}

#[tokio::test]
async fn initial_events_that_break_off_are_followed_by_pages_this_once() {
    for status in [500, 410] {
        let api = ApiServer::start().await;
        for index in 0..200 {
            api.apply("a", &format!("account-{index:03}"), role());
        }
        api.fail_lists(&[200, status]);
        let watched = Watched::follow(api);
        watched.synced().await;
        assert!(watched.has_role("account-199"));
        assert_eq!(watched.metric(r#"watch_errors_total{reason="list"}"#), 1.0);
        assert_eq!((watched.api.lists(), watched.api.pages()), (2, 3), "a stream, and a list in two pages");

        watched.api.delete("a", "account-000");
        watched.api.compact();
        watched.api.break_watches();
        eventually("the deletion is seen", || watched.is_unknown("account-000")).await;
        assert_eq!((watched.api.lists(), watched.api.pages()), (3, 4), "another stream");
    }
}

/// Such a server sends all accounts, too, and bookmarks, but none that says that these are all.
#[tokio::test]
async fn a_server_that_ignores_the_request_for_initial_events_is_listed_in_pages() {
    let api = server(InitialEvents::Ignored).await;
    for index in 0..200 {
        api.apply("a", &format!("account-{index:03}"), role());
    }
    let watched = Watched::follow(api);
    watched.sees("account-199").await;
    assert!(!watched.cache.is_synced());
    watched.synced().await;
    assert_eq!((watched.api.lists(), watched.api.pages()), (2, 3), "a stream, and a list in two pages");
    assert_eq!(watched.metric(r#"watch_errors_total{reason="list"}"#), 0.0);

    watched.api.delete("a", "account-000");
    watched.api.compact();
    watched.api.break_watches();
    eventually("the deletion is seen", || watched.is_unknown("account-000")).await;
    assert_eq!((watched.api.lists(), watched.api.pages()), (3, 5), "no other stream");
}

async fn a_watch_that_ends_at_once_is_retried_with_growing_pauses(by: InitialEvents) {
    let watched = Watched::start(by, &["first"]).await;
    watched.synced().await;
    let begun = Instant::now();
    let watches = watched.api.watches();
    watched.api.end_watches_at_once(true);
    let ended = r#"watch_errors_total{reason="watch_ended"}"#;
    eventually("five failures", || watched.metric(ended) >= 5.0).await;
    assert!(begun.elapsed() > Duration::from_millis(200 + 400 + 800 + 1600), "{:?}", begun.elapsed());
    assert!(watched.api.watches() - watches <= 6);
    assert_eq!(watched.metric(r#"retries_total{operation="account_watch"}"#), watched.metric(ended));
    assert_eq!(watched.api.lists(), 1, "a list would not help");
    assert!(watched.has_role("first"));

    watched.api.end_watches_at_once(false);
    watched.api.apply("a", "second", role());
    watched.sees("second").await;
}

async fn a_list_that_trickles_is_read_to_its_end(by: InitialEvents) {
    let api = server(by).await;
    api.has_had("a", (0..600).map(|index| format!("account-{index:04}")), ROLE);
    api.trickle(Some(Duration::from_micros(100)));
    let watched = Watched::follow(api);
    watched.synced().await;
    assert!(watched.has_role("account-0000") && watched.has_role("account-0599"));
}

/// The connection is there and nothing comes: kube waits for 5 s longer than a watch call lasts.
async fn a_half_open_watch_is_given_up_after_65_seconds_and_goes_on_where_it_was(by: InitialEvents) {
    let watched = Watched::start(by, &["first"]).await;
    watched.synced().await;
    watched.api.mute_watches();
    watched.api.apply("a", "meanwhile", role());
    let watches = watched.api.watches();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    assert!(watched.is_unknown("meanwhile"));
    assert_eq!(watched.api.watches(), watches);

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    watched.sees("meanwhile").await;
    assert_eq!(watched.api.lists(), 1, "nothing had to be listed again");
}

async fn a_broken_watch_goes_on_where_it_was(by: InitialEvents) {
    let watched = Watched::start(by, &["first"]).await;
    watched.synced().await;
    watched.api.break_watches();
    watched.api.apply("a", "meanwhile", role());
    watched.sees("meanwhile").await;
    assert_eq!(watched.api.lists(), 1, "nothing had to be listed again");
    assert!(watched.api.watches() >= 2);
}

async fn an_outage_is_served_through_and_caught_up_with(by: InitialEvents) {
    let mut watched = Watched::start(by, &["first", "deleted"]).await;
    watched.synced().await;
    watched.api.stop().await;
    eventually("the outage is noticed", || {
        watched.metric(r#"watch_errors_total{reason="watch_start"}"#) >= 2.0
    })
    .await;
    assert!(watched.has_role("first") && watched.has_role("deleted"));
    assert_eq!(watched.metric("watch_synced"), 1.0);
    assert_eq!(watched.metric("watch_failing"), 1.0);
    let last_contact = watched.metric("watch_last_contact_timestamp_seconds");
    let last_sync = watched.metric("watch_last_sync_timestamp_seconds");
    assert_eq!(last_contact >= last_sync, by == InitialEvents::Refused, "the watch is a call after the list");

    watched.api.delete("a", "deleted");
    watched.api.apply("a", "new", role());
    watched.api.resume().await;
    watched.sees("new").await;
    eventually("the deletion is seen", || watched.is_unknown("deleted")).await;
    assert_eq!(watched.metric("watch_failing"), 0.0);
    assert!(watched.metric("watch_last_contact_timestamp_seconds") > last_contact);
}

async fn a_watch_on_which_nothing_happens_is_known_to_work(by: InitialEvents) {
    let watched = Watched::start(by, &["first"]).await;
    watched.synced().await;
    let last_contact = watched.metric("watch_last_contact_timestamp_seconds");
    watched.api.break_watches();
    eventually("it is watched again", || {
        watched.metric("watch_last_contact_timestamp_seconds") > last_contact
            && watched.metric("watch_failing") == 0.0
    })
    .await;
    assert_eq!(watched.metric(r#"watch_events_total{type="applied"}"#), 0.0);
}

async fn missing_rights_are_counted_and_survived(by: InitialEvents) {
    let api = server(by).await;
    api.apply("a", "first", role());
    api.fail_lists(&[403, 403]);
    let watched = Watched::follow(api);
    watched.synced().await;
    assert_eq!(watched.metric(r#"watch_errors_total{reason="list"}"#), 2.0);
    assert!(watched.has_role("first"));

    watched.api.fail_watches(&[403]);
    watched.api.break_watches();
    watched.api.apply("a", "second", role());
    watched.sees("second").await;
    assert_eq!(watched.metric(r#"watch_errors_total{reason="watch_start"}"#), 1.0);
}

async fn a_watch_refused_with_410_is_listed_anew(by: InitialEvents) {
    let watched = Watched::start(by, &["first"]).await;
    watched.synced().await;
    watched.api.fail_watches(&[410]);
    watched.api.break_watches();
    watched.api.apply("a", "second", role());
    watched.sees("second").await;
    assert_eq!(watched.api.lists(), 2);
}

async fn a_watch_that_is_refused_again_and_again_is_listed_anew(by: InitialEvents) {
    let watched = Watched::start(by, &["first"]).await;
    watched.synced().await;
    // As after a restore from a backup, when our resourceVersion lies in the server's future.
    watched.api.fail_watches(&[504, 504, 504, 504, 504]);
    watched.api.break_watches();
    eventually("a new list", || watched.api.lists() == 2).await;
    watched.api.apply("a", "second", role());
    watched.sees("second").await;
}

async fn the_change_in_a_malformed_event_is_not_lost(by: InitialEvents) {
    let watched = Watched::start(by, &["first"]).await;
    watched.synced().await;
    watched.api.apply_with_malformed_event("a", "second", role());
    watched.sees("second").await;
    assert_eq!(watched.api.lists(), 2);
    assert_eq!(watched.metric(r#"watch_errors_total{reason="watch_stream"}"#), 1.0);
}
