//! The error of sending many records.

use super::ProduceError;
use crate::acks::RecordAcks;
use std::fmt;
use std::ops::Range;

/// The error of sending many records: some failed, each with its own error, and all others are acknowledged.
///
/// Records are counted from 0 in the input, so that a caller can send exactly the failed ones again.
/// [`ProduceError::outcome`] tells which of them may be in the log.
#[derive(Clone, Debug)]
pub struct SendAllError {
    acks: RecordAcks,
    failed: Vec<FailedRange>,
}

/// Consecutive records of the input that failed with the same error.
#[derive(Clone, Debug)]
pub struct FailedRange {
    /// The records, counted from 0 in the input.
    pub records: Range<usize>,
    /// The error of each record.
    pub error: ProduceError,
}

impl SendAllError {
    pub(crate) fn new(acks: RecordAcks, failed: Vec<FailedRange>) -> Self {
        debug_assert!(!failed.is_empty(), "no record failed");
        debug_assert!(failed.is_sorted_by(|one, next| one.records.end <= next.records.start), "{failed:?}");
        Self { acks, failed }
    }

    /// The acks of the other records.
    pub fn acks(&self) -> &RecordAcks {
        &self.acks
    }

    /// The failed records by ranges, in the order of the input.
    pub fn failed(&self) -> &[FailedRange] {
        &self.failed
    }

    /// Iterates over the index of each failed record and its error, in the order of the input.
    pub fn failures(&self) -> impl Iterator<Item = (usize, &ProduceError)> {
        self.failed.iter().flat_map(|range| range.records.clone().map(|index| (index, &range.error)))
    }
}

impl fmt::Display for SendAllError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed: usize = self.failed.iter().map(|range| range.records.len()).sum();
        write!(f, "{failed} of {} records failed", failed + self.acks.len())?;
        self.failed.first().map_or(Ok(()), |range| write!(f, ", first record {}", range.records.start))
    }
}

/// The source is the error of the first failed record.
impl std::error::Error for SendAllError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failed.first().map(|range| &range.error as _)
    }
}
