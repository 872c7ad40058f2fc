//! Members of a group against a model of the broker: partitions move, commits are under way, readers are slow or lost.

use super::*;
use crate::consumer::state::partition::EventNumber;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PARTITIONS: u32 = 3;
const MEMBERS: usize = 3;
/// The member that takes events.
const EVENTS: usize = 2;
const RECORDS: u32 = 12;
/// The time for which a revoked partition waits.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
enum Step {
    /// The group wants the partition to go to the member.
    Target(u32, usize),
    Heartbeat(usize),
    Poll(usize, usize),
    /// The reader moves to the position at which it is.
    Seek(usize, u32),
    /// The member sends a commit of all that it was handed out.
    SendCommit(usize),
    /// The commit reaches the broker, and its answer the member.
    AnswerCommit(usize),
    Wait(u64),
    /// The reader ends the oldest revocation event, with or without saying that it is done.
    EndRevoking(bool),
    /// The member is fenced.
    Lose(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let member = || 0..MEMBERS;
    prop_oneof![
        2 => (0..PARTITIONS, member()).prop_map(|(partition, member)| Step::Target(partition, member)),
        6 => member().prop_map(Step::Heartbeat),
        6 => (member(), 1..5usize).prop_map(|(member, records)| Step::Poll(member, records)),
        1 => (member(), 0..PARTITIONS).prop_map(|(member, partition)| Step::Seek(member, partition)),
        4 => member().prop_map(Step::SendCommit),
        4 => member().prop_map(Step::AnswerCommit),
        1 => (0..12u64).prop_map(Step::Wait),
        2 => any::<bool>().prop_map(Step::EndRevoking),
        1 => member().prop_map(Step::Lose),
    ]
}

type Offsets = BTreeMap<u32, u64>;

struct Commit {
    offsets: Offsets,
    /// The ends of the records that it covers.
    covered: Offsets,
    /// The owners' epochs as of its start: the broker fences commits of earlier ones.
    epochs: Vec<u64>,
}

struct Member {
    shared: SharedSubscription,
    /// A commit that is under way.
    sent: Option<Commit>,
    /// The ends of the records that it was handed since it last sent a commit.
    handed_out: Offsets,
}

/// The knowledge of a reader of events.
#[derive(Default)]
struct EventReader {
    assigned: BTreeSet<u32>,
    revoking: Vec<(EventNumber, Vec<TopicPartition>)>,
    /// The partitions that it has to be told to have lost.
    to_lose: BTreeSet<u32>,
}

struct Group {
    now: Instant,
    reader: EventReader,
    members: Vec<Member>,
    target: Vec<usize>,
    owner: Vec<Option<usize>>,
    /// Counts the owners of each partition.
    epochs: Vec<u64>,
    committed: Vec<u64>,
    /// The records that were handed out, and may come again only after a failure.
    worked_on: BTreeSet<(u32, u64)>,
}

impl Group {
    fn new() -> Self {
        let member = |_| Member { shared: shared(&[], OnDamage::Fail), sent: None, handed_out: Offsets::new() };
        Self {
            now: Instant::now(),
            reader: EventReader::default(),
            members: (0..MEMBERS).map(member).collect(),
            target: vec![0; PARTITIONS as usize],
            owner: vec![None; PARTITIONS as usize],
            epochs: vec![0; PARTITIONS as usize],
            committed: vec![0; PARTITIONS as usize],
            worked_on: BTreeSet::new(),
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Target(partition, member) => self.target[partition as usize] = member,
            Step::Heartbeat(member) => self.heartbeat(member),
            Step::Poll(member, records) => self.poll(member, records),
            Step::Seek(member, partition) => self.seek(member, partition),
            Step::SendCommit(member) => self.send_commit(member),
            Step::AnswerCommit(member) => self.answer_commit(member),
            Step::Wait(seconds) => self.now += Duration::from_secs(seconds),
            Step::EndRevoking(is_done) => self.end_revoking(is_done),
            Step::Lose(member) => {
                self.release(member); // A partition that the reader gave up is not lost.
                let lost = self.members[member].shared.lock().lose_all();
                lost.iter().for_each(|name| self.give_up(member, name, true));
            }
        }
        self.members.iter().for_each(|member| member.shared.lock().partitions.check());
    }

