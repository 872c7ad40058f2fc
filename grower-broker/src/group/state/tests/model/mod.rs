//! Random histories of a group, with all invariants checked after every step.
//!
//! Members join, leave, die, lag, lose answers, keep reading revoked partitions, change subscriptions, detach, return
//! under their instance names, and share one name. Topics grow, go and return. Members and outsiders commit, and
//! groups start in the middle of topics. Requests arrive late and twice, joins come from dead processes, disks are
//! full. The coordinator restarts, and loses what was not synced.

mod lives;
mod outsiders;
mod process;
mod world;

use super::*;
use proptest::prelude::*;
use world::World;

/// The number of processes. Half of them have instance names.
const PROCESSES: usize = 4;

/// The number of committers outside the group.
const OUTSIDERS: usize = 2;

#[derive(Clone, Debug)]
enum Op {
    /// A member sends a heartbeat.
    Beat {
        at: usize,
        outcome: BeatOutcome,
    },
    /// The replaced process of a member, which still lives, sends a heartbeat.
    OldBeat {
        at: usize,
    },
    /// A heartbeat is delayed until `LateBeat`, which may deliver it more than once.
    SendBeat {
        at: usize,
    },
    LateBeat {
        number: usize,
    },
    /// A process starts and dies; its first heartbeat is delayed until `LateBeat`.
    Stillborn {
        at: usize,
    },
    /// A waiting heartbeat is looked at again, and answered in any case after its timeout.
    LookAgain {
        at: usize,
        enough: bool,
    },
    /// A member stops reading and leaves, or detaches.
    Leave {
        at: usize,
        for_now: bool,
    },
    /// A process dies; its next heartbeat comes from a new process.
    Die {
        at: usize,
    },
    /// A new process starts while the old one lives.
    Double {
        at: usize,
    },
    Subscribe {
        at: usize,
        choice: usize,
    },
    Wait {
        millis: u64,
    },
    Grow {
        topic: usize,
    },
    Delete {
        topic: usize,
    },
    Create {
        topic: usize,
    },
    Commit {
        at: usize,
    },
    /// A commit is delayed until `LateCommit`.
    SendCommit {
        at: usize,
        /// The member repeats it at once, over another connection.
        repeat: bool,
    },
    LateCommit,
    /// A member reads a record again and commits it.
    SeekBack {
        at: usize,
    },
    /// A member asks for start offsets in all partitions of its topics.
    Start {
        at: usize,
    },
    /// The same is delayed until `LateStart`, which may deliver it more than once.
    SendStart {
        at: usize,
    },
    LateStart {
        number: usize,
    },
    /// An outsider commits, at once or delayed until `LateOutside`.
    Outside {
        who: usize,
        at_once: bool,
    },
    LateOutside {
        number: usize,
    },
    Crash {
        lost: usize,
    },
    Compact,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BeatOutcome {
    Answered,
    /// Answered when the assignment changes.
    Held,
    /// Answered, but the member keeps reading revoked partitions.
    KeepsReading,
    /// Not synced either.
    AnswerLost,
    /// The coordinator cannot append.
    DiskFull,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let at = || 0..PROCESSES;
    let outcome = prop_oneof![
        6 => Just(BeatOutcome::Answered),
        4 => Just(BeatOutcome::Held),
        2 => Just(BeatOutcome::KeepsReading),
        1 => Just(BeatOutcome::AnswerLost),
        1 => Just(BeatOutcome::DiskFull),
    ];
    let op = prop_oneof![
        16 => (at(), outcome).prop_map(|(at, outcome)| Op::Beat { at, outcome }),
        2 => at().prop_map(|at| Op::OldBeat { at }),
        3 => at().prop_map(|at| Op::SendBeat { at }),
        4 => (0usize..8).prop_map(|number| Op::LateBeat { number }),
        2 => at().prop_map(|at| Op::Stillborn { at }),
        8 => (at(), any::<bool>()).prop_map(|(at, enough)| Op::LookAgain { at, enough }),
        2 => (at(), any::<bool>()).prop_map(|(at, for_now)| Op::Leave { at, for_now }),
        1 => at().prop_map(|at| Op::Die { at }),
        2 => at().prop_map(|at| Op::Double { at }),
        1 => (at(), 0usize..3).prop_map(|(at, choice)| Op::Subscribe { at, choice }),
        4 => (1u64..6_000).prop_map(|millis| Op::Wait { millis }),
        1 => (0usize..2).prop_map(|topic| Op::Grow { topic }),
        1 => (0usize..2).prop_map(|topic| Op::Delete { topic }),
        1 => (0usize..2).prop_map(|topic| Op::Create { topic }),
        4 => at().prop_map(|at| Op::Commit { at }),
        2 => (at(), any::<bool>()).prop_map(|(at, repeat)| Op::SendCommit { at, repeat }),
        2 => Just(Op::LateCommit),
        1 => at().prop_map(|at| Op::SeekBack { at }),
        3 => at().prop_map(|at| Op::Start { at }),
        1 => at().prop_map(|at| Op::SendStart { at }),
        2 => (0usize..4).prop_map(|number| Op::LateStart { number }),
        4 => (0..OUTSIDERS, any::<bool>()).prop_map(|(who, at_once)| Op::Outside { who, at_once }),
        3 => (0usize..4).prop_map(|number| Op::LateOutside { number }),
        2 => (0usize..4).prop_map(|lost| Op::Crash { lost }),
        1 => Just(Op::Compact),
    ];
    prop::collection::vec(op, 1..120)
}

fn run(ops: &[Op], assignor: Assignor) {
    let mut world = World::new(assignor);
    ops.iter().for_each(|op| world.run(op));
    world.heal();
    world.check_healed();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_partition_never_has_two_readers_and_every_partition_is_read_in_the_end(
        ops in ops(),
        assignor in prop::sample::select(Assignor::ALL.to_vec()),
    ) {
        run(&ops, assignor);
    }
}
