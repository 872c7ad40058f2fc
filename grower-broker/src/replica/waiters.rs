//! Waiters in the order of the offsets they wait for.

use grower_protocol::ids::Offset;
use std::collections::VecDeque;

/// Which mark a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitedMark {
    /// Readers may see the records.
    HighWatermark,
    /// The records survive a power cut.
    Durable,
}

/// Waiters of one partition. Each names the mark it waits for and the offset that the mark must reach: a mark that
/// moves releases exactly the waiters whose offset it covers.
#[derive(Debug)]
pub(super) struct OrderedWaiters<T> {
    committed: VecDeque<(Offset, T)>,
    durable: VecDeque<(Offset, T)>,
}

impl<T> Default for OrderedWaiters<T> {
    fn default() -> Self {
        Self { committed: VecDeque::new(), durable: VecDeque::new() }
    }
}

impl<T> OrderedWaiters<T> {
    /// Adds a waiter until `mark` reaches `end`. Waiters mostly come in order.
    pub(super) fn push(&mut self, mark: WaitedMark, end: Offset, waiter: T) {
        let queue = match mark {
            WaitedMark::HighWatermark => &mut self.committed,
            WaitedMark::Durable => &mut self.durable,
        };
        let at = match queue.back() {
            Some((last, _)) if end < *last => queue.partition_point(|(other, _)| *other <= end),
            _ => queue.len(),
        };
        queue.insert(at, (end, waiter));
        debug_assert!(queue.iter().is_sorted_by_key(|(end, _)| *end));
    }

    /// The number of waiters whose offset is beyond `end`.
    pub(super) fn beyond(&self, end: Offset) -> usize {
        let beyond = |queue: &VecDeque<(Offset, T)>| queue.len() - covered(queue, end);
        beyond(&self.committed) + beyond(&self.durable)
    }

    /// Takes the waiters whose offset is reached.
    pub(super) fn take_covered(
        &mut self,
        high_watermark: Offset,
        durable: Offset,
    ) -> impl Iterator<Item = (Offset, T)> {
        let committed = covered(&self.committed, high_watermark);
        let synced = covered(&self.durable, durable);
        self.committed.drain(..committed).chain(self.durable.drain(..synced))
    }
}

fn covered<T>(queue: &VecDeque<(Offset, T)>, mark: Offset) -> usize {
    queue.partition_point(|(end, _)| *end <= mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_mark_releases_exactly_the_waiters_whose_offset_it_covers(
            pushed in prop::collection::vec((any::<bool>(), 0u64..20), 0..30),
            marks in prop::collection::vec((0u64..25, 0u64..25), 1..6),
        ) {
            let mut waiters = OrderedWaiters::default();
            let mut list: Vec<(usize, bool, u64)> = Vec::new();
            for (id, (durable, end)) in pushed.into_iter().enumerate() {
                let mark = if durable { WaitedMark::Durable } else { WaitedMark::HighWatermark };
                waiters.push(mark, Offset::new(end), id);
                list.push((id, durable, end));
            }
            for (high_watermark, durable) in marks {
                let taken = waiters.take_covered(Offset::new(high_watermark), Offset::new(durable));
                let mut taken: Vec<_> = taken.map(|(_, id)| id).collect();
                taken.sort_unstable();
                let covered = |(_, by_durable, end): &(usize, bool, u64)| {
                    *end <= if *by_durable { durable } else { high_watermark }
                };
                let expected: Vec<_> = list.extract_if(.., |waiter| covered(waiter)).map(|(id, ..)| id).collect();
                prop_assert_eq!(taken, expected);
                for end in [0, high_watermark, durable] {
                    let beyond = list.iter().filter(|(.., other)| end < *other).count();
                    prop_assert_eq!(waiters.beyond(Offset::new(end)), beyond);
                }
            }
        }
    }
}