    /// Frees a partition. After a `failure`, its uncommitted records are read again.
    fn give_up(&mut self, at: usize, name: &TopicPartition, failure: bool) {
        let partition = name.partition.value();
        if at == EVENTS && self.reader.assigned.remove(&partition) && failure {
            self.reader.to_lose.insert(partition);
        }
        self.owner[partition as usize] = None;
        if failure {
            self.excuse(partition);
        }
    }

    /// Lets uncommitted records be read again.
    fn excuse(&mut self, partition: u32) {
        let committed = self.committed[partition as usize];
        self.worked_on.retain(|(of, offset)| *of != partition || *offset < committed);
    }

    fn release(&mut self, at: usize) {
        let (released, commits) = {
            let mut subscription = self.members[at].shared.lock();
            (subscription.release_revoked(self.now), subscription.commits)
        };
        for name in &released.all {
            let is_unfinished = released.unfinished.contains(name);
            self.give_up(at, name, is_unfinished);
            if !commits {
                self.excuse(name.partition.value()); // A reader that never commits leaves all to the next owner.
            }
        }
    }

    fn heartbeat(&mut self, at: usize) {
        self.release(at);
        let is_free = |owner: Option<usize>| owner.is_none_or(|owner| owner == at);
        let assigned = (0..PARTITIONS).filter(|p| self.target[*p as usize] == at && is_free(self.owner[*p as usize]));
        let assigned: BTreeMap<_, _> =
            assigned.map(|partition| (topic_partition(partition), TopicId::from_random([1; 16]))).collect();
        let mut subscription = self.members[at].shared.lock();
        subscription.revoke_all_but(&assigned, self.now + REBALANCE_TIMEOUT);
        for (name, topic) in assigned {
            let partition = name.partition.value() as usize;
            self.epochs[partition] += u64::from(self.owner[partition].replace(at) != Some(at));
            if !subscription.partitions.contains(&name) {
                let version = subscription.add(name.clone(), topic);
                let start = OffsetAndEpoch::of_unknown_epoch(Offset::new(self.committed[partition]));
                let mut partition = subscription.partition(&name).unwrap();
                partition.move_to(start, version);
                partition.committed = Some(start.offset);
            }
        }
    }

    fn poll(&mut self, at: usize, records: usize) {
        let shared = &self.members[at].shared;
        for partition in 0..PARTITIONS {
            let mut subscription = shared.lock();
            let Some(state) = subscription.partitions.get(&topic_partition(partition)) else { continue };
            let next = state.next_fetch().offset.value() as u32;
            if state.wanted_version().is_some() && next < RECORDS {
                let start = next / 3 * 3;
                deliver(&mut subscription, partition, batches(start, 3));
            }
        }
        let taken = if at == EVENTS { self.take_event(records) } else { take(&self.members[at].shared, records) };
        for (partition, offset) in taken {
            assert_eq!(self.owner[partition as usize], Some(at), "{partition}: a record for a member without it");
            assert!(self.committed[partition as usize] <= offset, "{partition}: {offset} is committed");
            assert!(self.worked_on.insert((partition, offset)), "{partition}: {offset} is worked on twice");
            let in_order = offset == 0 || self.worked_on.contains(&(partition, offset - 1));
            assert!(in_order, "{partition}: {offset} is handed out, the one before is not");
            self.members[at].handed_out.insert(partition, offset + 1);
        }
    }

    fn seek(&mut self, at: usize, partition: u32) {
        let (mut subscription, name) = (self.members[at].shared.lock(), topic_partition(partition));
        let Some(position) = subscription.partitions.get(&name).map(PartitionFetchState::position) else { return };
        subscription.seek(&name, position.offset).unwrap();
    }

