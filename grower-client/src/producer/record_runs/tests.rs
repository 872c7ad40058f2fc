//! Runs against a list of single records.

use super::*;
use crate::deadline::Deadline;
use proptest::prelude::*;
use std::time::Duration;

/// A record in the bytes of a batch.
#[derive(Clone, Debug)]
struct ModelRecord {
    index: u32,
    deadline: Deadline,
    is_settled: bool,
}

#[derive(Clone, Debug)]
enum Event {
    /// Adds this many records with this limit.
    Push(u32, u64),
    /// All records up to this deadline expire.
    Expire(u64),
    /// The broker names these positions.
    Settle(Vec<(u32, u32)>),
    Withdraw,
    /// Keeps the first records, in percent of all, and continues with them or with the others.
    Split(u32, bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1u32..5, 1u64..5).prop_map(|(count, limit)| Event::Push(count, limit)),
        1 => (1u64..5).prop_map(Event::Expire),
        2 => prop::collection::vec((0u32..4, 1u32..4), 1..4).prop_map(Event::Settle),
        2 => Just(Event::Withdraw),
        1 => (1u32..99, any::<bool>()).prop_map(|(percent, head)| Event::Split(percent, head)),
    ]
}

fn positions(gaps_and_counts: &[(u32, u32)]) -> Vec<Range<u32>> {
    let mut at = 0;
    let range = |(gap, count): &(u32, u32)| {
        let start = at + gap;
        at = start + count;
        start..at
    };
    gaps_and_counts.iter().map(range).collect()
}

fn indices(runs: &RecordRuns) -> Vec<u32> {
    runs.live().flat_map(|live| live.indices).collect()
}

/// Both sides of the comparison.
struct World {
    start: Instant,
    runs: RecordRuns,
    model: Vec<ModelRecord>,
    /// A split batch gets no more records.
    is_split: bool,
}

impl World {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Push(..) if self.is_split => {}
            Event::Push(count, seconds) => (0..count).for_each(|_| self.push(seconds)),
            Event::Expire(seconds) => {
                let until = self.start + Duration::from_secs(seconds);
                let expired = self.runs.expire(until);
                assert!(expired.iter().all(|(_, deadline)| deadline.end() <= until));
                let mut expired: Vec<u32> = expired.iter().flat_map(|(records, _)| indices(records)).collect();
                expired.sort_unstable();
                assert_eq!(expired, self.settle(|_, record| record.deadline.end() <= until));
            }
            Event::Settle(named) => {
                let named = positions(&named);
                let settled = indices(&self.runs.settle(named.clone()));
                let is_named = |at: usize, _: &ModelRecord| named.iter().any(|range| range.contains(&(at as u32)));
                assert_eq!(settled, self.settle(is_named));
            }
            Event::Withdraw => {
                let kept: Vec<u32> = self.runs.withdraw_settled().into_iter().flatten().collect();
                let live = (0..).zip(&self.model).filter(|(_, record)| !record.is_settled).map(|(at, _)| at);
                assert_eq!(kept, live.collect::<Vec<u32>>());
                self.model.retain(|record| !record.is_settled);
            }
            Event::Split(percent, continues_with_head) => {
                let count = self.model.len() * percent as usize / 100;
                let tail = self.runs.split_off(count as u32);
                let model_tail = self.model.split_off(count);
                if !continues_with_head {
                    (self.runs, self.model) = (tail, model_tail);
                }
                self.is_split = true;
            }
        }
    }

    fn push(&mut self, seconds: u64) {
        let limit = Duration::from_secs(seconds);
        let deadline = Deadline::ending(self.start + limit, limit);
        let index = self.runs.push(deadline);
        self.model.push(ModelRecord { index, deadline, is_settled: false });
    }

    /// Settles the records that `which` selects; returns those that were not settled before.
    fn settle(&mut self, which: impl Fn(usize, &ModelRecord) -> bool) -> Vec<u32> {
        let selected =
            self.model.iter_mut().enumerate().filter(|(at, record)| !record.is_settled && which(*at, record));
        let settle = |(_, record): (usize, &mut ModelRecord)| {
            record.is_settled = true;
            record.index
        };
        selected.map(settle).collect()
    }

    fn check(&self) {
        let live = || (0u32..).zip(&self.model).filter(|(_, record)| !record.is_settled);
        let found = self.runs.live().flat_map(|live| live.indices.zip(live.position..));
        assert!(found.eq(live().map(|(at, record)| (record.index, at))), "{:?} {:?}", self.runs, self.model);
        assert_eq!(self.runs.count() as usize, self.model.len());
        assert_eq!(self.runs.settled_count() as usize, self.model.len() - live().count());
        assert_eq!(self.runs.are_settled(), live().next().is_none());
        assert_eq!(self.runs.earliest(), live().map(|(_, record)| record.deadline.end()).min());
        assert_eq!(self.runs.latest(), live().map(|(_, record)| record.deadline.end()).max());
        let all = self.runs.span();
        assert!(self.model.iter().all(|record| all.contains(&record.index)));
    }
}

proptest! {
    #[test]
    fn each_record_is_settled_once_and_keeps_its_position(events in prop::collection::vec(event(), 0..30)) {
        let start = Instant::now();
        let mut world = World { start, runs: RecordRuns::default(), model: Vec::new(), is_split: false };
        for event in events {
            world.apply(event);
            world.check();
        }
        let mut rest = world.runs.take();
        prop_assert_eq!(indices(&rest), world.settle(|_, _| true));
        prop_assert_eq!((world.runs.count(), rest.take().count() as usize), (0, world.model.len()));
    }
}

#[test]
fn records_of_one_deadline_take_no_allocation() {
    let limit = Duration::from_secs(1);
    let deadline = Deadline::ending(Instant::now() + limit, limit);
    let mut runs = RecordRuns::default();
    assert!((0..1_000).all(|index| runs.push(deadline) == index));
    assert_eq!((runs.earlier.capacity(), runs.live().count()), (0, 1));
}
