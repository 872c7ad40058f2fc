//! Random histories: members that come, go, die, lag, lose answers and hold on, topics that grow, commits, disks that are full,
//! and a coordinator that restarts. What must hold is looked at after every step.

use super::*;
use grower_protocol::message::GroupState;
use proptest::prelude::*;

/// How many members there may be.
const SEATS: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    /// A member sends a heartbeat; it may be lost on either way, and what is to be given up may take its time.
    Beat {
        seat: usize,
        fate: Fate,
    },
    /// A member stops reading and leaves.
    Leave {
        seat: usize,
    },
    /// A process dies; the next heartbeat of its seat comes from a new one.
    Die {
        seat: usize,
    },
    Wait {
        millis: u64,
    },
    Grow {
        topic: usize,
    },
    Commit {
        seat: usize,
    },
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// Answered, but the member goes on reading what it should give up.
    HeldOn,
    AnswerLost,
    /// The coordinator cannot write it down.
    DiskFull,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let seat = 0..SEATS;
    let fate = prop_oneof![
        6 => Just(Fate::Answered),
        2 => Just(Fate::HeldOn),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::DiskFull),
    ];
    let op = prop_oneof![
        12 => (seat.clone(), fate).prop_map(|(seat, fate)| Op::Beat { seat, fate }),
        1 => seat.clone().prop_map(|seat| Op::Leave { seat }),
        1 => seat.clone().prop_map(|seat| Op::Die { seat }),
        3 => (1u64..6_000).prop_map(|millis| Op::Wait { millis }),
        1 => (0usize..2).prop_map(|topic| Op::Grow { topic }),
        4 => seat.prop_map(|seat| Op::Commit { seat }),
        1 => Just(Op::Restart),
    ];
    prop::collection::vec(op, 1..120)
}

/// A member with the times that the protocol asks it to watch.
struct Process {
    member: Member,
    /// Since when it knows that it must give up these.
    told: BTreeMap<Slot, u64>,
    /// When it last sent a heartbeat that was answered, by the world's clock.
    heard: u64,
}

struct World {
    coordinator: Coordinator,
    processes: Vec<Option<Process>>,
    /// Milliseconds; unlike the coordinator's clock it goes on through restarts.
    clock: u64,
    names: usize,
    assignor: Assignor,
    /// The newest commit of each partition that was acknowledged.
    commits: BTreeMap<Slot, u64>,
    epoch: u32,
}

