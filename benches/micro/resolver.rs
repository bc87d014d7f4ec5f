//! What a change of a ServiceAccount costs: its annotations read, and what its pods are given rendered.

use std::{hint::black_box, sync::Arc};

use criterion::Criterion;
use eks_pod_identity_webhook::injection::{render, resolver::Resolver};

use crate::fixtures;

/// Annotations that leave no default in force.
const OWN: [(&str, &str); 5] = [
    fixtures::ANNOTATIONS[0],
    ("eks.amazonaws.com/audience", "vault"),
    ("eks.amazonaws.com/token-expiration", "7200"),
    ("eks.amazonaws.com/region", "eu-central-1"),
    ("eks.amazonaws.com/sts-regional-endpoints", "true"),
];

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resolver");
    let resolver = Resolver::new(Arc::default());
    group.bench_function("defaults", |bencher| {
        bencher.iter(|| resolver.resolve(black_box(fixtures::ANNOTATIONS)))
    });
    group.bench_function("own audience, lifetime, region", |bencher| {
        bencher.iter(|| resolver.resolve(black_box(OWN)))
    });
    group.bench_function("no role", |bencher| {
        bencher.iter(|| resolver.resolve(black_box([("app.kubernetes.io/name", "web")])));
    });
    let mut out = Vec::new();
    group.bench_function("volume rendered", |bencher| {
        bencher.iter(|| {
            out.clear();
            render::volume(black_box(&mut out), "aws-token", "sts.amazonaws.com", 7200, "token");
        });
    });
    group.finish();
}
