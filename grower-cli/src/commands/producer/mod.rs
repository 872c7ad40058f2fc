//! `producer ..`: shows and deletes named producers.

mod delete;
mod describe;
mod list;

use crate::session::Session;
use clap::Subcommand;

/// List, describe and delete named producers
#[derive(Debug, Subcommand)]
pub enum ProducerCommand {
    /// List all named producers
    List(list::ListProducersCommand),
    /// Show a named producer with the last record that it wrote to each partition
    Describe(describe::DescribeProducerCommand),
    /// Delete named producers
    Delete(delete::DeleteProducersCommand),
}

impl ProducerCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self {
            Self::List(command) => command.run(session).await,
            Self::Describe(command) => command.run(session).await,
            Self::Delete(command) => command.run(session).await,
        }
    }
}
