//! Checks every byte of a part of a segment: content by the batches' CRCs, headers by the index's header checksums.

use super::{Damage, IntervalEnd, LogPosition, ScanItem, ScanMode, Scanner, Segment};
use crate::disk::DiskError;
use crate::epochs::EpochHistory;
use grower_index::{HeaderChecksum, PREFIX_LENGTH};
use grower_protocol::batch::BatchHeader;
use grower_protocol::ids::{LeaderEpoch, Offset};
use std::ops::Range;

/// The expectations that headers must meet.
pub(crate) struct Expectations<'a> {
    /// The seed of header checksums; none if unknown, then they are not checked.
    pub(crate) seed: Option<u32>,
    pub(crate) epochs: &'a EpochHistory,
}

/// Returns the damage between an index entry (or the start) and `until`, in order.
pub(crate) fn inspect(
    segment: &Segment,
    from: LogPosition,
    until: LogPosition,
    expected: &Expectations<'_>,
) -> Result<Vec<Damage>, DiskError> {
    let mut scanner = Scanner::new(segment, ScanMode::Content, from, until);
    let mut interval = IntervalCheck::new(segment, from, expected);
    let mut damage = Vec::new();
    while let Some(item) = scanner.next_item()? {
        match item {
            ScanItem::Batch(found) => interval.batch(found.bytes, &found.header, &found.prefix),
            ScanItem::Damaged { damage, .. } => interval.damage.push(damage),
        }
        if let Some(ended) = scanner.interval_end() {
            damage.extend(interval.close(scanner.position(), Some(&ended)));
            interval = IntervalCheck::new(segment, scanner.position(), expected);
        }
    }
    damage.extend(interval.close(scanner.position(), None));
    Ok(damage)
}

/// As [`inspect`], up to the first index entry at or after the offset `end`: a header checksum covers a whole
/// interval.
pub(crate) fn inspect_until(
    segment: &Segment,
    from: LogPosition,
    end: Offset,
    expected: &Expectations<'_>,
) -> Result<Vec<Damage>, DiskError> {
    let end_position = segment.end_position();
    let before = segment.log_position(segment.floor_by_offset(end));
    let until = if end_position.offset <= end { end_position } else { segment.lookup().next_anchor(before.bytes) };
    inspect(segment, from, until, expected)
}

/// The check of one interval: the batches between two index entries.
struct IntervalCheck<'a> {
    segment: &'a Segment,
    start: LogPosition,
    expected: &'a Expectations<'a>,
    header_checksum: HeaderChecksum,
    damage: Vec<Damage>,
}

impl<'a> IntervalCheck<'a> {
    fn new(segment: &'a Segment, start: LogPosition, expected: &'a Expectations<'a>) -> Self {
        Self {
            segment,
            start,
            expected,
            header_checksum: HeaderChecksum::new(expected.seed.unwrap_or_default()),
            damage: Vec::new(),
        }
    }

    /// Checks a batch's epoch: the one header field that neither its CRC nor its neighbours vouch for.
    fn batch(&mut self, bytes: Range<u64>, header: &BatchHeader, prefix: &[u8; PREFIX_LENGTH]) {
        self.header_checksum.add(prefix);
        let epoch = self.expected.epochs.at(header.base_offset);
        if epoch.is_some() && header.leader_epoch != epoch {
            let named = |epoch: Option<LeaderEpoch>| epoch.map_or("none".to_owned(), |epoch| epoch.value().to_string());
            let reason = format!("leader epoch {} in place of {}", named(header.leader_epoch), named(epoch));
            self.report(bytes, header.base_offset..header.next_offset(), reason);
        }
    }

    /// Returns the damage of the interval that ends at `end`. If all batches look sound and only the header checksum
    /// differs, the whole interval counts as damaged: nothing says which batch it is.
    fn close(mut self, end: LogPosition, ended: Option<&IntervalEnd>) -> Vec<Damage> {
        let whole = ended.filter(|ended| ended.since == Some(self.start.bytes));
        let judge = whole.map(|ended| ended.entry).filter(|entry| entry.checksummed && self.expected.seed.is_some());
        if self.damage.is_empty() && judge.is_some_and(|entry| entry.header_checksum != self.header_checksum.take()) {
            let (bytes, offsets) = (self.start.bytes..end.bytes, self.start.offset..end.offset);
            self.report(bytes, offsets, "the header checksum of the index differs".into());
        }
        self.damage
    }

    fn report(&mut self, bytes: Range<u64>, offsets: Range<Offset>, reason: String) {
        self.damage.push(Damage { path: self.segment.file.path().to_owned(), bytes, offsets, reason });
    }
}
