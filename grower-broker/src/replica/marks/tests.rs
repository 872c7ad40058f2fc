//! The marks against a model that remembers each record by itself.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Writes so many records.
    Append(u64),
    /// Asks the log what must reach the disk.
    BeginSync,
    /// One of the syncs that run comes back, in whatever order.
    EndSync(usize),
    /// Another flush policy; the partition makes the log durable where the marks ask for that.
    Alter(FlushPolicy),
    /// Drops a share of what is committed and durable.
    Drop(u64),
    /// Acknowledges some written record.
    Ack(u64),
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
    fn look(&mut self) {
        let commits = if self.policy == FlushPolicy::Os { self.written() } else { self.durable() };
        self.high_watermark = self.high_watermark.max(commits);
    }

    fn sync(&mut self, end: u64) {
        self.records.iter_mut().take(end as usize).for_each(|record| record.synced = true);
    }
}

fn step(marks: &mut Marks, model: &mut Model, op: Op) -> Result<(), TestCaseError> {
    match op {
        Op::Append(records) => {
            model.records.extend((0..records).map(|_| Record { synced: false, vouched_for: false }));
            marks.appended(Offset::new(model.written()));
        }
        Op::BeginSync => model.syncs.push(model.written()),
        Op::EndSync(which) => {
            let Some(running) = model.syncs.len().checked_sub(1) else { return Ok(()) };
            let end = model.syncs.remove(which.min(running));
            model.sync(end);
            marks.synced(Offset::new(end));
        }
        Op::Alter(policy) => {
            let lags = model.durable() < model.written();
            let refused = lags && policy == FlushPolicy::Fsync && model.policy == FlushPolicy::Os;
            prop_assert_eq!(marks.configured(policy).is_err(), refused);
            if refused {
                model.sync(model.written());
                marks.synced(Offset::new(model.written()));
                marks.configured(policy).unwrap();
            }
            model.policy = policy;
        }
        Op::Drop(share) => {
            let most = model.high_watermark.min(model.durable());
            model.log_start += (most - model.log_start) * share / 4;
            marks.dropped(Offset::new(model.log_start));
        }
        Op::Ack(end) => {
            let end = end.min(model.written() + 1);
            let durability = marks.durability(Offset::new(end));
            prop_assert_eq!(durability.is_none(), model.written() < end);
            if durability == Some(Durability::Fsynced) {
                model.records.iter_mut().take(end as usize).for_each(|record| record.vouched_for = true);
            }
        }
        Op::Crash => {
            let survivors = model.durable();
            let lost = model.records.iter().skip(survivors as usize).any(|record| record.vouched_for);
            prop_assert!(!lost, "an ack vouched for a record that a power cut took");
            model.records.truncate(survivors as usize);
            (model.high_watermark, model.syncs) = (survivors, Vec::new());
            let span = Offset::new(model.log_start)..Offset::new(survivors);
            *marks = Marks::recovered(span, model.policy);
        }
    }
    model.look();
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
        1 => Just(Op::Crash),
    ]
}

proptest! {
    #[test]
    fn marks_agree_with_a_model_of_single_records(os in any::<bool>(), ops in prop::collection::vec(op(), 1..80)) {
        let policy = if os { FlushPolicy::Os } else { FlushPolicy::Fsync };
        let mut marks = Marks::recovered(Offset::ZERO..Offset::ZERO, policy);
        let mut model = Model { records: Vec::new(), log_start: 0, high_watermark: 0, policy, syncs: Vec::new() };
        for op in ops {
            step(&mut marks, &mut model, op)?;
            prop_assert_eq!(marks.high_watermark().value(), model.high_watermark, "after {:?}", op);
            prop_assert_eq!(marks.durable().value(), model.durable(), "after {:?}", op);
            prop_assert_eq!(marks.span(), Offset::new(model.log_start)..Offset::new(model.written()));
        }
    }
}

#[test]
fn an_ack_names_the_durable_mark_only_for_what_it_covers() {
    let mut marks = Marks::recovered(Offset::ZERO..Offset::ZERO, FlushPolicy::Os);
    marks.appended(Offset::new(2));
    assert_eq!(marks.high_watermark(), Offset::new(2), "flush=os commits what is written");
    assert_eq!(marks.durability(Offset::new(2)), Some(Durability::Written));
    assert!(marks.configured(FlushPolicy::Fsync).is_err(), "readers have seen what is not durable");
    marks.synced(Offset::new(2));
    assert_eq!(marks.durability(Offset::new(2)), Some(Durability::Fsynced));
    marks.configured(FlushPolicy::Fsync).unwrap();
    marks.appended(Offset::new(3));
    assert_eq!(marks.high_watermark(), Offset::new(2), "flush=fsync commits what is durable");
    marks.configured(FlushPolicy::Os).unwrap();
    assert_eq!(marks.high_watermark(), Offset::new(3));
    assert_eq!(marks.durability(Offset::new(4)), None, "it is not written");
}
