//! The age of records, from which the lag of readers in time is computed.

use super::Partition;
use grower_protocol::batch::{BatchHeader, HEADER_LENGTH};
use grower_protocol::ids::{Offset, Timestamp};

impl Partition {
    /// The timestamp of the batch that holds the first committed record from `offset` on, if it exists and can be read.
    /// Reads one batch header.
    pub(crate) fn timestamp_from(&self, offset: Offset) -> Option<Timestamp> {
        let offset = offset.max(self.reader.span().start);
        let slices = self.reader.read(offset, 1, self.high_watermark()).ok()?;
        let mut header = [0; HEADER_LENGTH];
        slices.first()?.read_into(&mut header, 0).ok()?;
        Some(BatchHeader::parse(&header).ok()?.max_timestamp)
    }
}
