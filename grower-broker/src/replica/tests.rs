//! The replica against a model that remembers each record by itself, and each effect by itself.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Writes this many records.
    Append(u64),
    /// Asks the log what must reach the disk.
    BeginSync,
    /// One of the syncs that run comes back, in whatever order.
    EndSync(usize),
    /// Another flush policy; the log is made durable first if that is an effect.
    Alter(FlushPolicy),
    /// Drops a share of what is committed and durable.
    Drop(u64),
    /// Acknowledges some record.
    Ack(u64),
    /// Waits for some written record.
    Wait(u64),
    /// The power fails.
    Crash,
}

/// Each record that was written since offset 0.
struct Record {
    synced: bool,
    /// An ack said that it is on the disk.
    vouched_for: bool,
}

struct Model {
    records: Vec<Record>,
    log_start: u64,
    high_watermark: u64,
    policy: FlushPolicy,
    syncs: Vec<u64>,
}

impl Model {
    fn durable(&self) -> u64 {
        self.records.iter().take_while(|record| record.synced).count() as u64
    }

    fn written(&self) -> u64 {
        self.records.len() as u64
    }

    /// Readers never lose sight of a record, and see a new one once the policy of that moment commits it.
    fn read(&mut self) {
        let commits = if self.policy == FlushPolicy::Os { self.written() } else { self.durable() };
        self.high_watermark = self.high_watermark.max(commits);
    }

    fn sync(&mut self, end: u64) {
        self.records.iter_mut().take(end as usize).for_each(|record| record.synced = true);
    }
}

/// A replica, and what its effects are for: waiters, in order of their offsets, and the high watermark that fetches
/// saw.
struct Run {
    replica: Replica,
    epoch: u32,
    waiters: CommitQueue<u64>,
    seen: Offset,
}

impl Run {
    /// Opens a log and leads it under an epoch of its own.
    fn lead(log: Range<Offset>, policy: FlushPolicy, epoch: u32) -> Self {
        let mut run = Self {
            replica: Replica::recovered(log.clone(), policy),
            epoch,
            waiters: CommitQueue::default(),
            seen: log.start,
        };
        run.apply(Event::EpochBegun(LeaderEpoch::new(epoch)));
        run
    }

    /// Carries out all effects; true if the event has to be repeated after a sync.
    fn apply(&mut self, event: Event) -> bool {
        let effects = self.replica.apply(event);
        if let Some(reached) = effects.answer {
            self.waiters.take_covered(reached);
        }
        if let Some(high_watermark) = effects.wake_fetches {
            assert!(self.seen < high_watermark, "fetches are woken for nothing by {event:?}");
            self.seen = high_watermark;
        }
        effects.sync_first
    }

    fn reached(&self) -> Reached {
        self.replica.marks().reached()
    }
}

fn step(run: &mut Run, model: &mut Model, op: Op) -> Result<(), TestCaseError> {
    match op {
        Op::Append(records) => {
            model.records.extend((0..records).map(|_| Record { synced: false, vouched_for: false }));
            run.apply(Event::Appended { log_end: Offset::new(model.written()) });
        }
        Op::BeginSync => model.syncs.push(model.written()),
        Op::EndSync(which) => {
            let Some(running) = model.syncs.len().checked_sub(1) else { return Ok(()) };
            let end = model.syncs.remove(which.min(running));
            model.sync(end);
            run.apply(Event::Synced { durable: Offset::new(end) });
        }
        Op::Alter(policy) => {
            let lags = model.durable() < model.written();
            let refused = lags && policy == FlushPolicy::Fsync && model.policy == FlushPolicy::Os;
            let before = run.replica.clone();
            prop_assert_eq!(run.apply(Event::FlushPolicyChanged(policy)), refused);
            if refused {
                prop_assert_eq!(&run.replica, &before, "a refused event changes nothing");
                model.sync(model.written());
                run.apply(Event::Synced { durable: Offset::new(model.written()) });
                prop_assert!(!run.apply(Event::FlushPolicyChanged(policy)));
            }
            model.policy = policy;
        }
        Op::Drop(share) => {
            let most = model.high_watermark.min(model.durable());
            model.log_start += (most - model.log_start) * share / 4;
            run.apply(Event::RecordsDropped { log_start: Offset::new(model.log_start) });
        }
        Op::Ack(end) => {
            let end = end.min(model.written());
            if run.reached().durability(Offset::new(end)) == Durability::Fsynced {
                model.records.iter_mut().take(end as usize).for_each(|record| record.vouched_for = true);
            }
        }
        Op::Wait(share) => {
            let end = Offset::new(model.written() * share / 4);
            let mark = if share % 2 == 0 { WaitedMark::HighWatermark } else { WaitedMark::Durable };
            run.waiters.wait(mark, end, end.value());
            run.waiters.take_covered(run.reached()); // As a producer that waits for nothing.
        }
        Op::Crash => {
            let survivors = model.durable();
            let lost = model.records.iter().skip(survivors as usize).any(|record| record.vouched_for);
            prop_assert!(!lost, "an ack vouched for a record that a power cut took");
            model.records.truncate(survivors as usize);
            (model.high_watermark, model.syncs) = (survivors, Vec::new());
            let log = Offset::new(model.log_start)..Offset::new(survivors);
            *run = Run::lead(log, model.policy, run.epoch + 1);
        }
    }
    model.read();
    Ok(())
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1u64..4).prop_map(Op::Append),
        3 => Just(Op::BeginSync),
        3 => (0usize..8).prop_map(Op::EndSync),
        1 => prop_oneof![Just(FlushPolicy::Os), Just(FlushPolicy::Fsync)].prop_map(Op::Alter),
        1 => (0u64..5).prop_map(Op::Drop),
        3 => (0u64..40).prop_map(Op::Ack),
        3 => (0u64..5).prop_map(Op::Wait),
        1 => Just(Op::Crash),
    ]
}

