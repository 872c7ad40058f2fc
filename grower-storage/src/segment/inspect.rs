//! Checks every byte of a stretch of segment, content by the batches' CRCs and headers by the index's witness.

use super::{Closing, Extent, Gap, Mode, Segment, Step, Walk};
use crate::disk::DiskError;
use crate::epochs::EpochHistory;
use grower_index::{PREFIX_LENGTH, Witness};
use grower_protocol::batch::BatchHeader;
use grower_protocol::ids::{LeaderEpoch, Offset};
use std::ops::Range;

/// Offsets that cannot be trusted, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) bytes: Range<u64>,
    pub(crate) offsets: Range<Offset>,
    pub(crate) what: String,
}

impl From<Gap> for Damage {
    fn from(gap: Gap) -> Self {
        Self { bytes: gap.bytes, offsets: gap.offsets, what: gap.what }
    }
}

/// What headers are held against.
pub(crate) struct Expectations<'a> {
    /// None if nobody knows: then witnesses are not judged.
    pub(crate) seed: Option<u32>,
    pub(crate) epochs: &'a EpochHistory,
}

/// The damage between an index entry (or the start) and `until`, in order.
pub(crate) fn inspect(
    segment: &Segment,
    from: Extent,
    until: Extent,
    expected: &Expectations<'_>,
) -> Result<Vec<Damage>, DiskError> {
    let mut walk = Walk::new(segment, Mode::Content, from, until);
    let mut stretch = Stretch::new(from, expected);
    let mut damage = Vec::new();
    while let Some(step) = walk.step()? {
        match step {
            Step::Batch(found) => stretch.batch(found.bytes, &found.header, &found.prefix),
            Step::Gap(gap) => stretch.damage.push(gap.into()),
        }
        if let Some(closing) = walk.closing() {
            damage.extend(stretch.close(walk.at(), Some(&closing)));
            stretch = Stretch::new(walk.at(), expected);
        }
    }
    damage.extend(stretch.close(walk.at(), None));
    Ok(damage)
}

/// As [`inspect`], up to the first index entry at or after the offset `end`: a witness speaks for a whole stretch.
pub(crate) fn inspect_until(
    segment: &Segment,
    from: Extent,
    end: Offset,
    expected: &Expectations<'_>,
) -> Result<Vec<Damage>, DiskError> {
    let extent = segment.extent();
    let before = segment.extent_at(segment.floor_by_offset(end));
    let until = if extent.end <= end { extent } else { segment.marks().next_anchor(before.position) };
    inspect(segment, from, until, expected)
}

/// The batches between two entries.
struct Stretch<'a> {
    start: Extent,
    expected: &'a Expectations<'a>,
    witness: Witness,
    damage: Vec<Damage>,
}

impl<'a> Stretch<'a> {
    fn new(start: Extent, expected: &'a Expectations<'a>) -> Self {
        Self { start, expected, witness: Witness::new(expected.seed.unwrap_or_default()), damage: Vec::new() }
    }

    /// The epoch is the one field of a header that neither its CRC nor its neighbours vouch for.
    fn batch(&mut self, bytes: Range<u64>, header: &BatchHeader, prefix: &[u8; PREFIX_LENGTH]) {
        self.witness.add(prefix);
        let epoch = self.expected.epochs.at(header.base_offset);
        if epoch.is_some() && header.leader_epoch != epoch {
            let named = |epoch: Option<LeaderEpoch>| epoch.map_or("none".to_owned(), |epoch| epoch.value().to_string());
            let what = format!("leader epoch {} in place of {}", named(header.leader_epoch), named(epoch));
            self.damage.push(Damage { bytes, offsets: header.base_offset..header.next_offset(), what });
        }
    }

    /// A witness that disagrees although every batch looks right condemns them all: nobody knows which one it is.
    fn close(mut self, end: Extent, closing: Option<&Closing>) -> Vec<Damage> {
        let whole = closing.filter(|closing| closing.since == Some(self.start.position));
        let judged = whole.map(|closing| closing.entry).filter(|entry| entry.witnessed && self.expected.seed.is_some());
        if self.damage.is_empty() && judged.is_some_and(|entry| entry.witness != self.witness.take()) {
            self.damage.push(Damage {
                bytes: self.start.position..end.position,
                offsets: self.start.end..end.end,
                what: "the index witnessed other headers".into(),
            });
        }
        self.damage
    }
}
