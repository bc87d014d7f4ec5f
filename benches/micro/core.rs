//! Bytes in, bytes out, beside simd-json's tape parse of the same bytes.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use eks_pod_identity_webhook::binding::Account;

use crate::fixtures::{self, ALREADY_INJECTED, Core, REVIEWS, Review, TapeParse};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("core");
    for review in REVIEWS {
        group.throughput(Throughput::Bytes(review.body.len() as u64));
        let mut tape = TapeParse::new();
        bench_one(&mut group, "tape parse", review, |body| tape.parse(body));
        let mut core = core(fixtures::annotated());
        bench_one(&mut group, "annotated", review, |body| core.admit(body));
        let mut core = self::core(Account::Unannotated);
        bench_one(&mut group, "unannotated", review, |body| core.admit(body));
    }
    group.throughput(Throughput::Bytes(ALREADY_INJECTED.body.len() as u64));
    let mut core = core(fixtures::annotated());
    bench_one(&mut group, "already injected", ALREADY_INJECTED, |body| core.admit(body));
    group.finish();
}

fn core(account: Account) -> Core {
    Core::new(fixtures::cache(1000, account).0)
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// The body is spent, so each iteration has a copy, which is not measured.
fn bench_one(group: &mut Group<'_>, name: &str, review: Review, mut run: impl FnMut(&mut Vec<u8>) -> usize) {
    group.bench_function(BenchmarkId::new(name, review.size), |bencher| {
        bencher.iter_batched_ref(|| fixtures::padded(review.body), &mut run, BatchSize::SmallInput);
    });
}