proptest! {
    #[test]
    fn a_replica_agrees_with_a_model_of_single_records(os in any::<bool>(), ops in prop::collection::vec(op(), 1..80)) {
        let policy = if os { FlushPolicy::Os } else { FlushPolicy::Fsync };
        let mut run = Run::lead(Offset::ZERO..Offset::ZERO, policy, 0);
        let mut model = Model { records: Vec::new(), log_start: 0, high_watermark: 0, policy, syncs: Vec::new() };
        for op in ops {
            step(&mut run, &mut model, op)?;
            let expected = [model.log_start, model.durable(), model.written(), model.high_watermark].map(Offset::new);
            let ReplicaMarks { log_start, durable, log_end, high_watermark } = run.replica.marks();
            prop_assert_eq!([log_start, durable, log_end, high_watermark], expected, "after {:?}", op);
            prop_assert_eq!(run.seen, high_watermark, "fetches were not woken by {:?}", op);
            let missed = run.waiters.take_covered(run.reached());
            prop_assert!(missed.is_empty(), "{:?} answers all waiters but {:?}", op, missed);
        }
    }
}

fn leader(policy: FlushPolicy) -> Replica {
    let mut replica = Replica::recovered(Offset::ZERO..Offset::ZERO, policy);
    let _ = replica.apply(Event::EpochBegun(LeaderEpoch::new(1)));
    replica
}

#[test]
fn nothing_is_committed_before_a_leadership_begins() {
    let mut replica = Replica::recovered(Offset::new(2)..Offset::new(5), FlushPolicy::Fsync);
    assert_eq!(replica.marks().high_watermark, Offset::new(2));
    let effects = replica.apply(Event::EpochBegun(LeaderEpoch::new(1)));
    assert_eq!(effects.wake_fetches, Some(Offset::new(5)), "recovery made all of it durable");
    assert_eq!(replica.epoch(), Some(LeaderEpoch::new(1)));
}

#[test]
fn an_append_under_flush_os_wakes_fetches_and_answers_no_waiters() {
    let effects = leader(FlushPolicy::Os).apply(Event::Appended { log_end: Offset::new(2) });
    assert_eq!(effects, Effects { wake_fetches: Some(Offset::new(2)), ..Effects::default() });
}

#[test]
fn an_ack_says_fsynced_only_for_what_is_durable() {
    let mut replica = leader(FlushPolicy::Os);
    let _ = replica.apply(Event::Appended { log_end: Offset::new(2) });
    let told = |replica: &Replica, end| replica.marks().reached().durability(Offset::new(end));
    assert_eq!(told(&replica, 2), Durability::Written);
    let _ = replica.apply(Event::Synced { durable: Offset::new(2) });
    assert_eq!(told(&replica, 2), Durability::Fsynced);
}

#[test]
#[should_panic(expected = "epoch 1 begins after")]
fn an_epoch_begins_once() {
    let _ = leader(FlushPolicy::Os).apply(Event::EpochBegun(LeaderEpoch::new(1)));
}

#[test]
#[should_panic(expected = "durable: Offset(3)")]
fn a_sync_beyond_the_log_end_is_a_bug() {
    let _ = leader(FlushPolicy::Os).apply(Event::Synced { durable: Offset::new(3) });
}
