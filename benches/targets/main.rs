//! Every target, measured in one run on one machine: `cargo bench --bench targets`. Names of groups choose some of
//! them; `--short` runs each briefly, to show that it runs.

#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on fails")]

mod core;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod floor;
mod handshakes;
mod lookups;
mod memory;
mod process;
mod size;
#[path = "../summary.rs"]
mod summary;
mod wire;

use std::process::ExitCode;

use self::summary::Summary;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A name, and the function that measures. Its argument says whether to be brief.
type Group = (&'static str, fn(&mut Summary, bool));

const GROUPS: [Group; 6] = [
    ("core", core::run),
    ("lookups", lookups::run),
    ("wire", wire::run),
    ("handshakes", handshakes::run),
    ("memory", memory::run),
    ("size", size::run),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let short = args.iter().any(|arg| arg == "--short");
    let is_chosen = |group: &str| {
        let mut names = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
        names.peek().is_none() || names.any(|name| name == group)
    };
    let mut summary = Summary::begin();
    for (group, run) in GROUPS {
        if is_chosen(group) {
            run(&mut summary, short);
        }
    }
    // Few repetitions prove nothing about speed.
    if short { ExitCode::SUCCESS } else { summary.end() }
}
