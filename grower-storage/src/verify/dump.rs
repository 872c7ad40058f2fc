//! Reads a segment file alone, without its index and neighbours.

use crate::disk::{Disk, DiskError};
use crate::segment::{self, LogPosition, ScanItem, ScanMode, Scanner, Segment};
use bytes::Bytes;
use grower_index::DenseIndex;
use grower_protocol::batch::{Batch, BatchHeader, HEADER_LENGTH};
use grower_protocol::ids::Offset;
use std::ops::{ControlFlow, Range};
use std::path::Path;

/// One item of a segment file.
#[derive(Clone, Debug)]
pub enum Dumped {
    /// A sound batch.
    Batch {
        /// Where it begins in the file.
        position: u64,
        /// The batch.
        batch: Batch,
    },
    /// Bytes that are no batch. The dump continues after them, if a batch can be found.
    Damaged {
        /// Where they lie.
        bytes: Range<u64>,
        /// The reason.
        reason: String,
    },
    /// Zeros at the end: allocated room.
    Room {
        /// Where they lie.
        bytes: Range<u64>,
    },
}

/// Calls `each` with every item of the file at `path`, in order, until it breaks. The file's name gives the first
/// offset; under another name the first batch does.
pub fn dump(disk: &dyn Disk, path: &Path, mut each: impl FnMut(Dumped) -> ControlFlow<()>) -> Result<(), DiskError> {
    let file = disk.open(path)?;
    let length = file.len()?;
    let mut first = [0; HEADER_LENGTH];
    file.read_at(&mut first, 0)?;
    let by_name = path.file_name().and_then(|name| segment::base_of_log(name.to_str()?));
    let by_batch = || BatchHeader::parse(&first).map_or(Offset::ZERO, |header| header.base_offset);
    let base = by_name.unwrap_or_else(by_batch);
    let segment = Segment::growing(base, file, Box::new(DenseIndex::new(0)));
    let until = LogPosition { bytes: length, offset: Offset::MAX };
    segment.set_end_position(until);
    let mut scanner = Scanner::new(&segment, ScanMode::Content, LogPosition::start_of(base), until);
    while let Some(item) = scanner.next_item()? {
        let dumped = match item {
            ScanItem::Batch(found) => {
                let content = Bytes::copy_from_slice(scanner.content(&found)?);
                match Batch::check(content) {
                    Ok(batch) => Dumped::Batch { position: found.bytes.start, batch },
                    Err(error) => Dumped::Damaged { bytes: found.bytes, reason: error.to_string() },
                }
            }
            ScanItem::Damaged { damage, zeros: true } => Dumped::Room { bytes: damage.bytes },
            ScanItem::Damaged { damage, zeros: false } => {
                Dumped::Damaged { bytes: damage.bytes, reason: damage.reason }
            }
        };
        if each(dumped).is_break() {
            break;
        }
    }
    Ok(())
}
