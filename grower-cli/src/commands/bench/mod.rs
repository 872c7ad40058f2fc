//! `bench ..`: measures a broker with generated records.

mod consume;
mod end_to_end;
mod latency;
mod produce;
mod reader_cost;

use crate::session::Session;
use anyhow::Context;
use clap::{Args, Subcommand};
use grower_client::{Client, ErrorCode, TopicSpec};

/// Measure a broker, with a progress bar and a latency table
///
/// A missing topic is created, and stays.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Write records at full speed
    Produce(produce::BenchProduceCommand),
    /// Read a topic from beginning to end at full speed
    Consume(consume::BenchConsumeCommand),
    /// Send records one by one, and measure how long each takes to a consumer
    EndToEnd(end_to_end::BenchEndToEndCommand),
}

/// The topic of a bench.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchTopic {
    /// The topic; created if missing
    #[arg(long, value_name = "NAME", default_value = "grower-bench")]
    topic: String,
    /// Partitions of the topic, if it is created
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    partitions: u32,
}

impl BenchCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self {
            Self::Produce(command) => command.run(session).await,
            Self::Consume(command) => command.run(session).await,
            Self::EndToEnd(command) => command.run(session).await,
        }
    }
}

impl BenchTopic {
    async fn create(&self, client: &Client) -> anyhow::Result<()> {
        match client.admin().create_topic(&self.topic, TopicSpec::partitions(self.partitions)).await {
            Err(error) if error.code() != Some(ErrorCode::TopicExists) => Err(error).context("cannot create the topic"),
            _ => Ok(()),
        }
    }
}

/// Bytes that do not compress, the same on every run.
fn payload(bytes: usize) -> bytes::Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    next.take(bytes).collect()
}
