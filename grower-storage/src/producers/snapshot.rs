//! `producers.snapshot`: the producers as of an offset, so that an opening need not read all headers.
//!
//! No snapshot is of a later offset than what was durable when it was written, so a crash never takes the records from under
//! it. The one before it is kept as `producers.snapshot.previous`, for a log that is truncated and for a newest one that is
//! damaged.

use super::{Producer, ProducerStates, Remembered};
use crate::kept::{Fields, Kept, Writer};
use grower_protocol::ids::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// The producers of all batches before `offset`.
///
/// Body: offset u64 | count u32, then for each producer: id u64 | epoch u16 | seen i64 | count u32, then for each batch:
/// base sequence u32 | last sequence u32 | base offset u64 | next offset u64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) offset: Offset,
    pub(crate) states: ProducerStates,
}

impl Kept for Snapshot {
    const KIND: [u8; 4] = *b"GWps";
    const VERSION: u16 = 1;
    const NAME: &'static str = "producers.snapshot";

    fn write(&self, into: &mut Writer) {
        into.u64(self.offset.value());
        let producers: Vec<(&ProducerId, &Producer)> = self.states.0.iter().collect();
        into.list(&producers, |into, (id, producer)| {
            into.u64(id.value());
            into.u16(producer.epoch.value());
            into.i64(producer.seen.as_millis());
            let batches: Vec<Remembered> = producer.batches.iter().copied().collect();
            into.list(&batches, |into, batch| {
                into.u32(batch.base_sequence.to_wire().cast_unsigned());
                into.u32(batch.last_sequence.to_wire().cast_unsigned());
                into.u64(batch.base_offset.value());
                into.u64(batch.next_offset.value());
            });
        });
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let offset = read_offset(fields)?;
        let producers = fields.list(|fields| {
            let id = ProducerId::new(fields.u64()?);
            let epoch = ProducerEpoch::new(fields.u16()?);
            let seen = Timestamp::from_millis(fields.i64()?);
            let batches = fields.list(read_batch)?.into();
            Some((id, Producer { epoch, seen, batches }))
        })?;
        Some(Self { offset, states: ProducerStates(producers.into_iter().collect()) })
    }
}

/// The file name of the snapshot before the newest.
pub(crate) const PREVIOUS_NAME: &str = "producers.snapshot.previous";

/// The snapshots that a partition keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshots {
    pub(crate) newest: Option<Snapshot>,
    pub(crate) previous: Option<Snapshot>,
    /// One of them is damaged.
    pub(crate) damaged: bool,
}

impl Snapshots {
    /// The latest one that is not of a later offset.
    pub(crate) fn latest_until(self, end: Offset) -> Option<Snapshot> {
        let fits = |snapshot: &Snapshot| snapshot.offset <= end;
        self.newest.filter(fits).or(self.previous.filter(fits))
    }
}

fn read_offset(fields: &mut Fields<'_>) -> Option<Offset> {
    Offset::try_from(fields.u64()?).ok()
}

fn read_sequence(fields: &mut Fields<'_>) -> Option<Sequence> {
    Sequence::from_wire(fields.u32()?.cast_signed())
}

fn read_batch(fields: &mut Fields<'_>) -> Option<Remembered> {
    Some(Remembered {
        base_sequence: read_sequence(fields)?,
        last_sequence: read_sequence(fields)?,
        base_offset: read_offset(fields)?,
        next_offset: read_offset(fields)?,
    })
}
