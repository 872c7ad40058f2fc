use super::fuzzed::fetch_session_actions;
use super::gather::GatheredParts;
use super::ready::ReadySlots;
use super::source::{SlotRead, SlotSource};
use super::state::SessionState;
use crate::api::partition_read::{PartitionRead, ReadLimits};
use crate::partition::WaitingFetches;
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, TopicId};
use grower_protocol::message::{FetchPartition, FetchSlot, FetchedPartition, FetchedRecords, Part};
use proptest::prelude::*;
use std::cell::Cell;
use std::sync::Arc;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_session_reads_what_a_reader_of_each_partition_reads(actions in prop::collection::vec(any::<u8>(), 0..400)) {
        fetch_session_actions(&actions);
    }
}

/// Partitions with records of 10 bytes, which counts how often it is read.
struct CountingSource {
    ends: Vec<Cell<u64>>,
    fetches: Vec<Arc<WaitingFetches>>,
    reads: Cell<usize>,
}

impl SlotSource for CountingSource {
    fn read(&self, wanted: &FetchPartition, _limits: ReadLimits) -> Part<SlotRead> {
        self.reads.set(self.reads.get() + 1);
        let at = wanted.partition.value() as usize;
        let end = self.ends[at].get();
        let length = 10 * (end - wanted.offset.value()) as u32;
        let fetched =
            FetchedRecords { length, high_watermark: Offset::new(end), log_start: Offset::ZERO, damaged: None };
        let next = (0 < length).then_some((Offset::new(end), LeaderEpoch::new(1)));
        let read = PartitionRead { next, ..PartitionRead::without_records(FetchedPartition::Records(fetched)) };
        Ok(SlotRead { read, fetches: self.fetches[at].clone() })
    }
}

#[test]
fn an_append_costs_a_session_one_read_however_many_partitions_it_has() {
    const PARTITIONS: u32 = 1_000;
    let source = CountingSource {
        ends: (0..PARTITIONS).map(|_| Cell::new(0)).collect(),
        fetches: (0..PARTITIONS).map(|_| Arc::default()).collect(),
        reads: Cell::new(0),
    };
    let mut state = SessionState::new(Arc::new(ReadySlots::default()));
    let wanted = |partition| FetchPartition {
        topic: TopicId::from_bytes([1; 16]),
        partition: PartitionId::new(partition),
        offset: Offset::ZERO,
        max_bytes: 1_000,
        leader_epoch: None,
        last_epoch: None,
    };
    state.add((0..PARTITIONS).map(|slot| (FetchSlot(slot), wanted(slot))).collect());
    let gather = |state: &mut SessionState| {
        let mut gathered = GatheredParts::default();
        let before = source.reads.get();
        state.gather(&source, 1_000, &mut gathered);
        (source.reads.get() - before, gathered.parts.len())
    };
    assert_eq!(gather(&mut state), (1_000, 1_000), "the first reads");
    assert_eq!(gather(&mut state), (0, 0), "without an append nothing is read");
    source.ends[7].set(1);
    source.fetches[7].wake_below(Offset::new(1));
    assert_eq!(gather(&mut state), (1, 1));
    assert!(source.fetches.iter().all(|fetches| fetches.len() == 1), "each slot waits with its partition again");
}
