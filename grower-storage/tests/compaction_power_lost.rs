//! The power goes after the first change that a compaction makes to the disk, after the second, and so on to its end.

mod compaction_kit;

use compaction_kit::{DIR, POLICY, World};
use grower_protocol::batch::BatchReader;
use grower_protocol::ids::{Offset, Timestamp};
use grower_storage::compaction::CompactionPolicy;
use grower_storage::disk::{Call, Fault};
use grower_storage::log::{Log, ReadError};
use grower_storage::verify::verify;
use std::path::Path;

fn some(value: &str) -> Option<&str> {
    Some(value)
}

/// Values that were overtaken, a tombstone whose time is over, a fresh one, two epochs, and a start inside a segment.
fn world() -> World {
    let mut world = World::new();
    for round in 0..3 {
        let value = format!("{round}{}", "v".repeat(30));
        world.put(&[("a", some(&value)), ("b", some(&value))]);
        world.put(&[("gone", some(&value)), ("c", some(&value))]);
    }
    world.put(&[("gone", None)]);
    world.roll();
    assert!(world.compact(&POLICY).unwrap());
    world.epoch = 2;
    world.now = 5_000;
    for round in 0..4 {
        let value = format!("later {round}{}", "v".repeat(40));
        world.put(&[("a", some(&value)), (&format!("only {round}"), some("x"))]);
        world.put_any(&[(Some("c"), None), (Some("d"), some(&value))], Some(2 * round));
    }
    world.trim(2);
    world.roll();
    world
}

#[test]
fn between_any_two_changes_of_the_disk() {
    let mut whole = world();
    let before = whole.faults.mutations();
    assert!(whole.compact(&POLICY).unwrap());
    assert_eq!(whole.tombstones(), ["c"], "one is over, the other is not");
    let (steps, done) = (whole.faults.mutations() - before, whole.listing());
    assert!(10 < steps, "{steps} changes of the disk");

    for after in 0..=steps {
        for torn in [None, Some(1), Some(22)] {
            let mut world = world();
            world.faults.lose_power_after(world.faults.mutations() + after);
            let _ = world.compact(&POLICY);
            world.cut_power(torn);
            world.check();
            assert!(world.tombstones().contains(&"c".to_owned()), "a tombstone whose time is not over is lost");
            let once = world.listing();
            world.cut_power(torn);
            assert_eq!(world.listing(), once, "opening again changes nothing");
            // The next pass finishes the work.
            world.compact(&POLICY).unwrap();
            world.check();
            assert_eq!(world.listing(), done, "power lost after {after} changes, {torn:?}");
            world.put(&[("a", some("after"))]);
            world.roll();
            world.compact(&POLICY).unwrap();
            world.cut_power(torn);
            world.check();
            if torn.is_none() {
                world.rest(&POLICY);
                world.check();
            }
        }
    }
}

#[test]
fn while_a_quiet_log_comes_to_rest() {
    let policy = CompactionPolicy { min_dirty_permille: 1_000, ..POLICY };
    let rested = |world: &mut World| {
        world.rest(&policy);
        world.check();
        world.listing()
    };
    let mut whole = world();
    let before = whole.faults.mutations();
    let expected = rested(&mut whole);
    for after in 0..=whole.faults.mutations() - before {
        let mut world = world();
        world.faults.lose_power_after(world.faults.mutations() + after);
        for _ in 0..20 {
            world.now += 500;
            let rolled = world.log.roll_if_old(Timestamp::from_millis(world.now));
            if rolled.is_err()
                || world.log.reader().learn_delete_horizons(&|| true).is_err()
                || world.compact(&policy).is_err()
            {
                break;
            }
        }
        world.cut_power(Some(after));
        world.check();
        assert_eq!(rested(&mut world), expected, "power lost after {after} changes");
    }
}

#[test]
fn while_an_interrupted_pass_is_finished() {
    for first in 0.. {
        let mut interrupted = world();
        interrupted.faults.lose_power_after(interrupted.faults.mutations() + first);
        if interrupted.compact(&POLICY).is_ok() {
            return;
        }
        for second in 0.. {
            let mut world = world();
            world.faults.lose_power_after(world.faults.mutations() + first);
            let _ = world.compact(&POLICY);
            world.memory.crash();
            world.faults.heal();
            world.faults.lose_power_after(world.faults.mutations() + second);
            let opened = world.try_reopen();
            world.cut_power(Some(second));
            world.check();
            if opened {
                break; // There was nothing more to interrupt.
            }
        }
    }
}

