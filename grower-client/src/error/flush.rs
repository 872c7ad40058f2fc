//! The error of a flush.

use super::ProduceError;

/// The error of [`Producer::flush`](crate::Producer::flush) and [`Producer::close`](crate::Producer::close): records
/// failed, or it is still open whether earlier ones are in the log.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{first}", Failed(*.failed))]
#[non_exhaustive]
pub struct FlushError {
    /// The number of records that failed since the last flush and were not reported. 0 if all were, but the outcome of
    /// some is still unknown: flush again.
    pub failed: u64,
    /// The error of the first one.
    #[source]
    pub first: ProduceError,
}

/// The number of failed records, in words.
struct Failed(u64);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str("a record failed: "),
            failed => write!(f, "{failed} records failed, the first one: "),
        }
    }
}
