//! The model's state, and its invariants.

mod commits;
mod starts;

use super::super::*;
use super::lives::Lives;
use super::outsiders::Outsiders;
use super::process::Process;
use super::{BeatOutcome, Op, PROCESSES};
use grower_protocol::message::{GroupState, Holding};

pub(super) struct World {
    coordinator: Coordinator,
    processes: Vec<Option<Process>>,
    /// Processes that were replaced and do not know it yet.
    old: Vec<Option<Process>>,
    subscriptions: Vec<Vec<TopicName>>,
    /// Milliseconds; unlike the coordinator's clock it continues over restarts.
    clock: u64,
    names: usize,
    assignor: Assignor,
    /// The newest acknowledged commit of each partition.
    commits: BTreeMap<TopicIdPartition, u64>,
    /// Commits under way, abandoned or repeated over another connection.
    late: Vec<(Member, TopicIdPartition, u64)>,
    /// Abandoned heartbeats under way.
    late_beats: Vec<Heartbeat>,
    /// Requests for start offsets under way.
    late_starts: Vec<(Member, Vec<TopicIdPartition>)>,
    outsiders: Outsiders,
    epoch: u32,
    lives: Lives,
}

impl World {
    pub(super) fn new(assignor: Assignor) -> Self {
        let mut coordinator = Coordinator::new();
        coordinator.shard.limits.members = 1_000; // Dead members count until they expire.
        let outsiders = Outsiders::new(&mut coordinator);
        let no_processes = || (0..PROCESSES).map(|_| None).collect();
        let both = vec![name("rainbow"), name("sandbox")];
        Self {
            coordinator,
            processes: no_processes(),
            old: no_processes(),
            subscriptions: (0..PROCESSES)
                .map(|at| if at == 0 { vec![name("rainbow")] } else { both.clone() })
                .collect(),
            clock: 0,
            names: 0,
            assignor,
            commits: BTreeMap::new(),
            late: Vec::new(),
            late_beats: Vec::new(),
            late_starts: Vec::new(),
            outsiders,
            epoch: 0,
            lives: Lives::default(),
        }
    }

    pub(super) fn run(&mut self, op: &Op) {
        self.lives.tick();
        match *op {
            Op::Beat { at, outcome } => self.beat(at, outcome),
            Op::OldBeat { at } => {
                if let Some(process) = self.old[at].take() {
                    self.old[at] = self.speak(process, BeatOutcome::Answered);
                }
            }
            Op::LookAgain { at, enough } => self.assignment_change(at, enough),
            Op::Leave { at, for_now } => self.leave(at, for_now),
            Op::Die { at } => self.processes[at] = None,
            Op::Double { at } => self.old[at] = self.processes[at].take(),
            Op::Subscribe { at, choice } => {
                let topics = [vec!["rainbow"], vec!["sandbox"], vec!["rainbow", "sandbox"]];
                self.subscriptions[at] = topics[choice].iter().map(|topic| name(topic)).collect();
            }
            Op::Wait { millis } => self.wait(millis),
            Op::Grow { .. } | Op::Delete { .. } | Op::Create { .. } => self.change_topic(op),
            Op::Commit { at } => self.commit(at),
            Op::SeekBack { at } => self.seek_back(at),
            Op::SendCommit { at, repeat } => self.send_commit(at, repeat),
            Op::Start { at } => {
                if let Some((member, partitions)) = self.start_of(at) {
                    self.start_as(&member, &partitions);
                }
            }
            Op::Outside { who, at_once } => {
                self.outsiders.commit(who, at_once, &mut self.coordinator);
            }
            Op::Compact => self.coordinator.compact(),
            Op::Crash { lost } => self.crash(lost),
            Op::SendBeat { .. } | Op::Stillborn { .. } | Op::SendStart { .. } => self.send_late(op),
            Op::LateBeat { .. } | Op::LateCommit | Op::LateStart { .. } | Op::LateOutside { .. } => self.deliver(op),
        }
        self.check();
    }

    /// Sends a request that arrives later.
    fn send_late(&mut self, op: &Op) {
        match *op {
            Op::SendBeat { at } => {
                let process = self.process(at);
                self.late_beats.push(process.member.says());
                self.processes[at] = Some(process);
            }
            Op::Stillborn { at } => {
                let process = self.born(at);
                self.late_beats.push(process.member.says());
            }
            Op::SendStart { at } => {
                let sent = self.start_of(at);
                self.late_starts.extend(sent);
            }
            _ => unreachable!("{op:?} sends nothing"),
        }
    }

    /// Delivers a request that was sent earlier; its sender may be gone.
    fn deliver(&mut self, op: &Op) {
        match *op {
            Op::LateBeat { number } => {
                if let Some(beat) = self.late_beats.iter().rev().nth(number).cloned() {
                    let _ = self.coordinator.heartbeat(&beat);
                }
            }
            Op::LateCommit => {
                if let Some((member, partition, offset)) = self.late.pop() {
                    self.commit_as(&member, partition, offset);
                }
            }
            Op::LateStart { number } => {
                if let Some((member, partitions)) = self.late_starts.iter().rev().nth(number).cloned() {
                    self.start_as(&member, &partitions);
                }
            }
            Op::LateOutside { number } => {
                self.outsiders.arrive(number, &mut self.coordinator);
            }
            _ => unreachable!("{op:?} delivers nothing"),
        }
    }

