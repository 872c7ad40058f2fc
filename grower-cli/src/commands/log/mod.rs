//! `log ..`: inspects, verifies and repairs a data directory offline.

mod dump;
mod repair;
mod verify;

use crate::options::GlobalOptions;
use clap::Subcommand;

/// Inspect, verify and repair a data directory offline
///
/// No broker is needed. verify and repair refuse a directory on which a broker runs. Only repair changes files.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Print the batches of a segment file with their records
    Dump(dump::DumpSegmentCommand),
    /// Check every byte of a data directory
    Verify(verify::VerifyLogCommand),
    /// Give up damaged records that have no other copy
    Repair(repair::RepairLogCommand),
}

impl LogCommand {
    pub(crate) fn run(self, options: &GlobalOptions) -> anyhow::Result<()> {
        match self {
            Self::Dump(command) => command.run(options),
            Self::Verify(command) => command.run(options),
            Self::Repair(command) => command.run(options),
        }
    }
}
