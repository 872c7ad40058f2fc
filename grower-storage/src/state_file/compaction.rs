//! `compaction`: how far a log is compacted, and which segments are being replaced. It is the manifest that publishes
//! compacted segments: once it is durable they count, even if files still have their old names.

use super::{FieldReader, FieldWriter, StateFile};
use grower_protocol::ids::Offset;
use std::ops::Range;

/// The state of compaction that must survive a crash.
///
/// Body: cleaned end offset u64 | replacement under way: 0, or 1, u32 | its first offset u64 | its end offset u64 |
/// bytes of the new log file u64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CompactionState {
    /// Below it each key has at most one record.
    pub(crate) cleaned_end: Offset,
    /// A replacement to finish before anything else.
    pub(crate) replacing: Option<PendingReplacement>,
}

/// Segments that one compacted segment replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingReplacement {
    /// From the base offset of the first, which is also that of the new one, to that of the segment after the last.
    pub(crate) offsets: Range<Offset>,
    /// Length of the new log file.
    pub(crate) bytes: u64,
}

impl StateFile for CompactionState {
    const KIND: [u8; 4] = *b"GWco";
    const VERSION: u16 = 1;
    const NAME: &'static str = "compaction";

    fn write(&self, into: &mut FieldWriter) {
        into.u64(self.cleaned_end.value());
        into.u32(self.replacing.is_some().into());
        let PendingReplacement { offsets, bytes } =
            self.replacing.clone().unwrap_or(PendingReplacement { offsets: Offset::ZERO..Offset::ZERO, bytes: 0 });
        into.u64(offsets.start.value());
        into.u64(offsets.end.value());
        into.u64(bytes);
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<Self> {
        let offset = |fields: &mut FieldReader<'_>| Offset::try_from(fields.u64()?).ok();
        let cleaned_end = offset(fields)?;
        let under_way = fields.u32()?;
        let replacing = PendingReplacement { offsets: offset(fields)?..offset(fields)?, bytes: fields.u64()? };
        match under_way {
            0 => Some(Self { cleaned_end, replacing: None }),
            1 => Some(Self { cleaned_end, replacing: Some(replacing) }),
            _ => None,
        }
    }
}
