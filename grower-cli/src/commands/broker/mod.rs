//! `broker ..`: the broker itself and its settings.

mod alter;
mod describe;
mod settings;

use crate::session::Session;
use clap::Subcommand;

/// Describe the broker, list and change its settings
#[derive(Debug, Subcommand)]
pub enum BrokerCommand {
    /// Show the broker: memory, disk, syncs, traffic
    Describe(describe::DescribeBrokerCommand),
    /// List every setting with its value, its origin, and whether a change needs a restart
    Settings(settings::ListSettingsCommand),
    /// Change settings while the broker runs
    Alter(alter::AlterSettingsCommand),
}

impl BrokerCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self {
            Self::Describe(command) => command.run(session).await,
            Self::Settings(command) => command.run(session).await,
            Self::Alter(command) => command.run(session).await,
        }
    }
}
