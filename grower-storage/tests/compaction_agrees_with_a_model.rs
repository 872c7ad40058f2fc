//! Random puts, tombstones, passes, retention and crashes: the log holds what a plain map of all records says.

mod compaction_kit;

use compaction_kit::{POLICY, World};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{Offset, Timestamp};
use grower_storage::compaction::CompactionPolicy;
use grower_storage::log::{Log, RetentionLimits};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Happening {
    /// Keys, and whether they are deleted.
    Put(Vec<(u8, bool)>),
    Roll,
    RollIfOld,
    NewLeader,
    Codec(usize),
    TimePasses(u16),
    Compact {
        keys_bytes: usize,
    },
    /// The power is cut after this many changes of the disk.
    CompactWithoutPower {
        after: u64,
        torn: Option<u64>,
    },
    Retain {
        messages: u64,
    },
    Reopen,
    CutPower(Option<u64>),
}

fn happening() -> impl Strategy<Value = Happening> {
    let torn = || prop::option::of(any::<u64>());
    let keys = prop::collection::vec((0u8..7, prop::bool::weighted(0.25)), 1..5);
    prop_oneof![
        12 => keys.prop_map(Happening::Put),
        3 => Just(Happening::Roll),
        1 => Just(Happening::RollIfOld),
        1 => Just(Happening::NewLeader),
        1 => (0usize..5).prop_map(Happening::Codec),
        2 => (0u16..1_500).prop_map(Happening::TimePasses),
        3 => prop_oneof![Just(1 << 20), Just(0), Just(8 * 25)].prop_map(|keys_bytes| Happening::Compact { keys_bytes }),
        3 => (0u64..40, torn()).prop_map(|(after, torn)| Happening::CompactWithoutPower { after, torn }),
        1 => (0u64..60).prop_map(|messages| Happening::Retain { messages }),
        1 => Just(Happening::Reopen),
        1 => torn().prop_map(Happening::CutPower),
    ]
}

fn happen(world: &mut World, what: &Happening, round: usize) {
    match what {
        Happening::Put(puts) => {
            let texts: Vec<(String, Option<String>)> = puts
                .iter()
                .map(|(key, deleted)| (format!("k{key}"), (!deleted).then(|| format!("{round} {}", "v".repeat(20)))))
                .collect();
            let puts: Vec<_> = texts.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            world.put(&puts);
        }
        Happening::Roll => world.roll(),
        Happening::RollIfOld => drop(world.log.roll_if_old(Timestamp::from_millis(world.now)).unwrap()),
        Happening::NewLeader => world.epoch += 1,
        Happening::Codec(which) => world.codec = Codec::ALL[*which],
        Happening::TimePasses(ms) => world.now += i64::from(*ms),
        Happening::Compact { keys_bytes } => {
            world.compact(&CompactionPolicy { keys_bytes: *keys_bytes, ..POLICY }).unwrap();
        }
        Happening::CompactWithoutPower { after, torn } => {
            world.faults.lose_power_after(world.faults.mutations() + after);
            let _ = world.compact(&POLICY);
            world.cut_power(*torn);
        }
        Happening::Retain { messages } => {
            let limits = RetentionLimits { messages: Some(*messages), ..RetentionLimits::default() };
            world.start = world.log.retain(Timestamp::from_millis(world.now), &limits, Offset::MAX).unwrap().value();
        }
        Happening::Reopen => world.reopen(),
        Happening::CutPower(torn) => world.cut_power(*torn),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn compaction_agrees_with_the_model(story in prop::collection::vec(happening(), 1..60), min_dirty_permille in 0u32..=1_000) {
        let mut world = World::new();
        for (round, what) in story.iter().enumerate() {
            happen(&mut world, what, round);
            world.check();
        }
        world.check_every_start();
        let policy = CompactionPolicy { min_dirty_permille, ..POLICY };
        world.rest(&policy);
        world.check();
        world.reopen();
        world.rest(&policy);
        world.check();
    }
}
