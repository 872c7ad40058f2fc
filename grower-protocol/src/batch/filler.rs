//! Batches without records, which keep offsets dense where records are lost.

use super::header::{CRC_COVERS_FROM, HEADER_LENGTH, LENGTH_COUNTS_FROM, MAGIC};
use super::{Batch, UnplacedBatch, crc32c};
use crate::ids::{LeaderEpoch, Offset, Timestamp};
use bytes::BytesMut;
use std::ops::Range;

/// The largest number of offsets that one batch can span.
const SPAN_MAX: u64 = 1 << 31;

/// Returns empty batches that span `offsets` without a gap. Kafka's compaction leaves such batches too, so every client
/// skips them.
pub fn fillers(offsets: Range<Offset>, epoch: LeaderEpoch, timestamp: Timestamp) -> impl Iterator<Item = Batch> {
    debug_assert!(offsets.start <= offsets.end);
    let mut at = offsets.start;
    std::iter::from_fn(move || {
        let count = offsets.end.value().saturating_sub(at.value()).min(SPAN_MAX);
        let last_offset_delta = i32::try_from(count.checked_sub(1)?).ok()?;
        let batch = UnplacedBatch::built(empty(last_offset_delta, timestamp)).place(at, epoch);
        at = batch.header().next_offset();
        Some(batch)
    })
}

fn empty(last_offset_delta: i32, timestamp: Timestamp) -> BytesMut {
    let timestamp = timestamp.as_millis().to_be_bytes();
    let mut bytes = BytesMut::zeroed(HEADER_LENGTH);
    bytes[8..12].copy_from_slice(&((HEADER_LENGTH - LENGTH_COUNTS_FROM) as i32).to_be_bytes());
    bytes[16] = MAGIC;
    bytes[23..27].copy_from_slice(&last_offset_delta.to_be_bytes());
    bytes[27..35].copy_from_slice(&timestamp);
    bytes[35..43].copy_from_slice(&timestamp);
    bytes[43..57].fill(0xff); // No producer: id, epoch and sequence are all -1.
    let crc = crc32c(&bytes[CRC_COVERS_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(offsets: Range<u64>) -> Vec<(u64, u64)> {
        let offsets = Offset::new(offsets.start)..Offset::new(offsets.end);
        let filled = fillers(offsets, LeaderEpoch::new(3), Timestamp::from_millis(7));
        filled
            .map(|batch| {
                let checked = Batch::check(batch.bytes().clone()).unwrap();
                assert_eq!(checked.records(0).unwrap().count(), 0, "a filler batch has no records");
                let header = checked.header();
                assert_eq!((header.producer, header.leader_epoch), (None, Some(LeaderEpoch::new(3))));
                assert_eq!(header.max_timestamp, Timestamp::from_millis(7));
                (header.base_offset.value(), header.next_offset().value())
            })
            .collect()
    }

    #[test]
    fn filler_batches_are_sound_and_leave_no_gap() {
        assert_eq!(spans(5..5), []);
        assert_eq!(spans(5..6), [(5, 6)]);
        assert_eq!(
            spans(10..10 + (5 << 30)),
            [(10, 10 + (2 << 30)), (10 + (2 << 30), 10 + (4 << 30)), (10 + (4 << 30), 10 + (5 << 30))]
        );
    }
}
