//! `log ..`: looking into a data directory offline.

mod dump;
mod verify;

use crate::arguments::Common;
use clap::Subcommand;

/// Look into a data directory offline
///
/// Nothing is changed, and no broker is needed.
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Print the batches of a segment file with their records
    Dump(dump::Dump),
    /// Check every byte of a data directory
    Verify(verify::Verify),
}

impl Log {
    pub(crate) fn run(self, common: &Common) -> anyhow::Result<()> {
        match self {
            Self::Dump(command) => command.run(common),
            Self::Verify(command) => command.run(common),
        }
    }
}
