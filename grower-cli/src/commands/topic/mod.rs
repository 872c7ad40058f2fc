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
const CONFIG_HELP: &str = "Config keys (sizes take KiB, MiB, GiB; times take ms, s, m, h, d):
  segment.bytes 1GiB            a segment rolls before it exceeds this size
  segment.messages              .. or this number of records (not set)
  segment.ms 1d                 .. or at this age, also without new records
  retention.ms 5d               the oldest segment is dropped at this age
  retention.bytes               .. or once the others hold this many bytes (not set)
  retention.messages            .. or once the others cover this many offsets (not set)
  index.interval.bytes 4KiB     bytes of log per index entry; 0: an entry for every batch
  max.message.bytes 1MiB        the largest batch that is accepted
  cleanup.policy delete         delete, compact (keeps each key's last record), or compact,delete
  delete.retention.ms 1d        a tombstone stays this long, so that readers see it
  min.cleanable.dirty.ratio 0.5 compaction starts when this share of the log is not compacted yet
  min.compaction.lag.ms 0       records younger than this are not compacted
  flush fsync                   durability of an ack: fsync, on disk; os, in the system's memory
  message.timestamp.after.max.ms 1h  how far a record's time may be ahead of the broker's clock";
