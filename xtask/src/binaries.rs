//! The binaries that people install, as clap knows them.

use clap::{Command, CommandFactory};

/// Their command lines.
pub(crate) fn binaries() -> [Command; 2] {
    [grower_broker::flags::Flags::command(), grower_cli::Arguments::command()]
}
