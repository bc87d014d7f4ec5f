//! How long the parts take, by criterion: the core beside the reference, the cache, and what happens when a
//! ServiceAccount changes.

#![allow(missing_docs, reason = "made by macros")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on fails")]

mod cache;
mod core;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod resolver;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn config() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = micro;
    config = config();
    targets = core::bench, cache::bench, resolver::bench
}
criterion_main!(micro);
