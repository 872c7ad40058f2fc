//! A fault that a check reports, and the remedy for it.

use crate::recovery::Directory;
use crate::segment::{self, Damage};
use grower_protocol::ids::Offset;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// A fault in a file, as a check reports it. Unlike [`Damage`] it may concern a file as a whole and cost no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// The bytes in it; none for the whole file.
    pub bytes: Option<Range<u64>>,
    /// The offsets of the records that are lost; none if no record is.
    pub offsets: Option<Range<Offset>>,
    /// The reason.
    pub reason: String,
    /// The remedy.
    pub remedy: Remedy,
}

/// How a fault is mended. A finding is made with its remedy, and repair goes by it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Records are lost, unless another copy has them: an operator accepts that, by offsets.
    AcceptLoss,
    /// A partition has lost all its files: an operator accepts that, and it starts empty.
    AcceptLostPartition,
    /// An index disagrees with its log, which costs no record: `log repair` or the next start rebuilds it.
    RebuildIndex,
    /// No record is lost; the next start of a broker does what there is to do.
    NextStart,
    /// Only a backup helps.
    RestoreBackup,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        let bytes = self.bytes.as_ref().map(|bytes| format!("bytes {}..{}", bytes.start, bytes.end));
        let offsets = self.offsets.as_ref().map(|offsets| format!("offsets {}..{}", offsets.start, offsets.end));
        let place: Vec<String> = bytes.into_iter().chain(offsets).collect();
        if !place.is_empty() {
            write!(f, "{}: ", place.join(" "))?;
        }
        write!(f, "{}", self.reason)
    }
}

impl Finding {
    /// A fault of a file as a whole that is not a loss of certain records.
    pub fn file(path: PathBuf, remedy: Remedy, reason: impl Into<String>) -> Self {
        debug_assert_ne!(remedy, Remedy::AcceptLoss, "a loss is accepted by offsets");
        Self { path, bytes: None, offsets: None, reason: reason.into(), remedy }
    }

    /// The records to accept as lost; none under another remedy.
    pub fn acceptable_loss(&self) -> Option<Damage> {
        if self.remedy != Remedy::AcceptLoss {
            return None;
        }
        let offsets = self.offsets.clone().expect("a loss is accepted by offsets");
        let bytes = self.bytes.clone().unwrap_or(0..0);
        Some(Damage { path: self.path.clone(), bytes, offsets, reason: self.reason.clone() })
    }

    /// Whether it matters after the truncation to `end` that the next opening finishes. Files above the cut may be
    /// missing, and the index of the cut segment is rebuilt from its log.
    pub(super) fn stays_after_truncation(&self, directory: &Directory, end: Offset) -> bool {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let cut = directory.logs.iter().rfind(|base| **base <= end).copied().unwrap_or_default();
        match (&self.offsets, segment::base_of_log(name).or_else(|| segment::base_of_index(name))) {
            (Some(offsets), _) => offsets.start < end,
            (None, Some(base)) => base < cut,
            (None, None) => true,
        }
    }
}

impl From<Damage> for Finding {
    fn from(damage: Damage) -> Self {
        let offsets = (damage.offsets.start < damage.offsets.end).then_some(damage.offsets);
        let remedy = if offsets.is_some() { Remedy::AcceptLoss } else { Remedy::NextStart };
        Self { path: damage.path, bytes: Some(damage.bytes), offsets, reason: damage.reason, remedy }
    }
}
