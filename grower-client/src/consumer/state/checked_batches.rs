//! Verifies fetched batches: checksums and base offsets. Pure.

use bytes::Bytes;
use grower_protocol::batch::{Batch, BatchError, BatchHeader, BatchReader};
use grower_protocol::ids::Offset;
use std::ops::Range;

/// The valid batches of a fetch, and the damage behind them.
#[derive(Debug)]
pub(crate) struct CheckedBatches {
    pub(crate) batches: Vec<Batch>,
    /// The offset after the last valid batch.
    pub(crate) next: Offset,
    pub(crate) damage: Option<FetchDamage>,
}

/// Damage in fetched bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FetchDamage {
    pub(crate) offsets: Range<Offset>,
    pub(crate) reason: String,
    /// Offsets are missing, which compaction may cause.
    pub(crate) is_gap: bool,
}

/// Verifies the bytes of a fetch from `wanted` on. A compacted topic sets `gaps_allowed`.
pub(crate) fn check_batches(bytes: Bytes, wanted: Offset, gaps_allowed: bool) -> CheckedBatches {
    let mut checked = CheckedBatches { batches: Vec::new(), next: wanted, damage: None };
    let mut reader = BatchReader::new(bytes);
    loop {
        let rest = reader.rest().clone();
        match reader.next() {
            Some(Ok(batch)) => match check_offsets(batch.header(), checked.next, checked.batches.is_empty()) {
                Some(damage) if !(damage.is_gap && gaps_allowed) => return checked.with_damage(damage),
                _ => {
                    checked.next = batch.header().next_offset();
                    checked.batches.push(batch);
                }
            },
            Some(Err(error)) => {
                let damage = unreadable_batch(&rest, checked.next, &error);
                return checked.with_damage(damage);
            }
            None if reader.rest().is_empty() => return checked,
            None => {
                let reason = format!("the answer ends within a batch, {} bytes into it", rest.len());
                let offsets = checked.next..checked.next.saturating_add(1);
                return checked.with_damage(FetchDamage { offsets, reason, is_gap: false });
            }
        }
    }
}

impl CheckedBatches {
    fn with_damage(self, damage: FetchDamage) -> Self {
        Self { damage: Some(damage), ..self }
    }
}

/// Checks the offsets of a valid batch. The first one may begin before the wanted offset.
fn check_offsets(header: &BatchHeader, expected: Offset, first: bool) -> Option<FetchDamage> {
    let (base, next) = (header.base_offset, header.next_offset());
    let damage = |offsets, is_gap, reason| Some(FetchDamage { offsets, reason, is_gap });
    if next <= expected || base < expected && !first {
        let reason = format!("a batch with offsets {base}..{next} stands where {expected} should");
        return damage(expected..expected.saturating_add(1), false, reason);
    }
    if expected < base {
        return damage(expected..base, true, format!("offset {expected} is missing, {base} is next"));
    }
    None
}

/// Returns the range of an unreadable batch: as in its header if its base offset is right, otherwise one offset.
fn unreadable_batch(bytes: &[u8], expected: Offset, error: &BatchError) -> FetchDamage {
    let believed = BatchHeader::parse(bytes).ok().filter(|header| header.base_offset == expected);
    let end = believed.map_or(expected.saturating_add(1), |header| header.next_offset());
    FetchDamage { offsets: expected..end, reason: error.to_string(), is_gap: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grower_protocol::batch::{BatchBuilder, Record, UnplacedBatch};
    use grower_protocol::compression::Codec;
    use grower_protocol::ids::LeaderEpoch;

    fn batch(base: u64, count: u32) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::None);
        (0..count).for_each(|_| builder.push(&Record::default()));
        let placed = UnplacedBatch::built(builder.build(None)).place(Offset::new(base), LeaderEpoch::new(1));
        placed.bytes().to_vec()
    }

    fn take(batches: &[Vec<u8>], wanted: u64) -> (Vec<u64>, Option<(Range<u64>, bool)>) {
        let checked = check_batches(Bytes::from(batches.concat()), Offset::new(wanted), false);
        let bases = checked.batches.iter().map(|batch| batch.header().base_offset.value()).collect();
        let plain = |damage: FetchDamage| (damage.offsets.start.value()..damage.offsets.end.value(), damage.is_gap);
        (bases, checked.damage.map(plain))
    }

    #[test]
    fn the_first_batch_may_begin_before_the_wanted_offset() {
        assert_eq!(take(&[batch(10, 5), batch(15, 1)], 12), (vec![10, 15], None));
    }

    #[test]
    fn a_missing_offset_is_a_gap() {
        assert_eq!(take(&[batch(10, 5), batch(17, 1)], 10), (vec![10], Some((15..17, true))));
        let checked = check_batches(Bytes::from(batch(17, 1)), Offset::new(10), true);
        assert_eq!((checked.batches.len(), checked.damage), (1, None));
    }

    #[test]
    fn a_batch_at_a_wrong_offset_is_damage() {
        assert_eq!(take(&[batch(10, 5), batch(12, 5)], 10), (vec![10], Some((15..16, false))));
        assert_eq!(take(&[batch(3, 2)], 10), (vec![], Some((10..11, false))));
    }

    #[test]
    fn a_flipped_bit_is_damage_as_far_as_its_batch_reaches() {
        let mut damaged = batch(15, 4);
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(take(&[batch(10, 5), damaged], 10), (vec![10], Some((15..19, false))));
    }

    #[test]
    fn a_truncated_answer_is_damage() {
        let mut short = batch(10, 2);
        short.pop();
        assert_eq!(take(&[short], 10), (vec![], Some((10..11, false))));
    }
}