    fn crash(&mut self, lost: usize) {
        self.coordinator.crash(lost);
        let held = self.processes.iter_mut().chain(&mut self.old).flatten();
        held.for_each(|process| process.held = None); // Its connection ended.
        self.late.clear(); // With theirs.
        self.late_starts.clear();
        self.outsiders.lose_connections();
        self.lives.look_after_crash(self.coordinator.describe().ok());
    }

    fn wait(&mut self, millis: u64) {
        self.clock += millis;
        let clock = self.clock;
        self.processes.iter_mut().chain(&mut self.old).flatten().for_each(|process| process.watch(clock));
        self.coordinator.wait(millis);
    }

    fn change_topic(&mut self, op: &Op) {
        let topics = ["rainbow", "sandbox"].map(name);
        match *op {
            Op::Grow { topic } => {
                self.coordinator.topics.entry(topics[topic].clone()).and_modify(|topic| topic.partitions += 1);
                return; // Heartbeats notice it.
            }
            Op::Delete { topic } => {
                if let Some(gone) = self.coordinator.topics.remove(&topics[topic]) {
                    self.coordinator.topic_deleted(gone.topic);
                    self.coordinator.sync();
                    self.commits.retain(|partition, _| partition.topic != gone.topic);
                }
            }
            Op::Create { topic } => {
                self.names += 1;
                let created = CatalogTopic { topic: TopicId::from_bytes([100 + self.names as u8; 16]), partitions: 2 };
                self.coordinator.topics.entry(topics[topic].clone()).or_insert(created);
            }
            _ => unreachable!("no change of a topic"),
        }
        self.coordinator.topics_changed();
    }

    fn process(&mut self, at: usize) -> Process {
        let mut process = self.processes[at].take().unwrap_or_else(|| self.born(at));
        process.member.topics = self.subscriptions[at].clone();
        process
    }

    fn born(&mut self, at: usize) -> Process {
        self.names += 1;
        let assignor = Some(self.assignor.name().to_owned());
        let instance = (at % 2 == 1).then(|| format!("instance {at}"));
        let topics = self.subscriptions[at].clone();
        let member = Member { assignor, instance, topics, ..Member::new(&format!("m{}", self.names), &[]) };
        Process::new(member, self.clock)
    }

    fn beat(&mut self, at: usize, outcome: BeatOutcome) {
        let process = self.process(at);
        self.processes[at] = self.speak(process, outcome);
    }

    /// Sends one heartbeat; the process ends if another one has its name.
    fn speak(&mut self, mut process: Process, outcome: BeatOutcome) -> Option<Process> {
        process.held = None;
        let says = process.member.says();
        if outcome == BeatOutcome::DiskFull {
            let mut step =
                self.coordinator.shard.heartbeat(&says, &self.coordinator.received(), &self.coordinator.topics);
            self.coordinator.assignment_changed |= !step.take_changed_groups().is_empty();
            let _ = step.settle(&mut self.coordinator.shard, |_| Err("full"));
            return Some(process);
        }
        let answer = self.coordinator.heartbeat(&says);
        if outcome == BeatOutcome::AnswerLost {
            return Some(process);
        }
        self.coordinator.sync();
        match answer {
            Ok(answer) if outcome == BeatOutcome::Held && !is_assignment_change(&says, &answer) => {
                process.held = Some((says, answer, self.clock));
                process.woken = false;
            }
            Ok(answer) => {
                self.lives.hears(&process.member.id);
                self.check_given(&process.member.id);
                process.hears(&answer, self.clock, self.clock, outcome == BeatOutcome::KeepsReading);
            }
            Err(failure) => return self.refused(process, &failure),
        }
        Some(process)
    }

    fn assignment_change(&mut self, at: usize, enough: bool) {
        let Some(mut process) = self.processes[at].take() else { return };
        let Some((says, answer, sent)) = process.held.take() else {
            self.processes[at] = Some(process);
            return;
        };
        process.woken = false;
        let change = self.coordinator.assignment_change(&says);
        self.coordinator.sync();
        if change.is_ok() {
            self.check_given(&process.member.id);
        }
        match change {
            Ok(Some(change)) => process.hears(&change, sent, self.clock, false),
            Ok(None) if enough => process.hears(&answer, sent, self.clock, false),
            Ok(None) => process.held = Some((says, answer, sent)),
            Err(failure) => {
                self.processes[at] = self.refused(process, &failure);
                return;
            }
        }
        self.processes[at] = Some(process);
    }

    fn refused(&mut self, mut process: Process, failure: &Failure) -> Option<Process> {
        process.loses_everything(self.clock);
        match failure.code {
            ErrorCode::UnknownMember | ErrorCode::FencedMember => Some(process),
            ErrorCode::FencedInstance => {
                let seen = self.coordinator.describe().unwrap();
                self.lives.check_fenced(&process.member.id, &seen);
                let step = self.coordinator.shard.leave(&group(), &process.member.id);
                self.coordinator.settle(step).unwrap();
                None
            }
            _ => panic!("{failure}"),
        }
    }

