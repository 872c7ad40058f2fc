//! The power goes after the first change that a compaction makes to the disk, after the second, and so on to its end.

mod compaction_kit;

use compaction_kit::{POLICY, World};

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

fn tombstones(world: &World) -> Vec<String> {
    world.read().into_iter().filter(|put| put.value.is_none()).filter_map(|put| put.key).collect()
}

#[test]
fn between_any_two_changes_of_the_disk() {
    let mut whole = world();
    let before = whole.faults.mutations();
    assert!(whole.compact(&POLICY).unwrap());
    assert_eq!(tombstones(&whole), ["c"], "one is over, the other is not");
    let (steps, done) = (whole.faults.mutations() - before, whole.listing());
    assert!(10 < steps, "{steps} changes of the disk");

    for after in 0..=steps {
        for torn in [None, Some(1), Some(22)] {
            let mut world = world();
            world.faults.lose_power_after(world.faults.mutations() + after);
            let _ = world.compact(&POLICY);
            world.cut_power(torn);
            world.check();
            assert!(tombstones(&world).contains(&"c".to_owned()), "a tombstone whose time is not over is lost");
            let once = world.listing();
            world.cut_power(torn);
            assert_eq!(world.listing(), once, "opening again changes nothing");
            // And life goes on: the next pass does what this one did not come to.
            world.compact(&POLICY).unwrap();
            world.check();
            assert_eq!(world.listing(), done, "power lost after {after} changes, {torn:?}");
            world.put(&[("a", some("after"))]);
            world.roll();
            world.compact(&POLICY).unwrap();
            world.cut_power(torn);
            world.check();
        }
    }
}

#[test]
fn while_what_was_interrupted_is_finished() {
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
        world.put(&[("a", some("goes on"))]);
        world.cut_power(None);
        world.check();
    }
}