    fn take_event(&mut self, records: usize) -> Vec<(u32, u64)> {
        let (shared, mut taken) = (&self.members[EVENTS].shared, Vec::new());
        let event = shared.take_with_events(limits(records), Instant::now, Waker::noop(), &mut taken).unwrap();
        let reader = &mut self.reader;
        match event {
            Some(SubscriptionEvent::Assigned(partitions)) => {
                for AssignedPartition { topic_partition, position, .. } in partitions {
                    let partition = topic_partition.partition.value();
                    assert!(reader.assigned.insert(partition), "{partition} is assigned twice");
                    assert_eq!(position.value(), self.committed[partition as usize]);
                }
            }
            Some(SubscriptionEvent::Revoking(number, names)) => {
                assert!(names.iter().all(|name| reader.assigned.contains(&name.partition.value())), "{names:?}");
                reader.revoking.push((number, names));
            }
            Some(SubscriptionEvent::Lost(names)) => {
                for name in names {
                    assert!(reader.to_lose.remove(&name.partition.value()), "{name} is not lost");
                }
            }
            None => {}
        }
        let taken = taken.into_iter().map(|record| (record.partition.value(), record.offset.value()));
        let taken: Vec<_> = taken.collect();
        assert!(taken.iter().all(|(partition, _)| reader.assigned.contains(partition)), "read before it was assigned");
        taken
    }

    fn end_revoking(&mut self, is_done: bool) {
        if self.reader.revoking.is_empty() {
            return;
        }
        let (number, names) = self.reader.revoking.remove(0);
        let mut subscription = self.members[EVENTS].shared.lock();
        for name in names.iter().filter(|_| is_done) {
            let partition = name.partition.value();
            let Some(position) = subscription.partitions.get(name).map(|state| state.position().offset) else {
                continue;
            };
            if self.owner[partition as usize] == Some(EVENTS) && self.members[EVENTS].sent.is_none() {
                subscription.commits = true;
                self.committed[partition as usize] = position.value();
                subscription.note_commit(name, TopicId::from_random([1; 16]), position);
            }
        }
        subscription.finish_revoking(number, is_done && self.members[EVENTS].sent.is_none());
    }

    fn send_commit(&mut self, at: usize) {
        if self.members[at].sent.is_some() {
            return;
        }
        let mut subscription = self.members[at].shared.lock();
        subscription.commits = true;
        let uncommitted =
            subscription.partitions.iter().filter(|partition| partition.committed != Some(partition.position().offset));
        let sent = uncommitted
            .map(|partition| (partition.topic_partition.partition.value(), partition.position().offset.value()));
        let offsets = sent.collect();
        drop(subscription);
        let covered = std::mem::take(&mut self.members[at].handed_out);
        self.members[at].sent = Some(Commit { offsets, covered, epochs: self.epochs.clone() });
    }

    fn answer_commit(&mut self, at: usize) {
        let Some(Commit { offsets, covered, epochs }) = self.members[at].sent.take() else { return };
        let mut subscription = self.members[at].shared.lock();
        let mut failed = BTreeSet::new();
        for (partition, offset) in offsets {
            let is_fenced = epochs[partition as usize] != self.epochs[partition as usize];
            if self.owner[partition as usize] == Some(at) && !is_fenced {
                self.committed[partition as usize] = offset;
                let topic = TopicId::from_random([1; 16]);
                subscription.note_commit(&topic_partition(partition), topic, Offset::new(offset));
            } else {
                failed.insert(partition);
            }
        }
        let lost = std::mem::take(&mut subscription.revoked_uncommitted);
        failed.extend(lost.keys().map(|name| name.partition.value()));
        drop(subscription);
        for partition in &failed {
            self.members[at].handed_out.remove(partition); // It is reported now.
        }
        for (partition, end) in covered {
            let is_committed = end <= self.committed[partition as usize];
            assert!(is_committed || failed.contains(&partition), "{partition}: the commit of {end} is said to be done");
        }
    }

    /// All members work and commit until nothing is left.
    fn heal(&mut self) {
        for _ in 0..40 {
            for at in 0..MEMBERS {
                self.answer_commit(at);
                self.end_revoking(at == 0);
                self.poll(at, 5);
                self.send_commit(at);
                self.answer_commit(at);
                self.heartbeat(at);
            }
        }
        assert_eq!(self.committed, vec![u64::from(RECORDS); PARTITIONS as usize], "all records are read and committed");
        assert_eq!(self.worked_on.len() as u32, PARTITIONS * RECORDS);
        assert!(self.reader.to_lose.is_empty(), "the reader was not told that it lost {:?}", self.reader.to_lose);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_record_is_worked_on_twice_without_a_failure_and_none_is_skipped(
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut group = Group::new();
        steps.into_iter().for_each(|step| group.run(step));
        group.heal();
    }
}