/// A manifest may then still name a segment whose files the next pass begins to rewrite.
#[test]
fn after_a_pass_that_could_not_be_finished_and_within_the_next() {
    for call in [Call::Create, Call::OpenDir] {
        for nth in 0.. {
            let unfinished = |goes_on: bool| {
                let mut world = world();
                world.faults.inject(Fault::no_descriptors(call, world.faults.calls(call) + nth).from_then_on());
                let finished = world.compact(&POLICY).is_ok();
                world.faults.heal();
                if goes_on {
                    world.put(&[("a", some("after"))]);
                    world.roll();
                }
                (world, finished)
            };
            for goes_on in [false, true] {
                for after in (0..).step_by(4) {
                    let (mut world, _) = unfinished(goes_on);
                    world.faults.lose_power_after(world.faults.mutations() + after);
                    let ended = world.compact(&POLICY).is_ok();
                    world.memory.crash();
                    world.faults.heal();
                    world.reopen();
                    world.check();
                    if ended {
                        break;
                    }
                }
            }
            if unfinished(false).1 {
                break;
            }
        }
    }
}

/// The old files and the new may then stand side by side, and nothing says which of them count.
#[test]
fn and_the_manifest_is_corrupted_meanwhile() {
    for after in 0.. {
        let mut world = world();
        let expected = world.last_values();
        world.faults.lose_power_after(world.faults.mutations() + after);
        let ended = world.compact(&POLICY).is_ok();
        world.memory.crash();
        world.faults.heal();
        let manifest = Path::new(DIR).join("compaction");
        world.memory.edit(&manifest, |bytes| bytes[20] ^= 1).unwrap();
        let findings = verify(&world.memory, Path::new(DIR), |_| {}).unwrap().findings;
        assert!(findings.iter().any(|finding| finding.path == manifest), "{findings:?}");
        assert!(world.try_reopen());
        for offset in expected {
            match world.log.reader().read(offset, 1, Offset::MAX) {
                Ok(slices) => {
                    let batches = BatchReader::new(slices[0].read().unwrap()).map(Result::unwrap);
                    let mut records = batches
                        .flat_map(|batch| batch.records(1 << 20).unwrap().map(Result::unwrap).collect::<Vec<_>>());
                    assert!(records.any(|record| record.offset == offset), "{offset} is lost in silence, {after}");
                }
                Err(ReadError::Corrupt { offsets, .. }) => assert!(offsets.contains(&offset)),
                Err(error) => panic!("{error}"),
            }
        }
        if ended {
            return;
        }
    }
}

#[test]
fn a_write_that_fails_leaves_the_log_in_service() {
    use grower_storage::disk::{Call, Fault};
    for nth in 1..6 {
        let mut world = world();
        world.faults.inject(Fault::full(Call::Write, nth));
        let result = world.compact(&POLICY);
        world.check();
        if result.is_err() {
            assert!(world.compact(&POLICY).is_ok(), "when there is room again, it works");
        }
        world.put(&[("a", some("continues"))]);
        world.cut_power(None);
        world.check();
    }
}

#[test]
fn too_few_descriptors_at_any_call_fails_no_log_and_hides_no_record() {
    let calls =
        [Call::Create, Call::Open, Call::OpenDir, Call::Read, Call::List, Call::Write, Call::Rename, Call::Remove];
    let mut whole = world();
    let before = calls.map(|call| whole.faults.calls(call));
    assert!(whole.compact(&POLICY).unwrap());
    for (call, before) in calls.into_iter().zip(before) {
        for nth in before..whole.faults.calls(call) {
            let mut world = world();
            world.faults.inject(Fault::no_descriptors(call, nth));
            let _ = world.compact(&POLICY);
            world.faults.heal();
            world.check(); // Also where new files do not have their names yet.
            world.put(&[("a", some("after"))]);
            world.compact(&POLICY).unwrap();
            world.check();
            world.cut_power(Some(nth));
            world.check();
        }
    }
}
