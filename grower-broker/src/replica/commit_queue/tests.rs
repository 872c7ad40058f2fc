//! The commit queue, also with a high watermark that lags behind what is durable here.

use super::*;
use proptest::prelude::*;

const NOW: Duration = Duration::from_secs(1);

fn reached(high_watermark: u64, durable: u64) -> Reached {
    Reached { high_watermark: Offset::new(high_watermark), durable: Offset::new(durable) }
}

fn waits(queue: &mut CommitQueue<&'static str>, end: u64, waiter: &'static str) {
    queue.wait(WaitedMark::HighWatermark, Offset::new(end), waiter);
}

#[test]
fn a_waiter_that_came_during_a_round_is_answered_by_the_next() {
    let mut queue = CommitQueue::default();
    waits(&mut queue, 1, "first");
    assert!(queue.claim_round() && !queue.claim_round());
    assert_eq!(queue.begin(Offset::ZERO), BegunRound { waiters: 1, waiting_before: 1 });
    waits(&mut queue, 2, "second");
    assert!(!queue.claim_round(), "a round runs");
    let (answered, ended) = queue.end(reached(1, 1), NOW);
    assert_eq!(answered, [("first", Durability::Fsynced)]);
    assert_eq!(ended, EndedRound { unsynced: 1, waiting_before: 1, watch: true });
    assert_eq!(queue.begin(Offset::ZERO), BegunRound { waiters: 1, waiting_before: 1 });
    let (answered, ended) = queue.end(reached(2, 2), NOW);
    assert_eq!(answered, [("second", Durability::Fsynced)]);
    assert_eq!(ended, EndedRound { unsynced: 0, waiting_before: 0, watch: false });
}

#[test]
fn the_count_of_waiting_requests_balances_whenever_they_are_answered() {
    let mut queue = CommitQueue::default();
    let mut waiting = 0;
    for (before, during, covered) in [(2, 0, 2), (3, 2, 4), (1, 1, 9), (0, 0, 9)] {
        for end in 0..before {
            waits(&mut queue, end, "before");
            waiting += 1;
        }
        queue.claim_round();
        queue.take_covered(reached(1, 0)); // After a roll, say.
        let begun = queue.begin(Offset::ZERO);
        waiting -= begun.waiting_before;
        assert_eq!(waiting, 0, "all that waited are in the round");
        for end in 5..5 + during {
            waits(&mut queue, end, "during");
            waiting += 1;
        }
        let (_, ended) = queue.end(reached(covered, covered), NOW);
        waiting = waiting + ended.unsynced - ended.waiting_before;
        assert_eq!(waiting, queue.waiters.beyond(Offset::new(covered)));
        if 0 < ended.unsynced {
            waiting -= queue.begin(Offset::ZERO).waiting_before;
            let (_, failed) = queue.fail();
            waiting = waiting + failed.unsynced - failed.waiting_before;
        }
    }
    assert_eq!(waiting, 0);
}

#[test]
fn a_failed_round_takes_everything_that_waits() {
    let mut queue = CommitQueue::default();
    waits(&mut queue, 1, "producer");
    queue.wait(WaitedMark::Durable, Offset::new(9), "group");
    queue.claim_round();
    queue.begin(Offset::ZERO);
    let (failed, ended) = queue.fail();
    assert_eq!((failed, ended.unsynced), (vec!["producer", "group"], 0));
    assert!(queue.claim_round(), "it is at rest");
}

#[test]
fn a_partition_is_quiet_when_no_round_is_queued_and_its_last_sync_is_long_over() {
    let mut queue = CommitQueue::<()>::default();
    queue.claim_round();
    queue.begin(Offset::ZERO);
    assert!(queue.end(reached(0, 0), NOW).1.watch);
    assert!(!queue.take_if_quiet(NOW, NOW + NOW / 2));
    queue.claim_round();
    assert!(!queue.take_if_quiet(NOW, NOW * 3), "it is not at rest");
    queue.begin(Offset::ZERO);
    assert!(!queue.end(reached(0, 0), NOW * 3).1.watch, "it is watched already");
    assert!(queue.take_if_quiet(NOW, NOW * 4));
}

