//! What the fuzz targets check (`fuzz/`), of their committed inputs and of the recorded requests.

use std::fs;

use crate::{checks, support};

/// Checks every committed input of a target.
fn check_corpus(target: &str, at_least: usize, check: fn(&[u8])) {
    let folder = support::path("../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        // Shown if the check fails.
        println!("{}", path.display());
        check(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count >= at_least, "{count} inputs in {}", folder.display());
}

fn check_recorded(check: fn(&[u8])) {
    for name in support::all_recorded() {
        println!("{name}");
        check(&support::recorded(&name));
    }
}

#[test]
fn reviews_are_read_as_if_each_were_the_first() {
    check_recorded(checks::review);
    check_corpus("core", 20, checks::review);
}

#[test]
fn reviews_are_answered_as_by_the_reference() {
    check_recorded(checks::core);
    check_corpus("core", 20, checks::core);
}

#[test]
fn annotations_are_resolved_as_by_the_reference() {
    check_corpus("annotations", 10, checks::annotations);
}

#[test]
fn manifests_are_read_or_refused() {
    check_corpus("manifests", 10, checks::manifests);
}

#[test]
fn accounts_are_known_when_all_have_arrived() {
    check_corpus("sync", 10, checks::sync);
}

#[test]
fn connections_end_after_any_input() {
    check_corpus("http", 10, checks::http);
    check_corpus("http2", 8, checks::http2);
}
