//! The files of a partition, as a backup takes them.
//!
//! A segment with a successor is never written to again, and the small files are only ever replaced: a second name for
//! such a file is as good as a copy. The last segment of a log that is not open may be written to by the next who opens
//! it, so its sound part is to be copied.

use crate::disk::{Disk, DiskError};
use crate::epochs::EpochHistory;
use crate::kept::{self, AcceptedLosses, Checkpoint, CompactionState, Identity, Kept, KeptError};
use crate::producers::{PREVIOUS_NAME, Snapshot};
use crate::recovery::{Directory, look_at_last};
use crate::segment;
use grower_protocol::ids::Offset;
use std::path::Path;

/// One file of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its name in the partition's directory.
    pub name: String,
    /// How much of it to copy, since it may be written to later; none for a file that never is.
    pub copy: Option<u64>,
}

impl Piece {
    pub(crate) fn never_written(name: impl Into<String>) -> Self {
        Self { name: name.into(), copy: None }
    }

    /// Whether it is the log or the index of a segment: such a file goes only when its segment is dropped or written
    /// anew, while the small ones are replaced all the time.
    pub fn is_of_segment(&self) -> bool {
        segment::base_of_log(&self.name).or_else(|| segment::base_of_index(&self.name)).is_some()
    }
}

/// The small files that a partition may have.
const SMALL: [&str; 7] = [
    Identity::NAME,
    EpochHistory::NAME,
    Checkpoint::NAME,
    Snapshot::NAME,
    PREVIOUS_NAME,
    CompactionState::NAME,
    AcceptedLosses::NAME,
];

/// The pieces of a partition that nobody has open; none if something was begun there that only opening it finishes.
pub fn pieces_of_stopped(disk: &dyn Disk, dir: &Path) -> Result<Option<Vec<Piece>>, DiskError> {
    let Some(directory) = Directory::list(disk, dir)? else { return Ok(Some(Vec::new())) };
    let checkpoint = found(kept::load::<Checkpoint>(disk, dir))?;
    let losses = found(kept::load::<AcceptedLosses>(disk, dir))?;
    let truncating = checkpoint.is_some_and(|checkpoint| checkpoint.truncating.is_some());
    let compaction = found(kept::load::<CompactionState>(disk, dir))?;
    let compacting = compaction.is_some_and(|compaction| compaction.replacing.is_some());
    if truncating || compacting || losses.is_some_and(|losses| losses.exchange.is_some()) {
        return Ok(None);
    }
    let mut pieces = Vec::new();
    if let Some((last, sealed)) = directory.logs.split_last() {
        pieces.extend(sealed_pieces(&directory, sealed));
        let looked = look_at_last(disk, dir, *last, checkpoint.as_ref(), None)?;
        // Damage below the durable end is kept as it is; above it there is nothing that anybody relies on.
        let sound = if looked.damage.is_empty() { looked.end.position } else { looked.length };
        pieces.push(Piece { name: segment::log_name(*last), copy: Some(sound) });
        if directory.indexes.binary_search(last).is_ok() {
            pieces.push(Piece { name: segment::index_name(*last), copy: Some(u64::MAX) });
        }
    }
    pieces.extend(small_pieces(&directory));
    Ok(Some(pieces))
}

/// Segments that are never written to again, as far as they have their files.
pub(crate) fn sealed_pieces(directory: &Directory, bases: &[Offset]) -> Vec<Piece> {
    let has_index = |base: &Offset| directory.indexes.binary_search(base).is_ok();
    let pieces = bases.iter().flat_map(|base| {
        let index = has_index(base).then(|| Piece::never_written(segment::index_name(*base)));
        std::iter::once(Piece::never_written(segment::log_name(*base))).chain(index)
    });
    pieces.collect()
}

/// The small files that are there.
pub(crate) fn small_pieces(directory: &Directory) -> impl Iterator<Item = Piece> {
    SMALL.into_iter().filter(|name| directory.has(name)).map(Piece::never_written)
}

/// Damage is no reason not to keep what is there.
fn found<T>(loaded: Result<T, KeptError>) -> Result<Option<T>, DiskError> {
    match loaded {
        Ok(content) => Ok(Some(content)),
        Err(KeptError::Disk(error)) => Err(error),
        Err(_) => Ok(None),
    }
}
