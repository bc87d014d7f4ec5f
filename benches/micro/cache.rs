//! Look-ups, in caches of every size and while a writer is at work.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use criterion::{BenchmarkId, Criterion};
use eks_pod_identity_webhook::{
    accounts::assignments::mapping::Mapping,
    injection::{
        account::Account,
        resolver::{OwnAnnotations, Resolver},
    },
};

use crate::fixtures;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache");
    for count in [100, 10_000, 100_000] {
        let (cache, _writer) = fixtures::cache(count, fixtures::annotated());
        let (namespace, name) = fixtures::ACCOUNT;
        group.bench_function(BenchmarkId::new("look up", count), |bencher| {
            bencher.iter(|| cache.look_up(black_box(namespace), black_box(name)).is_some());
        });
    }

    let (cache, mut writer) = fixtures::cache(10_000, fixtures::annotated());
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for index in (0..10_000).cycle() {
                writer.applied(&fixtures::namespace(index), "default", Account::Nothing);
                thread::sleep(Duration::from_millis(1));
                if ended.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let (namespace, name) = fixtures::ACCOUNT;
        group.bench_function("look up under 1,000 updates a second", |bencher| {
            bencher.iter(|| cache.look_up(black_box(namespace), black_box(name)).is_some());
        });
        ended.store(true, Ordering::Relaxed);
    });
    // What a change of the role mapping costs the watch: as many globs as anybody has, none of which matches.
    let (_cache, mut writer) = fixtures::cache(100_000, fixtures::annotated());
    let globs: Vec<_> = (0..100).map(|index| format!(r#""other-{index}-*/*": {{"RoleARN": "r"}}"#)).collect();
    let resolver = Resolver::new(Arc::default());
    let mapping = Mapping::parse(&format!("{{{}}}", globs.join(",")), &resolver).unwrap();
    group.sample_size(10).bench_function("100,000 accounts bound anew by 100 globs", |bencher| {
        bencher.iter(|| {
            writer.reassign_all(|namespace, name, known| match known {
                Some(account) if account.has_annotated_role() => known.cloned(),
                _ => Some(mapping.resolve(&resolver, (namespace, name), &OwnAnnotations::NONE)),
            })
        });
    });

    group.finish();
}
