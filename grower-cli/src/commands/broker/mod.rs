//! `broker ..`: the broker itself and its settings.

mod alter;
mod describe;
mod settings;

pub(crate) use describe::percentiles;

use crate::session::Session;
use clap::Subcommand;

/// See how the broker is doing, and see and change its settings
#[derive(Debug, Subcommand)]
pub enum Broker {
    /// Show how the broker is doing: memory, disk, syncs, traffic
    Describe(describe::Describe),
    /// List every setting with its value, where that comes from, and whether it needs a restart
    Settings(settings::Settings),
    /// Change settings while the broker runs
    Alter(alter::Alter),
}

impl Broker {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self {
            Self::Describe(command) => command.run(session).await,
            Self::Settings(command) => command.run(session).await,
            Self::Alter(command) => command.run(session).await,
        }
    }
}