#[test]
fn a_waiter_whose_records_are_durable_queues_no_further_round() {
    let mut queue = CommitQueue::default();
    waits(&mut queue, 2, "producer");
    queue.wait(WaitedMark::Durable, Offset::new(2), "group");
    assert!(queue.claim_round());
    assert_eq!(queue.begin(Offset::ZERO).waiters, 2);
    let (answered, ended) = queue.end(reached(0, 2), NOW);
    assert_eq!(answered, [("group", Durability::Written)], "another replica may not have the records");
    assert_eq!(ended.unsynced, 0, "a sync of this replica would not help the producer");
    assert!(queue.take_covered(reached(1, 2)).is_empty());

    assert!(queue.claim_round(), "it is at rest, and the next append has its round");
    assert_eq!(queue.begin(Offset::new(2)), BegunRound { waiters: 0, waiting_before: 0 });
    assert_eq!(queue.take_covered(reached(2, 2)), [("producer", Durability::Fsynced)]);
}

/// One step of a partition whose high watermark lags behind what is durable.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Writes a record, and waits for it.
    Write(WaitedMark),
    /// The queued round begins.
    Begin,
    /// The running round ends.
    End,
    /// The other replica catches up.
    Follow(u64),
}

/// A commit queue, and the marks that drive it. Each waiter is named by the end that it waits for.
#[derive(Default)]
struct Partition {
    queue: CommitQueue<u64>,
    log_end: u64,
    /// The end that the running round covers.
    syncing: Option<u64>,
    durable: u64,
    high_watermark: u64,
    waiting: Vec<(WaitedMark, u64)>,
    /// Requests that are reported as waiting for a round to begin.
    load: usize,
    queued: bool,
}

impl Partition {
    fn step(&mut self, step: Step) {
        match step {
            Step::Write(mark) => {
                self.log_end += 1;
                self.queue.wait(mark, Offset::new(self.log_end), self.log_end);
                self.waiting.push((mark, self.log_end));
                self.load += 1;
                self.queued |= self.queue.claim_round();
            }
            Step::Begin if self.queued && self.syncing.is_none() => {
                let begun = self.queue.begin(Offset::new(self.durable));
                assert_eq!(begun.waiters, self.unsynced());
                self.load -= begun.waiting_before;
                (self.queued, self.syncing) = (false, Some(self.log_end));
            }
            Step::End => {
                let Some(durable) = self.syncing.take() else { return };
                self.durable = durable;
                let (answered, ended) = self.queue.end(reached(self.high_watermark, self.durable), NOW);
                self.settle(answered);
                assert_eq!(ended.unsynced, self.unsynced(), "a round is queued for nothing, or none for a waiter");
                self.load = self.load + ended.unsynced - ended.waiting_before;
                self.queued = 0 < ended.unsynced;
            }
            Step::Follow(records) => {
                self.high_watermark = self.durable.min(self.high_watermark + records);
                let answered = self.queue.take_covered(reached(self.high_watermark, self.durable));
                self.settle(answered);
            }
            Step::Begin => {}
        }
    }

    fn settle(&mut self, answered: Vec<(u64, Durability)>) {
        let mut ends: Vec<u64> = answered.into_iter().map(|(end, _)| end).collect();
        ends.sort_unstable();
        let (high_watermark, durable) = (self.high_watermark, self.durable);
        let covered = |(mark, end): &(WaitedMark, u64)| match mark {
            WaitedMark::HighWatermark => *end <= high_watermark,
            WaitedMark::Durable => *end <= durable,
        };
        let expected: Vec<u64> = self.waiting.extract_if(.., |waiter| covered(waiter)).map(|(_, end)| end).collect();
        assert_eq!(ends, expected);
    }

    fn unsynced(&self) -> usize {
        self.waiting.iter().filter(|(_, end)| self.durable < *end).count()
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Write(WaitedMark::HighWatermark)),
        1 => Just(Step::Write(WaitedMark::Durable)),
        2 => Just(Step::Begin),
        2 => Just(Step::End),
        2 => (0u64..4).prop_map(Step::Follow),
    ]
}

proptest! {
    #[test]
    fn every_waiter_is_answered_once_and_no_round_runs_for_nothing_while_another_replica_lags(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut partition = Partition::default();
        for step in steps.into_iter().chain([Step::Begin, Step::End, Step::Begin, Step::End]) {
            partition.step(step);
            assert!(partition.unsynced() == 0 || partition.queued || partition.syncing.is_some(), "a waiter is forgotten");
        }
        assert!(!partition.queued, "rounds are queued although all is durable");
        partition.step(Step::Follow(u64::MAX / 2));
        assert!(partition.waiting.is_empty() && partition.load == 0);
    }
}
