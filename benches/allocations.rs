//! Heap allocations of one warm admission, counted. The run fails above the target.

#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on fails")]

mod fixtures;
mod summary;

use std::process::ExitCode;

use eks_pod_identity_webhook::{
    admission::Outcome,
    injection::{account::Account, warning::Warned},
    metrics::Metrics,
};

use self::{
    fixtures::{ALREADY_INJECTED, Core, REVIEWS},
    summary::{Line, Summary},
};

fn main() -> ExitCode {
    let mut summary = Summary::begin();
    for review in REVIEWS.into_iter().chain([ALREADY_INJECTED]) {
        for (what, account, target) in
            [("annotated", fixtures::annotated(), 1), ("unannotated", Account::Nothing, 0)]
        {
            let count = allocations(review.body, account);
            summary.line(Line {
                name: format!("allocations, {what}, {} ({})", review.name, review.size),
                figure: count.to_string(),
                target: format!("≤ {target}"),
                ok: count <= target,
            });
        }
    }
    let count = allocations_by_namespace();
    summary.line(Line {
        name: "allocations, counting by a known namespace".to_owned(),
        figure: count.to_string(),
        target: "≤ 0".to_owned(),
        ok: count == 0,
    });
    summary.end()
}

fn allocations_by_namespace() -> u64 {
    let metrics = Metrics::with_namespaces(10);
    let namespaces = metrics.admissions.namespaces.unwrap();
    let count = || namespaces.of("payments").count(Outcome::Injected, Warned::default());
    count();
    allocation_counter::measure(count).count_total
}

fn allocations(body: &[u8], account: Account) -> u64 {
    let mut core = Core::new(fixtures::cache(1000, account).0);
    for _ in 0..2 {
        core.admit(&mut fixtures::padded(body));
    }
    let mut body = fixtures::padded(body);
    let counted = allocation_counter::measure(|| {
        core.admit(&mut body);
    });
    counted.count_total
}
