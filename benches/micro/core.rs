//! Bytes in, bytes out, beside simd-json's tape parse of the same bytes.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use eks_pod_identity_webhook::injection::account::Account;

use crate::fixtures::{self, Core, REVIEWS, TapeParse};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("core");
    for review in REVIEWS {
        group.throughput(Throughput::Bytes(review.body.len() as u64));
        let (mut tape, mut annotated) = (TapeParse::new(), core(fixtures::annotated()));
        let mut unannotated = core(Account::Nothing);
        bench_one(&mut group, "tape parse", review.size, review.body, |body| tape.parse(body));
        bench_one(&mut group, "annotated", review.size, review.body, |body| annotated.admit(body));
        bench_one(&mut group, "unannotated", review.size, review.body, |body| unannotated.admit(body));
        let injected = fixtures::injected(review);
        group.throughput(Throughput::Bytes(injected.len() as u64));
        bench_one(&mut group, "already injected", review.size, &injected, |body| annotated.admit(body));
    }
    group.finish();
}

fn core(account: Account) -> Core {
    Core::new(fixtures::cache(1000, account).0)
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// The body is spent, so each iteration has a copy, which is not measured.
fn bench_one(
    group: &mut Group<'_>,
    name: &str,
    size: &str,
    body: &[u8],
    mut run: impl FnMut(&mut Vec<u8>) -> usize,
) {
    group.bench_function(BenchmarkId::new(name, size), |bencher| {
        bencher.iter_batched_ref(|| fixtures::padded(body), &mut run, BatchSize::SmallInput);
    });
}
