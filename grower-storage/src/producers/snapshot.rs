//! `producers.snapshot`: the producers as of an offset, so that an opening need not read all headers.
//!
//! A snapshot is never of a later offset than the durable end at that time, so a crash never removes records that it
//! knows. The previous snapshot is kept as `producers.snapshot.previous`, for a truncated log and for a damaged newest
//! one.

use super::{ProducerState, ProducerStates, RecentBatch};
use crate::state_file::{FieldReader, FieldWriter, StateFile};
use grower_protocol::ids::{LastWritten, Offset, ProducerEpoch, ProducerId, ProducerIdentity, Sequence, Timestamp};

/// The producers of all batches before `offset`.
///
/// Body: offset u64 | count u32, then for each producer: id u64 | epoch u16 | seen i64 | record before the epoch: 0, or 1
/// and id u64, epoch u16, sequence u32, offset u64; u32 | count u32, then for each batch: epoch u16 | base sequence u32 |
/// base offset u64 | records u32.
///
/// Version 1 has no record before the epoch. Its batches are of that epoch: base sequence u32 | last sequence u32 | base
/// offset u64 | next offset u64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerSnapshot {
    pub(crate) offset: Offset,
    pub(crate) states: ProducerStates,
}

impl StateFile for ProducerSnapshot {
    const KIND: [u8; 4] = *b"GWps";
    const VERSION: u16 = 2;
    const NAME: &'static str = "producers.snapshot";

    fn write(&self, into: &mut FieldWriter) {
        into.u64(self.offset.value());
        let producers: Vec<(&ProducerId, &ProducerState)> = self.states.iter().collect();
        into.list(&producers, |into, (id, producer)| {
            into.u64(id.value());
            into.u16(producer.epoch.value());
            into.i64(producer.seen.as_millis());
            into.list(producer.previous().as_slice(), write_last);
            let batches: Vec<RecentBatch> = producer.batches.iter().copied().collect();
            into.list(&batches, |into, batch| {
                into.u16(batch.epoch.value());
                into.u32(batch.base_sequence.to_wire().cast_unsigned());
                into.u64(batch.base_offset.value());
                into.u32(batch.records);
            });
        });
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<Self> {
        read_snapshot(fields, |fields, epoch, seen| {
            let mut previous = fields.list(read_last)?;
            let batches = fields.list(read_batch)?.into();
            let state = ProducerState { epoch, seen, previous: previous.pop().map(Box::new), batches };
            previous.is_empty().then_some(state)
        })
    }

    fn read_earlier(version: u16, fields: &mut FieldReader<'_>) -> Option<Self> {
        let read_state = |fields: &mut FieldReader<'_>, epoch, seen| {
            let batches = fields.list(|fields| read_earlier_batch(fields, epoch))?;
            Some(ProducerState { epoch, seen, previous: None, batches: batches.into() })
        };
        (version == 1).then(|| read_snapshot(fields, read_state)).flatten()
    }
}

/// Reads a snapshot whose states, after the fields that all versions have, are read by `read_state`.
fn read_snapshot(
    fields: &mut FieldReader<'_>,
    read_state: impl Fn(&mut FieldReader<'_>, ProducerEpoch, Timestamp) -> Option<ProducerState>,
) -> Option<ProducerSnapshot> {
    let offset = read_offset(fields)?;
    let producers = fields.list(|fields| {
        let id = ProducerId::new(fields.u64()?);
        let epoch = ProducerEpoch::new(fields.u16()?);
        let seen = Timestamp::from_millis(fields.i64()?);
        let producer = read_state(fields, epoch, seen)?;
        producer.is_sound(id, offset).then_some((id, producer))
    })?;
    Some(ProducerSnapshot { offset, states: producers.into_iter().collect() })
}

/// The file name of the previous snapshot.
pub(crate) const PREVIOUS_NAME: &str = "producers.snapshot.previous";

/// The snapshots that a partition keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProducerSnapshots {
    pub(crate) newest: Option<ProducerSnapshot>,
    pub(crate) previous: Option<ProducerSnapshot>,
    /// One of them is damaged.
    pub(crate) damaged: bool,
}

impl ProducerSnapshots {
    /// The latest one at or before an offset.
    pub(crate) fn latest_until(self, end: Offset) -> Option<ProducerSnapshot> {
        let fits = |snapshot: &ProducerSnapshot| snapshot.offset <= end;
        self.newest.filter(fits).or(self.previous.filter(fits))
    }
}

fn read_offset(fields: &mut FieldReader<'_>) -> Option<Offset> {
    Offset::try_from(fields.u64()?).ok()
}

fn read_sequence(fields: &mut FieldReader<'_>) -> Option<Sequence> {
    Sequence::from_wire(fields.u32()?.cast_signed())
}

fn read_batch(fields: &mut FieldReader<'_>) -> Option<RecentBatch> {
    Some(RecentBatch {
        epoch: ProducerEpoch::new(fields.u16()?),
        base_sequence: read_sequence(fields)?,
        base_offset: read_offset(fields)?,
        records: fields.u32()?,
    })
}

fn read_earlier_batch(fields: &mut FieldReader<'_>, epoch: ProducerEpoch) -> Option<RecentBatch> {
    let (base_sequence, last_sequence) = (read_sequence(fields)?, read_sequence(fields)?);
    let (base_offset, next_offset) = (read_offset(fields)?, read_offset(fields)?);
    let records = u32::try_from(next_offset.since(base_offset)).ok()?;
    let last = base_sequence.wrapping_add(records.checked_sub(1)?);
    (last == last_sequence).then_some(RecentBatch { epoch, base_sequence, base_offset, records })
}

fn write_last(into: &mut FieldWriter, last: &LastWritten) {
    into.u64(last.producer.id.value());
    into.u16(last.producer.epoch.value());
    into.u32(last.sequence.to_wire().cast_unsigned());
    into.u64(last.offset.value());
}

fn read_last(fields: &mut FieldReader<'_>) -> Option<LastWritten> {
    let producer = ProducerIdentity { id: ProducerId::new(fields.u64()?), epoch: ProducerEpoch::new(fields.u16()?) };
    Some(LastWritten { producer, sequence: read_sequence(fields)?, offset: read_offset(fields)? })
}
