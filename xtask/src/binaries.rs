//! The command lines of the installed binaries.

use clap::{Command, CommandFactory};

/// Returns the command lines of both binaries.
pub(crate) fn binaries() -> [Command; 2] {
    [grower_broker::flags::Flags::command(), grower_cli::Arguments::command()]
}
