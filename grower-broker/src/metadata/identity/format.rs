//! The format of a data directory, and upgrades from older ones.
//!
//! Each step upgrades a directory to the next format. It can be repeated, and finishes whatever a crash left of it.
//! The number in `meta` is raised after the step, so that a crash leads back to the same step. An older program
//! refuses the directory from then on.

use grower_storage::disk::{Disk, DiskError};
use std::path::Path;

/// The format that this program writes.
pub(super) const FORMAT: u32 = 1;

/// The formats that a program knows.
pub(super) struct Formats {
    /// The format that it writes.
    pub(super) current: u32,
    /// Upgrades of older formats, oldest first, without a gap up to `current`.
    pub(super) steps: &'static [UpgradeStep],
}

/// The upgrade from one format to the next.
pub(super) struct UpgradeStep {
    pub(super) from: u32,
    /// Makes the changes, durably; it may find them partly or wholly done.
    pub(super) run: fn(&dyn Disk, &Path) -> Result<(), DiskError>,
}

/// Format 1 is the first released one.
pub(super) const KNOWN: Formats = Formats { current: FORMAT, steps: &[] };

impl Formats {
    /// The upgrade from `format`, if there is one.
    pub(super) fn step_from(&self, format: u32) -> Option<&UpgradeStep> {
        self.steps.iter().find(|step| step.from == format)
    }
}
