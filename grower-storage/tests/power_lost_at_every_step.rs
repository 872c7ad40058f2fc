//! The power goes, or the process is killed, after the first change that an operation makes to the disk, after the
//! second, and so on to its end. The remaining files have no damage, before the next start and after it.

mod log_kit;

use log_kit::World;
use log_kit::happening::{Happening, cut_power_during, happen};

/// Some segments, the last batch not flushed, two epochs, and a start that is not the first offset.
fn world() -> World {
    let mut world = World::new(log_kit::options());
    let story = [
        Happening::Append { records: 2, length: 40 },
        Happening::Append { records: 1, length: 60 },
        Happening::NewLeader,
        Happening::Append { records: 3, length: 30 },
        Happening::Append { records: 1, length: 90 },
        Happening::Append { records: 2, length: 50 },
        Happening::Trim(30),
        Happening::Flush,
        Happening::Append { records: 1, length: 20 },
    ];
    assert!(story.iter().all(|what| happen(&mut world, what)));
    world
}

/// Once without loss of power; how many changes that took.
fn steps(make: fn() -> World, what: &Happening) -> u64 {
    let mut world = make();
    let before = world.faults.mutations();
    assert!(happen(&mut world, what));
    world.faults.mutations() - before
}

fn check(make: fn() -> World, what: Happening) {
    let steps = steps(make, &what);
    for after in 0..=steps {
        let mut killed = make();
        killed.faults.lose_power_after(killed.faults.mutations() + after);
        happen(&mut killed, &what);
        killed.faults.heal(); // All writes stay, synced or not: only the process died.
        killed.verify(false);
        killed.kill();
        killed.verify(true);
        for torn in [None, Some(1), Some(22), Some(333), Some(4444), Some(55555)] {
            let mut world = make();
            cut_power_during(&mut world, &what, after, torn);
            world.check();
            world.check_retries();
            // Appends continue.
            assert!(happen(&mut world, &Happening::Append { records: 2, length: 150 }));
            assert!(happen(&mut world, &Happening::Flush));
            assert!(happen(&mut world, &Happening::CutPower(torn)));
            world.check();
        }
    }
}

#[test]
fn during_the_first_append() {
    check(|| World::new(log_kit::options()), Happening::Append { records: 2, length: 10 });
}

#[test]
fn during_an_append_that_rolls() {
    check(world, Happening::Append { records: 2, length: 300 });
}

#[test]
fn during_a_flush() {
    check(world, Happening::Flush);
}

#[test]
fn during_a_truncation() {
    for fraction in [0, 60, 128, 200] {
        check(world, Happening::Truncate(fraction));
    }
}

#[test]
fn during_a_trim() {
    for fraction in [60, 128, 200, 255] {
        check(world, Happening::Trim(fraction));
    }
}

#[test]
fn during_retention() {
    check(world, Happening::Retain { messages: Some(3), ms: None });
    check(world, Happening::Retain { messages: Some(0), ms: None });
}

#[test]
fn during_a_checkpoint() {
    check(world, Happening::Checkpoint);
}

#[test]
fn during_the_beginning_of_an_epoch() {
    check(world, Happening::NewLeader);
}
