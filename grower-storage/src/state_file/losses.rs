//! `accepted-losses`: the losses that an operator accepted, and the pending exchange of files that follows.

use super::{DurableEnd, FieldReader, FieldWriter, StateFile};
use grower_protocol::ids::{Offset, Timestamp};
use std::ops::Range;

/// Damaged records whose loss an operator accepted: the audit record. The offsets stay taken, and readers step over
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedLoss {
    /// The offsets of the records.
    pub offsets: Range<Offset>,
    /// The time of the consent.
    pub at: Timestamp,
    /// The user, as the system names them.
    pub by: String,
    /// The damage.
    pub reason: String,
    /// The file under `cut/` that keeps the damaged bytes; empty if there were none.
    pub kept: String,
    /// The number of those bytes.
    pub bytes: u64,
    /// Their crc32.
    pub crc: u32,
}

/// All losses ever accepted, oldest first, and a pending exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AcceptedLosses {
    pub(crate) losses: Vec<AcceptedLoss>,
    pub(crate) exchange: Option<FileExchange>,
}

/// Files that wait to replace others. The next opening carries it out first; it may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileExchange {
    /// Segments with a new log and a new index, under temporary names.
    pub(crate) segments: Vec<Offset>,
    /// Indexes without a log, to be removed.
    pub(crate) orphans: Vec<Offset>,
    /// The new durable end; none if the end does not change.
    pub(crate) durable: Option<DurableEnd>,
}

/// Body: count u32, then each loss: start u64 | end u64 | at i64 | by, what, kept: length u32 and text | bytes u64 |
/// crc u32; then 0 or 1 u32, and with 1: segments and orphans: count u32 and base offsets u64 | 0 or 1 u32 | durable
/// end, 3 x u64.
impl StateFile for AcceptedLosses {
    const KIND: [u8; 4] = *b"GWal";
    const VERSION: u16 = 1;
    const NAME: &'static str = "accepted-losses";

    fn write(&self, into: &mut FieldWriter) {
        into.list(&self.losses, |into, loss| {
            into.u64(loss.offsets.start.value());
            into.u64(loss.offsets.end.value());
            into.i64(loss.at.as_millis());
            [&loss.by, &loss.reason, &loss.kept].into_iter().for_each(|text| write_text(into, text));
            into.u64(loss.bytes);
            into.u32(loss.crc);
        });
        into.u32(self.exchange.is_some().into());
        let Some(exchange) = &self.exchange else { return };
        into.list(&exchange.segments, |into, base| into.u64(base.value()));
        into.list(&exchange.orphans, |into, base| into.u64(base.value()));
        into.u32(exchange.durable.is_some().into());
        let durable = exchange.durable.unwrap_or_default();
        [durable.end.value(), durable.segment.value(), durable.position].into_iter().for_each(|field| into.u64(field));
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<Self> {
        let losses = fields.list(read_loss)?;
        let exchange = match fields.u32()? {
            0 => None,
            1 => Some(read_exchange(fields)?),
            _ => return None,
        };
        Some(Self { losses, exchange })
    }
}

fn read_loss(fields: &mut FieldReader<'_>) -> Option<AcceptedLoss> {
    Some(AcceptedLoss {
        offsets: read_offset(fields)?..read_offset(fields)?,
        at: Timestamp::from_millis(fields.i64()?),
        by: read_text(fields)?,
        reason: read_text(fields)?,
        kept: read_text(fields)?,
        bytes: fields.u64()?,
        crc: fields.u32()?,
    })
}

fn read_exchange(fields: &mut FieldReader<'_>) -> Option<FileExchange> {
    let segments = fields.list(read_offset)?;
    let orphans = fields.list(read_offset)?;
    let has_durable = fields.u32()?;
    let durable = DurableEnd { end: read_offset(fields)?, segment: read_offset(fields)?, position: fields.u64()? };
    let durable = (has_durable == 1).then_some(durable);
    durable.is_none_or(|durable| durable.segment <= durable.end).then_some(FileExchange { segments, orphans, durable })
}

fn read_offset(fields: &mut FieldReader<'_>) -> Option<Offset> {
    Offset::try_from(fields.u64()?).ok()
}

fn write_text(into: &mut FieldWriter, text: &str) {
    into.list(text.as_bytes(), |into, byte| into.bytes(&[*byte]));
}

fn read_text(fields: &mut FieldReader<'_>) -> Option<String> {
    let length = fields.u32()? as usize;
    String::from_utf8(fields.take(length)?.to_vec()).ok()
}
