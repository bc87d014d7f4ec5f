//! Bytes in, bytes out, as a ratio to a tape parse of the same bytes.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use eks_pod_identity_webhook::injection::account::Account;

use crate::{
    fixtures::{self, Core, REVIEWS, Review, TapeParse},
    summary::{Line, Summary},
};

/// How long each is measured: half of it the parse, half the core.
const TIME: Duration = Duration::from_secs(4);

/// How many times the parse an admission may take, by the size of the review.
const ANNOTATED: [f64; 3] = [1.4, 1.25, 1.1];
const UNANNOTATED: f64 = 0.3;

pub(crate) fn run(summary: &mut Summary, short: bool) {
    let time = if short { Duration::from_millis(10) } else { TIME };
    for (review, target) in REVIEWS.into_iter().zip(ANNOTATED) {
        measure(summary, review, ("annotated", fixtures::annotated()), Some(target), time);
    }
    for (review, target) in REVIEWS.into_iter().zip([None, Some(UNANNOTATED), Some(UNANNOTATED)]) {
        measure(summary, review, ("unannotated", Account::Nothing), target, time);
    }
}

/// Both run in turn, a few dozen microseconds each, so that other load of the machine affects both alike. The
/// median of the ratios is reported.
fn measure(
    summary: &mut Summary,
    review: Review,
    (role, account): (&str, Account),
    target: Option<f64>,
    time: Duration,
) {
    let (cache, _writer) = fixtures::cache(1000, account);
    let (mut core, mut tape) = (Core::new(cache), TapeParse::new());
    let mut bodies = vec![fixtures::padded(review.body); (100_000 / review.body.len()).max(1)];
    let (mut parses, mut admissions, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let end = Instant::now() + time;
    while Instant::now() < end {
        let parse = round(&mut bodies, review.body, |body| tape.parse(body));
        let admission = round(&mut bodies, review.body, |body| core.admit(body));
        parses.push(parse);
        admissions.push(admission);
        ratios.push(admission / parse);
    }
    let (parse, admission, ratio) = (median(parses), median(admissions), median(ratios));
    summary.line(Line {
        name: format!("core over a tape parse, {role}, {}", review.size),
        figure: format!("{ratio:.2}× ({:.2} µs, parse {:.2} µs)", admission / 1e3, parse / 1e3),
        target: target.map_or(String::new(), |target| format!("≤ {target}×")),
        ok: target.is_none_or(|target| ratio <= target),
    });
}

/// Nanoseconds for each body. They are spent, so they are copied anew, which is not measured.
fn round(bodies: &mut [Vec<u8>], pristine: &[u8], mut run: impl FnMut(&mut Vec<u8>) -> usize) -> f64 {
    for body in bodies.iter_mut() {
        body.clear();
        body.extend_from_slice(pristine);
    }
    let begun = Instant::now();
    for body in bodies.iter_mut() {
        black_box(run(body));
    }
    begun.elapsed().as_nanos() as f64 / bodies.len() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
