//! The log in files against a model of a few lines, over everything that can happen to it, crashes included.

mod log_kit;

use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use grower_storage::log::{IndexFactory, Log, LogOptions, RetentionLimits};
use log_kit::World;
use proptest::prelude::*;
use proptest::sample::select;

/// Something that happens to a log. Fractions are of what the log holds at that moment, in 256ths.
#[derive(Clone, Debug)]
enum Happening {
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
    /// The power goes in the middle of something, after so many changes of the disk.
    CutPowerDuring {
        what: Box<Happening>,
        after: u64,
        torn: Option<u64>,
    },
}

fn seed() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(any::<u64>())
}

fn change() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        8 => (1u32..4, 0usize..120).prop_map(|(records, length)| Append { records, length }),
        4 => Just(Flush),
        2 => any::<u8>().prop_map(Truncate),
        2 => any::<u8>().prop_map(Trim),
        2 => (prop::option::of(0u64..20), prop::option::of(0u64..3_000))
            .prop_map(|(messages, ms)| Retain { messages, ms }),
        2 => Just(Checkpoint),
        1 => Just(NewLeader),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        16 => change(),
        1 => any::<u16>().prop_map(|ms| TimePasses(ms % 2_000)),
        1 => Just(Kill),
        1 => seed().prop_map(CutPower),
        2 => (change(), 0u64..25, seed())
            .prop_map(|(what, after, torn)| CutPowerDuring { what: Box::new(what), after, torn }),
    ]
}

fn within(world: &World, fraction: u8) -> u64 {
    world.start + (world.end() - world.start) * u64::from(fraction) / 255
}

/// Lets it happen. False if the disk refused, which only a power cut makes it do.
fn happen(world: &mut World, what: &Happening) -> bool {
    match what {
        Happening::Append { records, length } => world.append(*records, *length).is_ok(),
        Happening::Flush => world.flush(),
        Happening::Truncate(fraction) => world.truncate(within(world, *fraction)).is_ok(),
        Happening::Trim(fraction) => world.trim(within(world, *fraction)).is_ok(),
        Happening::Retain { messages, ms } => {
            let limits = RetentionLimits { messages: *messages, ms: *ms, bytes: None };
            let start = world.log.retain(Timestamp::from_millis(world.now), &limits);
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
            assert!(world.cut_power(*torn).damaged.is_empty(), "a power cut is never taken for rot");
            world.settle(durable);
            true
        }
        Happening::CutPowerDuring { what, after, torn } => {
            cut_power_during(world, what, *after, *torn);
            true
        }
    }
}

/// What was under way is either done, or was never begun.
fn cut_power_during(world: &mut World, what: &Happening, after: u64, torn: Option<u64>) {
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
    assert!(damaged.is_empty(), "a power cut is never taken for rot: {damaged:?}");
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

/// Each way to run a log that recovery can tell apart.
fn options() -> impl Strategy<Value = LogOptions> {
    let choices = (
        select(vec![0, 300]),
        select(vec![0, 150, 1 << 20]),
        select(vec![0, 100, 100_000]),
        select(vec![150, 1 << 20]),
    );
    choices.prop_map(|(preallocate_bytes, index_flush_bytes, interval, snapshot_bytes)| LogOptions {
        snapshot_bytes,
        preallocate_bytes,
        index_flush_bytes,
        index: IndexFactory::sparse(interval),
        ..log_kit::options()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn everything_flushed_survives_and_nothing_else_appears(
        options in options(),
        story in prop::collection::vec(happening(), 1..60),
    ) {
        let mut world = World::new(options);
        for what in &story {
            prop_assert!(happen(&mut world, what), "{:?} was refused by a sound disk", what);
            world.check();
        }
        world.check_retries();
        let end = world.end();
        world.log.checkpoint(Timestamp::from_millis(world.now)).unwrap();
        let report = world.cut_power(None);
        prop_assert!(report.is_empty(), "a clean stop leaves nothing to report: {:?}", report);
        world.settle(end);
        world.check_retries();
    }
}
