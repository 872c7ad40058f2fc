//! Counts the failures that no caller observed, for the next flush.

use crate::error::{FlushError, ProduceError};
use parking_lot::Mutex;

/// The failed records that no caller observed since the last [`UnobservedFailures::take`].
#[derive(Debug, Default)]
pub(super) struct UnobservedFailures(Mutex<FailedRecords>);

/// A number of failed records, and the error of the first one.
#[derive(Debug, Default)]
pub(super) struct FailedRecords {
    pub(super) count: u64,
    first: Option<ProduceError>,
}

impl UnobservedFailures {
    /// Adds records that failed with `error`.
    pub(super) fn add(&self, count: u64, error: &ProduceError) {
        self.0.lock().add(count, error);
    }

    pub(super) fn take(&self) -> FailedRecords {
        std::mem::take(&mut self.0.lock())
    }
}

impl FailedRecords {
    pub(super) fn add(&mut self, count: u64, error: &ProduceError) {
        if 0 < count {
            self.count += count;
            self.first.get_or_insert_with(|| error.clone());
        }
    }

    pub(super) fn append(&mut self, later: Self) {
        self.count += later.count;
        self.first = self.first.take().or(later.first);
    }

    /// Fails if any record failed.
    pub(super) fn into_result(self) -> Result<(), FlushError> {
        self.first.map_or(Ok(()), |first| Err(FlushError { failed: self.count, first }))
    }
}
