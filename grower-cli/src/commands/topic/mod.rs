//! `topic ..`: creates, changes, shows and deletes topics.

mod alter;
mod create;
mod delete;
mod describe;
mod grow;
mod list;
mod trim;

use crate::session::Session;
use clap::Subcommand;

/// Create, list, describe, alter, grow, trim and delete topics
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create topics
    Create(create::CreateTopicCommand),
    /// List all topics with sizes and rates, and when the disk will be full
    List(list::ListTopicsCommand),
    /// Show a topic: its configs, partitions, and on request segments and records
    Describe(describe::DescribeTopicCommand),
    /// Change a topic's configs
    Alter(alter::AlterTopicCommand),
    /// Add partitions to a topic
    Grow(grow::GrowTopicCommand),
    /// Drop the oldest records of a topic, or of one partition
    Trim(trim::TrimTopicCommand),
    /// Delete a topic with all its records
    Delete(delete::DeleteTopicCommand),
}

impl TopicCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self {
            Self::Create(command) => command.run(session).await,
            Self::List(command) => command.run(session).await,
            Self::Describe(command) => command.run(session).await,
            Self::Alter(command) => command.run(session).await,
            Self::Grow(command) => command.run(session).await,
            Self::Trim(command) => command.run(session).await,
            Self::Delete(command) => command.run(session).await,
        }
    }
}

/// The config keys that every topic has, for the help of `create` and `alter`.
fn config_help() -> String {
    format!(
        "Config keys (sizes take KiB, MiB, GiB; times take ms, s, m, h, d):\n{}",
        grower_broker::topic_config_help()
    )
}