impl World {
    fn new(assignor: Assignor) -> Self {
        let processes = (0..SEATS).map(|_| None).collect();
        let mut coordinator = Coordinator::new();
        coordinator.shard.limits.members = 1_000; // The dead count until they expire.
        Self { coordinator, processes, clock: 0, names: 0, assignor, commits: BTreeMap::new(), epoch: 0 }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Beat { seat, fate } => self.beat(*seat, *fate),
            Op::Leave { seat } => {
                if let Some(process) = self.processes[*seat].take() {
                    let step = self.coordinator.shard.leave(&group(), &process.member.id);
                    let _ = self.coordinator.settle(step); // It may have been taken for dead before.
                }
            }
            Op::Die { seat } => self.processes[*seat] = None,
            Op::Wait { millis } => self.wait(*millis),
            Op::Grow { topic } => {
                let topic = self.coordinator.topics.values_mut().nth(*topic).unwrap();
                topic.partitions += 1;
            }
            Op::Commit { seat } => self.commit(*seat),
            Op::Restart => self.coordinator.restart(),
        }
        self.check();
    }

    fn wait(&mut self, millis: u64) {
        self.clock += millis;
        for process in self.processes.iter_mut().flatten() {
            let (clock, timeout) = (self.clock, u64::from(SESSION_MS));
            let too_late = |slot: &Slot| process.told.get(slot).is_some_and(|since| since + timeout <= clock);
            process.member.reading.retain(|slot| process.heard + timeout > clock && !too_late(slot));
        }
        self.coordinator.wait(millis);
    }

    fn beat(&mut self, seat: usize, fate: Fate) {
        let clock = self.clock;
        let process = self.processes[seat].get_or_insert_with(|| {
            self.names += 1;
            let topics: &[&str] = if seat == 0 { &["rainbow"] } else { &["rainbow", "sandbox"] };
            let assignor = Some(self.assignor.name().to_owned());
            let member = Member { assignor, ..Member::new(&format!("m{}", self.names), topics) };
            Process { member, told: BTreeMap::new(), heard: clock }
        });
        let says = process.member.says();
        if fate == Fate::DiskFull {
            let step = self.coordinator.shard.heartbeat(&says, &self.coordinator.received(), &self.coordinator.topics);
            let _ = step.settle(&mut self.coordinator.shard, |_| Err("full"));
            return;
        }
        let answer = self.coordinator.heartbeat(&says);
        let member = &mut process.member;
        match (fate, answer) {
            (Fate::AnswerLost, _) => return,
            (_, Err(failure)) => {
                assert!(matches!(failure.code, ErrorCode::UnknownMember | ErrorCode::FencedMember), "{failure}");
                member.epoch = MemberEpoch::default();
                member.reading.clear();
                process.told.clear();
            }
            (fate, Ok(answer)) => {
                assert!(member.epoch <= answer.epoch, "a member's epoch went back");
                let before = std::mem::take(&mut member.reading);
                member.hears(&answer);
                let excess: Vec<Slot> = before.difference(&member.reading).copied().collect();
                process.told.retain(|slot, _| excess.contains(slot));
                if fate == Fate::HeldOn {
                    for slot in &excess {
                        process.told.entry(*slot).or_insert(clock);
                    }
                    member.reading.extend(excess);
                }
            }
        }
        process.heard = clock;
    }

    fn commit(&mut self, seat: usize) {
        let Some(process) = &self.processes[seat] else { return };
        let member = process.member.clone();
        for slot in &member.reading {
            let offset = self.commits.get(slot).map_or(0, |offset| offset + 1).min(LOG_END.value());
            // Nobody else reads it, so a member that counts as one may commit; one that was taken for dead may not.
            match self.coordinator.commit(Some(&member), *slot, offset) {
                Ok(part) => {
                    part.unwrap();
                    self.commits.insert(*slot, offset);
                }
                Err(failure) => assert!(matches!(failure.code, ErrorCode::UnknownMember | ErrorCode::FencedMember)),
            }
        }
    }

    fn check(&mut self) {
        let mut read = BTreeMap::new();
        for process in self.processes.iter().flatten() {
            for slot in &process.member.reading {
                let other = read.insert(*slot, &process.member.id);
                assert_eq!(other, None, "{slot:?} is read by {} too", process.member.id);
            }
        }
        for (slot, offset) in &self.commits {
            assert_eq!(self.coordinator.committed(*slot), Some(*offset), "{slot:?}");
        }
        let epoch = self.coordinator.shard.groups.get(&group()).map_or(0, |group| group.members.epoch());
        let epoch = epoch.max(self.coordinator.shard.floor);
        // A change that was never written down may be forgotten, but then nobody was told of it.
        let told = self.processes.iter().flatten().map(|process| process.member.epoch.value()).max().unwrap_or(0);
        assert!(told <= epoch, "somebody was told {told}, the group says {epoch}");
        self.epoch = self.epoch.max(told);
        assert!(self.epoch <= epoch, "epochs went back from {} to {epoch}", self.epoch);
    }

    /// Everybody alive speaks regularly and lets go when told; nothing is lost any more.
    fn heal(&mut self) {
        for _ in 0..30 {
            self.wait(1_000);
            for seat in 0..SEATS {
                if self.processes[seat].is_some() {
                    self.beat(seat, Fate::Answered);
                }
                self.check();
            }
        }
    }

    fn check_healed(&self) {
        let alive: Vec<&Member> = self.processes.iter().flatten().map(|process| &process.member).collect();
        if alive.is_empty() {
            return;
        }
        assert_eq!(self.coordinator.shard.describe(&group()).unwrap().state, GroupState::Stable);
        let wanted = self.coordinator.topics.iter().filter(|(name, _)| alive.iter().any(|m| m.topics.contains(name)));
        let wanted: BTreeSet<Slot> = wanted.flat_map(|(_, topic)| topic.slots()).collect();
        let read: BTreeSet<Slot> = alive.iter().flat_map(|member| &member.reading).copied().collect();
        assert_eq!(read, wanted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn never_two_readers_and_in_the_end_everything_is_read(
        ops in ops(),
        assignor in prop::sample::select(vec![Assignor::Range, Assignor::RoundRobin, Assignor::Sticky]),
    ) {
        let mut world = World::new(assignor);
        for op in &ops {
            world.run(op);
        }
        world.heal();
        world.check_healed();
    }
}
