//! Random histories: members that come, go, die, lag, lose answers, hold on, change their minds, step out and come back under
//! their names, two under one name; topics that grow, go and come again; commits of members and of others; groups that begin in the middle of topics; requests that arrive late, and twice;
//! joins of processes that died at once; disks that are full; and a coordinator that restarts, or loses all that it had not synced. What must hold is looked at after every
//! step.

mod lives;
mod outsiders;
mod process;
mod world;

use super::*;
use proptest::prelude::*;
use world::World;

/// How many members there may be. Half of the seats have names.
const SEATS: usize = 4;

/// How many commit without being members.
const OUTSIDERS: usize = 2;

#[derive(Clone, Debug)]
enum Op {
    /// A member sends a heartbeat.
    Beat {
        seat: usize,
        fate: Fate,
    },
    /// The predecessor of a member, which still lives, sends a heartbeat.
    OldBeat {
        seat: usize,
    },
    /// A heartbeat gets lost on its way, and arrives with `LateBeat`, more than once perhaps.
    SendBeat {
        seat: usize,
    },
    LateBeat {
        number: usize,
    },
    /// A process starts in a seat and dies, while its first heartbeat is on its way, which arrives with `LateBeat`.
    Stillborn {
        seat: usize,
    },
    /// A heartbeat that was held back is looked at again; answered in any case if it was long enough.
    News {
        seat: usize,
        enough: bool,
    },
    /// A member stops reading and leaves, or steps out.
    Leave {
        seat: usize,
        for_now: bool,
    },
    /// A process dies; the next heartbeat of its seat comes from a new one.
    Die {
        seat: usize,
    },
    /// A new process starts in a seat, and the one before goes on.
    Double {
        seat: usize,
    },
    Subscribe {
        seat: usize,
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
        seat: usize,
    },
    /// A commit gets under way, and arrives with `LateCommit`.
    SendCommit {
        seat: usize,
        /// The member repeats it at once, over another connection.
        repeat: bool,
    },
    LateCommit,
    /// A member reads a record again, and commits that.
    SeekBack {
        seat: usize,
    },
    /// A member asks where its group begins in all partitions that it may read.
    Start {
        seat: usize,
    },
    /// The same gets under way, and arrives with `LateStart`, more than once perhaps.
    SendStart {
        seat: usize,
    },
    LateStart {
        number: usize,
    },
    /// Somebody who is no member commits: at once, or a commit gets under way that arrives with `LateOutside`.
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
enum Fate {
    Answered,
    /// Answered when there is news.
    Held,
    /// Answered, but the member goes on reading what it should give up.
    KeepsReading,
    /// And not even synced.
    AnswerLost,
    /// The coordinator cannot write it down.
    DiskFull,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let seat = || 0..SEATS;
    let fate = prop_oneof![
        6 => Just(Fate::Answered),
        4 => Just(Fate::Held),
        2 => Just(Fate::KeepsReading),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::DiskFull),
    ];
    let op = prop_oneof![
        16 => (seat(), fate).prop_map(|(seat, fate)| Op::Beat { seat, fate }),
        2 => seat().prop_map(|seat| Op::OldBeat { seat }),
        3 => seat().prop_map(|seat| Op::SendBeat { seat }),
        4 => (0usize..8).prop_map(|number| Op::LateBeat { number }),
        2 => seat().prop_map(|seat| Op::Stillborn { seat }),
        8 => (seat(), any::<bool>()).prop_map(|(seat, enough)| Op::News { seat, enough }),
        2 => (seat(), any::<bool>()).prop_map(|(seat, for_now)| Op::Leave { seat, for_now }),
        1 => seat().prop_map(|seat| Op::Die { seat }),
        2 => seat().prop_map(|seat| Op::Double { seat }),
        1 => (seat(), 0usize..3).prop_map(|(seat, choice)| Op::Subscribe { seat, choice }),
        4 => (1u64..6_000).prop_map(|millis| Op::Wait { millis }),
        1 => (0usize..2).prop_map(|topic| Op::Grow { topic }),
        1 => (0usize..2).prop_map(|topic| Op::Delete { topic }),
        1 => (0usize..2).prop_map(|topic| Op::Create { topic }),
        4 => seat().prop_map(|seat| Op::Commit { seat }),
        2 => (seat(), any::<bool>()).prop_map(|(seat, repeat)| Op::SendCommit { seat, repeat }),
        2 => Just(Op::LateCommit),
        1 => seat().prop_map(|seat| Op::SeekBack { seat }),
        3 => seat().prop_map(|seat| Op::Start { seat }),
        1 => seat().prop_map(|seat| Op::SendStart { seat }),
        2 => (0usize..4).prop_map(|number| Op::LateStart { number }),
        4 => (0..OUTSIDERS, any::<bool>()).prop_map(|(who, at_once)| Op::Outside { who, at_once }),
        3 => (0usize..4).prop_map(|number| Op::LateOutside { number }),
        2 => (0usize..4).prop_map(|lost| Op::Crash { lost }),
        1 => Just(Op::Compact),
    ];
    prop::collection::vec(op, 1..120)
}

fn tell(ops: &[Op], assignor: Assignor) {
    let mut world = World::new(assignor);
    ops.iter().for_each(|op| world.run(op));
    world.heal();
    world.check_healed();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn never_two_readers_and_in_the_end_everything_is_read(
        ops in ops(),
        assignor in prop::sample::select(vec![Assignor::Range, Assignor::RoundRobin, Assignor::Sticky]),
    ) {
        tell(&ops, assignor);
    }
}
