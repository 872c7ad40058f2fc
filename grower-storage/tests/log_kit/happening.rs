//! Events of a log's life, and the checks after them.

use super::World;
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use grower_storage::disk::{Call, Fault};
use grower_storage::log::{Log, RetentionLimits};

/// Something that happens to a log. Fractions are of what the log holds at that moment, in 256ths.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Append {
        records: u32,
        length: usize,
    },
    Flush,
    Truncate(u8),
    Trim(u8),
    Retain {
        messages: Option<u64>,
        ms: Option<u64>,
    },
    Checkpoint,
    NewLeader,
    TimePasses(u16),
    Kill,
    CutPower(Option<u64>),
    /// The system is short of something when such a call is made next but `nth`: what was under way may be tried again.
    ShortageDuring {
        what: Box<Happening>,
        call: Call,
        nth: u64,
    },
    /// The power is cut during a change, after this many changes of the disk.
    CutPowerDuring {
        what: Box<Happening>,
        after: u64,
        torn: Option<u64>,
    },
}

fn within(world: &World, fraction: u8) -> u64 {
    world.start + (world.end() - world.start) * u64::from(fraction) / 255
}

/// Lets it happen. False if the disk refused, which only a power cut makes it do.
pub(crate) fn happen(world: &mut World, what: &Happening) -> bool {
    match what {
        Happening::Append { records, length } => world.append(*records, *length).is_ok(),
        Happening::Flush => world.flush(),
        Happening::Truncate(fraction) => world.truncate(within(world, *fraction)).is_ok(),
        Happening::Trim(fraction) => world.trim(within(world, *fraction)).is_ok(),
        Happening::Retain { messages, ms } => {
            let limits = RetentionLimits { messages: *messages, ms: *ms, bytes: None };
            let start = world.log.retain(Timestamp::from_millis(world.now), &limits, Offset::MAX);
            start.map(|start| world.start = start.value()).is_ok()
        }
        Happening::Checkpoint => world.log.checkpoint(Timestamp::from_millis(world.now)).is_ok(),
        Happening::NewLeader => {
            world.epoch += 1;
            world.log.begin_epoch(LeaderEpoch::new(world.epoch)).is_ok()
        }
        Happening::TimePasses(ms) => {
            world.now += i64::from(*ms);
            true
        }
        Happening::Kill => {
            let end = world.end();
            assert!(world.kill().damaged.is_empty());
            world.settle(end);
            true
        }
        Happening::CutPower(torn) => {
            let durable = world.log.durable_end().value();
            assert!(world.cut_power(*torn).damaged.is_empty(), "a power cut is never taken for corruption");
            world.settle(durable);
            true
        }
        Happening::ShortageDuring { what, call, nth } => {
            world.faults.inject(Fault::no_descriptors(*call, world.faults.calls(*call) + nth));
            let done = happen(world, what);
            world.faults.heal();
            world.start = world.log.span().start.value(); // A trim moves it before it removes files.
            done || happen(world, what)
        }
        Happening::CutPowerDuring { what, after, torn } => {
            cut_power_during(world, what, *after, *torn);
            true
        }
    }
}

/// The interrupted change is either done, or was never begun.
pub(crate) fn cut_power_during(world: &mut World, what: &Happening, after: u64, torn: Option<u64>) {
    let (start, batches) = (world.start, world.batches.clone());
    let durable = world.log.durable_end().value();
    let cut_to = match what {
        Happening::Truncate(fraction) => within(world, *fraction),
        _ => u64::MAX,
    };
    world.faults.lose_power_after(world.faults.mutations() + after);
    let done = happen(world, what);
    let durable = if done { world.log.durable_end().value() } else { durable };
    let damaged = world.cut_power(torn).damaged;
    assert!(damaged.is_empty(), "a power cut is never taken for corruption: {damaged:?}");
    if done {
        world.settle(durable);
        return;
    }
    let span = world.log.span();
    if let Happening::Append { .. } = what {
        settle_append(world, durable);
        return;
    }
    (world.start, world.batches) = (start, batches);
    assert!(start <= span.start.value(), "the start never goes back");
    world.start = span.start.value();
    let truncated = world.batches.iter().rfind(|batch| batch.next <= cut_to).map_or(0, |batch| batch.next).max(start);
    world.settle(if span.end == Offset::new(truncated) { truncated } else { durable });
}

/// An append that was not answered may be there, or not.
fn settle_append(world: &mut World, durable: u64) {
    let end = world.log.span().end.value();
    if world.end() < end {
        let bytes = world.log.reader().read(Offset::new(world.end()), 1, Offset::MAX).unwrap();
        assert_eq!(bytes[0].offsets().end.value(), end, "no more than the one batch");
        let only = world.end();
        world.log.truncate(Offset::new(only)).unwrap();
    }
    world.settle(durable);
}
