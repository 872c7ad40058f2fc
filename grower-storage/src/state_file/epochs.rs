//! `leader-epochs`: the epochs of the log.

use super::{FieldReader, FieldWriter, StateFile};
use crate::epochs::{EpochHistory, EpochStart};
use grower_protocol::ids::{LeaderEpoch, Offset};

/// Body: count u32, then for each epoch: epoch u32 | start offset u64.
impl StateFile for EpochHistory {
    const KIND: [u8; 4] = *b"GWle";
    const VERSION: u16 = 1;
    const NAME: &'static str = "leader-epochs";

    fn write(&self, into: &mut FieldWriter) {
        into.list(self.entries(), |into, entry| {
            into.u32(entry.epoch.value());
            into.u64(entry.start.value());
        });
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<Self> {
        let entries = fields.list(|fields| {
            let epoch = LeaderEpoch::new(fields.u32()?);
            Some(EpochStart { epoch, start: Offset::try_from(fields.u64()?).ok()? })
        })?;
        Self::from_entries(entries)
    }
}
