//! Look-ups: as accounts grow, and while the watch brings news.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use eks_pod_identity_webhook::{
    accounts::cache::{Cache, Writer},
    injection::account::Account,
};

use crate::{
    fixtures::{self, Core, REVIEWS},
    summary::{Line, Summary},
};

const FEW: usize = 100;
const MANY: usize = 100_000;
const FLAT: f64 = 1.3;
const P99: f64 = 1.5;

/// Updates a second are 1,000 of these.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) fn run(summary: &mut Summary, short: bool) {
    let rounds = if short { 1 } else { 200 };
    for (which, spread) in [("one account", 1), ("any account", usize::MAX)] {
        let [few, many] = [FEW, MANY].map(|count| {
            let (cache, _writer) = fixtures::cache(count, Account::Nothing);
            look_up(&cache, count.min(spread), rounds)
        });
        let what = format!("look-up of {which} among {MANY} over {FEW}");
        summary.line(line(what, many, few, FLAT, "ns"));
    }

    let [few, many] = [FEW, MANY].map(|count| {
        let (cache, _writer) = fixtures::cache(count, Account::Nothing);
        admit(&mut Core::new(cache), count, rounds)
    });
    let what = format!("admission of any account among {MANY} over {FEW}");
    summary.line(line(what, many, few, FLAT, "ns"));

    let (cache, mut writer) = fixtures::cache(10_000, fixtures::annotated());
    let (idle, churned) = with_churn(&mut writer, || look_up(&cache, 10_000, rounds));
    summary.line(line(
        "look-up under 1,000 updates a second over idle".to_owned(),
        churned,
        idle,
        FLAT,
        "ns",
    ));

    let mut core = Core::new(cache);
    let admissions = if short { 10 } else { 30_000 };
    let (idle, churned) = with_churn(&mut writer, || p99(&mut core, admissions));
    summary.line(line(
        "p99 of admissions under 1,000 updates a second over idle".to_owned(),
        churned,
        idle,
        P99,
        "µs",
    ));
}

fn line(name: String, value: f64, base: f64, target: f64, unit: &str) -> Line {
    let ratio = value / base;
    let figure = format!("{ratio:.2}× ({value:.1} over {base:.1} {unit})");
    Line { name, figure, target: format!("≤ {target}×"), ok: ratio <= target }
}

/// Nanoseconds of a look-up.
fn look_up(cache: &Cache, accounts: usize, rounds: usize) -> f64 {
    each_namespace(accounts, rounds, |namespace| {
        black_box(cache.look_up(black_box(namespace), "default"));
    })
}

/// Nanoseconds of an admission of the small request, its copy included.
fn admit(core: &mut Core, accounts: usize, rounds: usize) -> f64 {
    let mut body = fixtures::padded(REVIEWS[0].body);
    each_namespace(accounts, rounds.min(20), |namespace| {
        body.clear();
        body.extend_from_slice(REVIEWS[0].body);
        core.admit_as(&mut body, namespace, "default");
    })
}

/// Nanoseconds of one run, in the best of some rounds over accounts in an order that no prefetcher foresees.
fn each_namespace(accounts: usize, rounds: usize, mut run: impl FnMut(&str)) -> f64 {
    const RUNS: usize = 10_000;
    // A step that is prime to any number of accounts here visits them all before one comes again.
    let namespaces: Vec<_> = (0..RUNS).map(|index| fixtures::namespace(index * 7_919 % accounts)).collect();
    let round = |_| {
        let begun = Instant::now();
        namespaces.iter().for_each(|namespace| run(namespace));
        begun.elapsed().as_nanos() as f64 / RUNS as f64
    };
    (0..rounds).map(round).fold(f64::INFINITY, f64::min)
}

/// Measures at rest, and again while accounts change.
fn with_churn(writer: &mut Writer, mut measure: impl FnMut() -> f64) -> (f64, f64) {
    let idle = measure();
    let ended = AtomicBool::new(false);
    let churned = thread::scope(|scope| {
        scope.spawn(|| {
            let account = fixtures::annotated();
            for index in (0..10_000).cycle() {
                writer.applied(&fixtures::namespace(index), "default", account.clone());
                thread::sleep(PAUSE);
                if ended.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let churned = measure();
        ended.store(true, Ordering::Relaxed);
        churned
    });
    (idle, churned)
}

/// The 99th percentile of the small request's admissions, in microseconds: the median of eleven rounds, of which a noisy
/// machine spoils some.
fn p99(core: &mut Core, admissions: usize) -> f64 {
    let mut body = fixtures::padded(REVIEWS[0].body);
    let mut time = || {
        body.clear();
        body.extend_from_slice(REVIEWS[0].body);
        let begun = Instant::now();
        core.admit(&mut body);
        begun.elapsed().as_secs_f64() * 1e6
    };
    let mut rounds = [0.0; 11].map(|_: f64| {
        let mut times: Vec<f64> = (0..admissions).map(|_| time()).collect();
        times.sort_by(f64::total_cmp);
        times[admissions * 99 / 100]
    });
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}
