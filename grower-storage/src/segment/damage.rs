//! Records lost to damage.

use grower_protocol::ids::Offset;
use std::ops::Range;
use std::path::PathBuf;

/// Records that cannot be trusted: the offsets, the file and bytes that hold them, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The damaged file.
    pub path: PathBuf,
    /// The damaged bytes; empty if the file does not hold them.
    pub bytes: Range<u64>,
    /// The offsets of the lost records.
    pub offsets: Range<Offset>,
    /// The reason.
    pub reason: String,
}
