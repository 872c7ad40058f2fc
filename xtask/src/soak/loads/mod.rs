//! The loads of a soak, which run at once.

mod backups;
mod churn;
mod compacted;
mod flips;
mod group;
mod idle;
mod jumps;
mod overtaken;
mod polls;
mod recreated;
mod scrape;
mod slow;
mod stalled;
mod stream;

pub(super) use group::finish as finish_group;

use super::SoakTarget;
use super::tally::Tally;
use crate::bench::bench_broker::BenchBroker;
use crate::bench::ledger::{Ledger, WriterShare};
use crate::bench::workload;
use crate::stop::Stop;
use stream::StreamLoad;

/// One load.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    Stream(StreamLoad),
    Members { steady: bool },
    Slow,
    Stalled,
    Churn,
    Compacted,
    Backups,
    Scrape,
    Idle,
    Recreated,
    Flips,
    Jumps,
    Polls,
    Overtaken,
}

impl Load {
    /// The loads of a broker with plenty of resources.
    pub(super) fn usual() -> Vec<Self> {
        let steady = Self::Members { steady: true };
        let members = [steady, steady, Self::Members { steady: false }];
        let others = [Self::Slow, Self::Stalled, Self::Churn, Self::Compacted, Self::Backups, Self::Scrape, Self::Idle];
        stream::STREAMS.into_iter().map(Self::Stream).chain(members).chain(others).collect()
    }

    /// The loads of a broker with few resources.
    pub(super) fn limited() -> Vec<Self> {
        let segmented = Self::Stream(stream::SEGMENTED);
        vec![segmented, Self::Recreated, Self::Flips, Self::Jumps, Self::Polls, Self::Overtaken, Self::Scrape]
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stream(stream) => stream.topic,
            Self::Members { .. } => "a member of the group",
            Self::Slow => "the slow consumer",
            Self::Stalled => "stalled readers",
            Self::Churn => "topics that come and go",
            Self::Compacted => "the compacted topic",
            Self::Backups => "backups",
            Self::Scrape => "scrapes",
            Self::Idle => "idle connections",
            Self::Recreated => "topics that are recreated during production",
            Self::Flips => "the topic whose flush is altered",
            Self::Jumps => "the clock that jumps",
            Self::Polls => "clients that leave during a long poll",
            Self::Overtaken => "the reader that retention overtakes",
        }
    }

    /// Creates the topics that other loads read.
    pub(super) async fn prepare(self, broker: &BenchBroker) -> anyhow::Result<()> {
        match self {
            Self::Stream(stream) => stream.create_topic(broker).await,
            _ => Ok(()),
        }
    }

    /// Runs until the stop. Returns the written records, if they can be checked.
    pub(super) async fn run(
        self,
        target: &SoakTarget,
        stop: Stop,
        tally: &Tally,
    ) -> anyhow::Result<Option<WrittenTopic>> {
        let broker = &target.broker;
        match self {
            Self::Stream(stream) => return stream.run(broker, stop, tally).await,
            Self::Members { steady: true } => group::stay(broker, stop, tally).await?,
            Self::Members { steady: false } => group::come_and_go(broker, stop, tally).await?,
            Self::Slow => slow::run(broker, stop, tally).await?,
            Self::Stalled => stalled::run(broker, stop, tally).await?,
            Self::Churn => churn::run(broker, stop, tally).await?,
            Self::Compacted => compacted::run(broker, stop, tally).await?,
            Self::Backups => backups::run(broker, stop, tally).await?,
            Self::Scrape => scrape::run(&target.http, stop, tally).await?,
            Self::Idle => idle::run(broker, stop).await?,
            Self::Recreated => recreated::run(broker, stop, tally).await?,
            Self::Flips => return flips::run(broker, stop, tally).await.map(Some),
            Self::Jumps => return jumps::run(target, stop, tally).await.map(Some),
            Self::Polls => polls::run(broker, stop, tally).await?,
            Self::Overtaken => overtaken::run(broker, stop, tally).await?,
        }
        Ok(None)
    }
}

/// The acknowledged records of a topic, which must be there at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenTopic {
    pub(super) topic: &'static str,
    pub(super) partitions: u32,
    pub(super) count: u64,
    size: usize,
}

impl WrittenTopic {
    pub(super) async fn read_back(self, broker: &BenchBroker) -> anyhow::Result<()> {
        let share = WriterShare { writer: 0, count: self.count };
        workload::read_back(broker, self.topic, Ledger::new(self.partitions, self.size, vec![share])).await
    }
}
