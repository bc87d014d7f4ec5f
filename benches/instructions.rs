//! Instructions of one warm admission, counted by valgrind: the figure that a noisy machine can't blur. Each has a
//! budget, and the run fails above it.
//!
//! Counts change by a few percent with the compiler and the C library; a budget leaves a tenth of room. One that a
//! change makes too large is lowered with the change; one that is exceeded for a good reason is raised with the reason.

#![allow(missing_docs, reason = "made by macros")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on fails")]

mod fixtures;

use std::hint::black_box;

use eks_pod_identity_webhook::injection::{account::Account, resolver::Resolver};
use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};

use self::fixtures::{ALREADY_INJECTED, Core, REVIEWS, Review, TapeParse};

/// At most this many instructions.
fn budget(instructions: u64) -> LibraryBenchmarkConfig {
    LibraryBenchmarkConfig::default()
        .tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)]))
        .clone()
}

/// A core that has answered the request before, and the request.
fn core(review: Review, account: Account) -> (Core, Vec<u8>) {
    let (cache, _) = fixtures::cache(1000, account);
    let mut core = Core::new(cache);
    for _ in 0..2 {
        core.admit(&mut fixtures::padded(review.body));
    }
    (core, fixtures::padded(review.body))
}

fn annotated(review: Review) -> (Core, Vec<u8>) {
    core(review, fixtures::annotated())
}

fn unannotated(review: Review) -> (Core, Vec<u8>) {
    core(review, Account::Nothing)
}

fn tape(review: Review) -> (TapeParse, Vec<u8>) {
    let mut tape = TapeParse::new();
    for _ in 0..2 {
        tape.parse(&mut fixtures::padded(review.body));
    }
    (tape, fixtures::padded(review.body))
}

// What is returned is dropped outside of the measurement.

#[library_benchmark(setup = annotated)]
#[bench::minimal(args = (REVIEWS[0]), config = budget(39_300))]
#[bench::mesh_sidecar(args = (REVIEWS[1]), config = budget(128_500))]
#[bench::twenty_containers(args = (REVIEWS[2]), config = budget(1_373_000))]
#[bench::already_injected(args = (ALREADY_INJECTED), config = budget(47_600))]
fn admit_annotated((mut core, mut body): (Core, Vec<u8>)) -> (Core, Vec<u8>) {
    core.admit(black_box(&mut body));
    (core, body)
}

#[library_benchmark(setup = unannotated)]
#[bench::minimal(args = (REVIEWS[0]), config = budget(9_100))]
#[bench::mesh_sidecar(args = (REVIEWS[1]), config = budget(22_300))]
#[bench::twenty_containers(args = (REVIEWS[2]), config = budget(218_000))]
fn admit_unannotated((mut core, mut body): (Core, Vec<u8>)) -> (Core, Vec<u8>) {
    core.admit(black_box(&mut body));
    (core, body)
}

// The reference, without a budget: it is not ours.
#[library_benchmark(setup = tape)]
#[bench::minimal(REVIEWS[0])]
#[bench::mesh_sidecar(REVIEWS[1])]
#[bench::twenty_containers(REVIEWS[2])]
fn parse_tape((mut tape, mut body): (TapeParse, Vec<u8>)) -> (TapeParse, Vec<u8>) {
    tape.parse(black_box(&mut body));
    (tape, body)
}

#[library_benchmark(setup = Resolver::new)]
#[bench::defaults(args = (Default::default()), config = budget(4_900))]
fn bind(resolver: Resolver) -> (Resolver, Account) {
    let account = resolver.resolve(black_box(fixtures::ANNOTATIONS));
    (resolver, account)
}

library_benchmark_group!(name = core; benchmarks = admit_annotated, admit_unannotated, parse_tape);
library_benchmark_group!(name = accounts; benchmarks = bind);

main!(library_benchmark_groups = core, accounts);