    fn leave(&mut self, at: usize, for_now: bool) {
        let Some(process) = self.processes[at].take() else { return };
        let (shard, id) = (&mut self.coordinator.shard, &process.member.id);
        let step = match for_now {
            true => shard.detach(&group(), id, self.coordinator.now),
            false => shard.leave(&group(), id),
        };
        let _ = self.coordinator.settle(step); // It may have expired before.
    }

    /// Checks that an answered member has every free partition of its target.
    fn check_given(&self, id: &MemberId) {
        let Ok(seen) = self.coordinator.describe() else { return };
        let holds = |partition: TopicIdPartition| {
            move |held: &Holding| (held.topic, held.partition) == (partition.topic, partition.partition)
        };
        for member in seen.members.iter().filter(|member| member.member == *id) {
            for partition in topic_id_partition::from_message(&member.awaits) {
                let held = seen.members.iter().any(|member| member.holds.iter().any(holds(partition)));
                assert!(held, "{id} was answered, and no member reads {partition:?}");
            }
        }
    }

    /// Checks that each waiting heartbeat is woken by an assignment change: a freed partition waits for no heartbeat
    /// of its new owner.
    fn check_woken(&mut self) {
        let assignment_changed = std::mem::take(&mut self.coordinator.assignment_changed);
        let Some(group) = self.coordinator.shard.groups.get(&group()) else { return };
        let topics = &self.coordinator.topics;
        let seen = |name: &TopicName| {
            group.members.assigned_topic(name).is_none_or(|topic| topic == topics.get(name).copied())
        };
        let noticed = ["rainbow", "sandbox"].map(name).iter().all(seen);
        for process in self.processes.iter_mut().chain(&mut self.old).flatten() {
            process.woken |= assignment_changed;
            let Some((says, ..)) = process.held.as_ref().filter(|_| !process.woken && noticed) else { continue };
            let change =
                group.members.clone().assignment_change(&says.member, says.epoch, &self.coordinator.received(), topics);
            assert!(!matches!(change, Ok(Some(_))), "{} was not woken for {change:?}", says.member);
        }
    }

    fn check(&mut self) {
        self.check_woken();
        self.lives.look(self.coordinator.describe().ok());
        let mut read = BTreeMap::new();
        for process in self.processes.iter().chain(&self.old).flatten() {
            for partition in process.reads(self.clock) {
                let other = read.insert(partition, &process.member.id);
                assert_eq!(other, None, "{partition:?} is read by {} too", process.member.id);
            }
        }
        self.outsiders.check(&self.coordinator);
        for (partition, offset) in &self.commits {
            assert_eq!(self.coordinator.committed(*partition), Some(*offset), "{partition:?}");
        }
        let epoch = self.coordinator.shard.groups.get(&group()).map_or(0, |group| group.members.epoch());
        let epoch = epoch.max(self.coordinator.shard.minimum_epoch);
        // A change that was not appended may be lost, but then no answer had it.
        let processes = self.processes.iter().chain(&self.old).flatten();
        let seen = processes.map(|process| process.member.epoch.value()).max().unwrap_or(0);
        assert!(seen <= epoch, "a member has seen epoch {seen}, the group is at {epoch}");
        self.epoch = self.epoch.max(seen);
        assert!(self.epoch <= epoch, "epochs went back from {} to {epoch}", self.epoch);
    }

    /// Heals the world: living members send heartbeats and give up partitions, and nothing is lost.
    pub(super) fn heal(&mut self) {
        self.old.fill_with(|| None);
        for _ in 0..15 {
            self.round();
        }
    }

    fn round(&mut self) {
        self.wait(1_000);
        for at in 0..PROCESSES {
            if self.processes[at].is_some() {
                self.beat(at, BeatOutcome::Answered);
            }
            self.check();
        }
    }

    pub(super) fn check_healed(&mut self) {
        let alive: Vec<&Member> = self.processes.iter().flatten().map(|process| &process.member).collect();
        if alive.is_empty() {
            return;
        }
        assert_eq!(self.coordinator.describe().unwrap().state, GroupState::Stable);
        let wanted = self.coordinator.topics.iter().filter(|(name, _)| alive.iter().any(|m| m.topics.contains(name)));
        let wanted: BTreeSet<TopicIdPartition> = wanted.flat_map(|(_, topic)| topic.partitions()).collect();
        let read: BTreeSet<TopicIdPartition> = alive.iter().flat_map(|member| &member.reading).copied().collect();
        assert_eq!(read, wanted);
        // A quiet group writes nothing.
        let (log, epochs) = (self.coordinator.log.len(), self.epochs());
        self.round();
        self.coordinator.topics_changed();
        assert_eq!((self.coordinator.log.len(), self.epochs()), (log, epochs));
    }

    fn epochs(&self) -> Vec<MemberEpoch> {
        self.processes.iter().flatten().map(|process| process.member.epoch).collect()
    }
}
