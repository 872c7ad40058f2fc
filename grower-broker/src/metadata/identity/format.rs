//! The format of a data directory, and the way from an older one to the present.
//!
//! Each step turns a directory of one format into one of the next, and may be repeated: whatever a crash left of it, it
//! finishes. The number in `meta` is raised after a step, never before, so that a crash leads back into the same step.
//! A program that is older than the directory refuses it from then on.

use grower_storage::disk::{Disk, DiskError};
use std::path::Path;

/// What this program writes.
pub(super) const FORMAT: u32 = 1;

/// The formats that a program knows.
pub(super) struct Formats {
    /// The one that it writes.
    pub(super) current: u32,
    /// How older ones are led on, oldest first, without a gap up to `current`.
    pub(super) steps: &'static [UpgradeStep],
}

/// From one format to the next.
pub(super) struct UpgradeStep {
    pub(super) from: u32,
    /// Changes what must be changed, durably; it may find its own work half done or done.
    pub(super) run: fn(&dyn Disk, &Path) -> Result<(), DiskError>,
}

/// Format 1 is the first that anybody has.
pub(super) const KNOWN: Formats = Formats { current: FORMAT, steps: &[] };

impl Formats {
    /// The step that leads on from `format`; none if nobody can.
    pub(super) fn step_from(&self, format: u32) -> Option<&UpgradeStep> {
        self.steps.iter().find(|step| step.from == format)
    }
}
