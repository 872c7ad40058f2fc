//! The log in files against a model of a few lines, over everything that can happen to it, crashes included.

mod log_kit;

use grower_index::SparseIndex;
use grower_protocol::ids::Timestamp;
use grower_storage::disk::Call;
use grower_storage::log::{IndexFactory, Log, LogOptions};
use log_kit::World;
use log_kit::happening::{Happening, happen};
use proptest::prelude::*;
use proptest::sample::select;

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

/// Where a shortage strikes: every kind of call but syncs.
const CALLS: &[Call] =
    &[Call::Create, Call::Open, Call::OpenDir, Call::Read, Call::Write, Call::SetLen, Call::Rename, Call::Remove];

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        16 => change(),
        1 => any::<u16>().prop_map(|ms| TimePasses(ms % 2_000)),
        1 => Just(Kill),
        1 => seed().prop_map(CutPower),
        2 => (change().prop_filter("a truncation", |what| !matches!(what, Truncate(_))), select(CALLS), 0u64..4)
            .prop_map(|(what, call, nth)| ShortageDuring { what: Box::new(what), call, nth }),
        2 => (change(), 0u64..25, seed())
            .prop_map(|(what, after, torn)| CutPowerDuring { what: Box::new(what), after, torn }),
    ]
}

/// Each way to run a log that recovery can tell apart.
fn options() -> impl Strategy<Value = LogOptions> {
    let choices = (
        select(vec![0, 300]),
        select(vec![0, 150, 1 << 20]),
        select(vec![0, 100, 100_000]),
        select(vec![150, 1 << 20]),
        select(vec![(400, 256), (400, 1), (3_000, 2)]),
    );
    choices.prop_map(|(preallocate_bytes, index_flush_bytes, interval, snapshot_bytes, (segment_bytes, run))| {
        LogOptions {
            segment_bytes,
            snapshot_bytes,
            preallocate_bytes,
            index_flush_bytes,
            index: IndexFactory::new(move |seed| Box::new(SparseIndex::new(interval, seed).in_runs_of(run))),
            ..log_kit::options()
        }
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
        let mut report = world.cut_power(None);
        if story.iter().any(|what| matches!(what, Happening::ShortageDuring { call: Call::Write, .. })) {
            report.reindexed.clear(); // An index that was not written whole is made whole when the log is opened.
        }
        prop_assert!(report.is_empty(), "a clean stop leaves nothing to report: {:?}", report);
        world.settle(end);
        world.check_retries();
    }
}
