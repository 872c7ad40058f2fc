//! The error of a flush.

use super::ProduceError;

/// Records failed since the last flush.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{first}", Failed(*.failed))]
#[non_exhaustive]
pub struct FlushError {
    /// The number of failed records. None if all failures were reported before and the outcome of some is still unknown.
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
