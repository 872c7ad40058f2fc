//! `checkpoint`: the log start, the durable end, and a pending truncation.

use super::{FieldReader, FieldWriter, StateFile};
use grower_protocol::ids::Offset;

/// The facts that recovery relies on.
///
/// Body: log start offset u64 | durable end offset u64 | durable segment, its base offset, u64 | durable position in it
/// u64 | truncation under way: 0, or 1 and its end offset; u32, u64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Everything before it is dropped, even if files still hold it.
    pub(crate) log_start: Offset,
    /// Known durable: offset, segment and position.
    pub(crate) durable: DurableEnd,
    /// A pending truncation: everything from this offset on is dropped before anything else.
    pub(crate) truncating: Option<Offset>,
}

/// The durable end of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DurableEnd {
    /// The offset after the last durable record.
    pub(crate) end: Offset,
    /// The segment that was active then, by its base offset.
    pub(crate) segment: Offset,
    /// Bytes of that segment which are durable.
    pub(crate) position: u64,
}

impl StateFile for Checkpoint {
    const KIND: [u8; 4] = *b"GWcp";
    const VERSION: u16 = 1;
    const NAME: &'static str = "checkpoint";

    fn write(&self, into: &mut FieldWriter) {
        into.u64(self.log_start.value());
        into.u64(self.durable.end.value());
        into.u64(self.durable.segment.value());
        into.u64(self.durable.position);
        into.u32(self.truncating.is_some().into());
        into.u64(self.truncating.unwrap_or_default().value());
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<Self> {
        let offset = |fields: &mut FieldReader<'_>| Offset::try_from(fields.u64()?).ok();
        let log_start = offset(fields)?;
        let durable = DurableEnd { end: offset(fields)?, segment: offset(fields)?, position: fields.u64()? };
        let truncating = match (fields.u32()?, offset(fields)?) {
            (0, _) => None,
            (1, end) => Some(end),
            _ => return None,
        };
        let makes_sense = durable.segment <= durable.end && truncating.is_none_or(|end| log_start <= end);
        makes_sense.then_some(Self { log_start, durable, truncating })
    }
}
