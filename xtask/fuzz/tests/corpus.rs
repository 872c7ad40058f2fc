//! Replays every kept input and every seed.

use grower_fuzz::{TARGETS, corpus, guard};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_kept_input_and_every_seed_keeps_the_promises() {
    for target in TARGETS {
        for seed in (target.seeds)() {
            guard::run(target, &seed);
        }
        for (path, input) in corpus::inputs(target.name).unwrap() {
            eprintln!("{} {}", target.name, path.display()); // Shown if the test fails.
            guard::run(target, &input);
        }
    }
}

#[test]
fn every_target_has_seeds_and_a_name_of_its_own() {
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len());
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty() && seeds.iter().all(|seed| seed.len() <= guard::INPUT_BYTES_MAX), "{}", target.name);
    }
}

#[test]
fn every_target_accepts_any_bytes() {
    for target in TARGETS.iter().filter(|target| target.name != "broker") {
        for length in [0, 1, 2, 13, 61, 100] {
            for byte in [0, 1, 2, 3, 0x7f, 0xff] {
                guard::run(target, &vec![byte; length]);
            }
        }
    }
}

#[test]
fn every_target_has_a_kept_corpus() {
    for target in TARGETS {
        assert!(!corpus::inputs(target.name).unwrap().is_empty(), "cargo xtask fuzz {} --keep", target.name);
    }
}

#[test]
fn every_kept_corpus_belongs_to_a_target() {
    let kept = fs::read_dir(corpus::dir("")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    for name in kept.map(|name| name.to_string_lossy().into_owned()) {
        assert!(names.contains(&name), "{} belongs to no target", Path::new("corpus").join(name).display());
    }
}
