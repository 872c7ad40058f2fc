//! Goes through a segment file on its own, without index or neighbours.

use crate::disk::{Disk, DiskError};
use crate::segment::{self, Extent, Mode, Segment, Step, Walk};
use bytes::Bytes;
use grower_index::DenseIndex;
use grower_protocol::batch::{Batch, BatchHeader, HEADER_LENGTH};
use grower_protocol::ids::Offset;
use std::ops::{ControlFlow, Range};
use std::path::Path;

/// One thing that a segment file holds.
#[derive(Clone, Debug)]
pub enum Dumped {
    /// A sound batch.
    Batch {
        /// Where it begins in the file.
        position: u64,
        /// Its content.
        batch: Batch,
    },
    /// Bytes that are no batch. The dump goes on after them, if a batch can be found.
    Damaged {
        /// Where they lie.
        bytes: Range<u64>,
        /// What is wrong.
        what: String,
    },
    /// Zeros at the end: room that was allocated ahead.
    Room {
        /// Where they lie.
        bytes: Range<u64>,
    },
}

/// Tells `each` what the file at `path` holds, in order, until it breaks off. Its name gives the first offset; under
/// another name its first batch does.
pub fn dump(disk: &dyn Disk, path: &Path, mut each: impl FnMut(Dumped) -> ControlFlow<()>) -> Result<(), DiskError> {
    let file = disk.open(path)?;
    let length = file.len()?;
    let mut first = [0; HEADER_LENGTH];
    file.read_at(&mut first, 0)?;
    let by_name = path.file_name().and_then(|name| segment::base_of_log(name.to_str()?));
    let by_batch = || BatchHeader::parse(&first).map_or(Offset::ZERO, |header| header.base_offset);
    let base = by_name.unwrap_or_else(by_batch);
    let segment = Segment::growing(base, file, Box::new(DenseIndex::new(0)));
    let until = Extent { position: length, end: Offset::MAX };
    segment.set_extent(until);
    let mut walk = Walk::new(&segment, Mode::Content, Extent { position: 0, end: base }, until);
    while let Some(step) = walk.step()? {
        let dumped = match step {
            Step::Batch(found) => {
                let content = Bytes::copy_from_slice(walk.content(&found)?);
                match Batch::check(content) {
                    Ok(batch) => Dumped::Batch { position: found.bytes.start, batch },
                    Err(error) => Dumped::Damaged { bytes: found.bytes, what: error.to_string() },
                }
            }
            Step::Gap(gap) if gap.zeros => Dumped::Room { bytes: gap.bytes },
            Step::Gap(gap) => Dumped::Damaged { bytes: gap.bytes, what: gap.what },
        };
        if each(dumped).is_break() {
            break;
        }
    }
    Ok(())
}
