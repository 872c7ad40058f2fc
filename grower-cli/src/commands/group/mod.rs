//! `group ..`: shows consumer groups, resets and deletes them.

mod delete;
mod describe;
mod list;
mod reset;

use crate::session::Session;
use clap::Subcommand;

/// List, describe, reset and delete consumer groups
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List all groups
    List(list::ListGroupsCommand),
    /// Show a group: each partition with its committed offset, lag and owner
    Describe(describe::DescribeGroupCommand),
    /// Set a group's committed offsets in a topic
    Reset(reset::ResetGroupCommand),
    /// Delete a group with its committed offsets
    Delete(delete::DeleteGroupCommand),
}

impl GroupCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self {
            Self::List(command) => command.run(session).await,
            Self::Describe(command) => command.run(session).await,
            Self::Reset(command) => command.run(session).await,
            Self::Delete(command) => command.run(session).await,
        }
    }
}
