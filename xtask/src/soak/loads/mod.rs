//! What the daemon has to bear, all at once.

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
mod stream;
mod stuck;

pub(super) use group::finish as finish_group;

use super::Place;
use super::stop::Stop;
use super::tally::Tally;
use crate::bench::ledger::{Ledger, Share};
use crate::bench::site::Site;
use crate::bench::writers;
use stream::Stream;

/// One load.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    Stream(Stream),
    Members { steady: bool },
    Slow,
    Stuck,
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
    /// Those of a broker that has enough of everything.
    pub(super) fn usual() -> Vec<Self> {
        let steady = Self::Members { steady: true };
        let members = [steady, steady, Self::Members { steady: false }];
        let others = [Self::Slow, Self::Stuck, Self::Churn, Self::Compacted, Self::Backups, Self::Scrape, Self::Idle];
        stream::STREAMS.into_iter().map(Self::Stream).chain(members).chain(others).collect()
    }

    /// Those of a broker that has little of everything.
    pub(super) fn limited() -> Vec<Self> {
        let segmented = Self::Stream(stream::SEGMENTED);
        vec![segmented, Self::Recreated, Self::Flips, Self::Jumps, Self::Polls, Self::Overtaken, Self::Scrape]
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stream(stream) => stream.topic,
            Self::Members { .. } => "a member of the group",
            Self::Slow => "the slow consumer",
            Self::Stuck => "consumers that never read",
            Self::Churn => "topics that come and go",
            Self::Compacted => "the compacted topic",
            Self::Backups => "backups",
            Self::Scrape => "scrapes",
            Self::Idle => "idle connections",
            Self::Recreated => "topics that are deleted under their producers",
            Self::Flips => "the topic whose flush is altered",
            Self::Jumps => "the clock that jumps",
            Self::Polls => "clients that leave in a long poll",
            Self::Overtaken => "the reader that retention overtakes",
        }
    }

    /// Creates what the others rely on.
    pub(super) async fn prepare(self, site: &Site) -> anyhow::Result<()> {
        match self {
            Self::Stream(stream) => stream.create_topic(site).await,
            _ => Ok(()),
        }
    }

    /// Goes on until it is told to stop; says what it wrote, if that can be held against the broker.
    pub(super) async fn run(self, place: &Place, stop: Stop, tally: &Tally) -> anyhow::Result<Option<Written>> {
        let site = &place.site;
        match self {
            Self::Stream(stream) => return stream.run(site, stop, tally).await,
            Self::Members { steady: true } => group::stay(site, stop, tally).await?,
            Self::Members { steady: false } => group::come_and_go(site, stop, tally).await?,
            Self::Slow => slow::run(site, stop, tally).await?,
            Self::Stuck => stuck::run(site, stop, tally).await?,
            Self::Churn => churn::run(site, stop, tally).await?,
            Self::Compacted => compacted::run(site, stop, tally).await?,
            Self::Backups => backups::run(site, stop, tally).await?,
            Self::Scrape => scrape::run(&place.http, stop, tally).await?,
            Self::Idle => idle::run(site, stop).await?,
            Self::Recreated => recreated::run(site, stop, tally).await?,
            Self::Flips => return flips::run(site, stop, tally).await.map(Some),
            Self::Jumps => return jumps::run(place, stop, tally).await.map(Some),
            Self::Polls => polls::run(site, stop, tally).await?,
            Self::Overtaken => overtaken::run(site, stop, tally).await?,
        }
        Ok(None)
    }
}

/// What must be there in the end: so many acknowledged records in each partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) topic: &'static str,
    pub(super) partitions: u32,
    pub(super) count: u64,
    size: usize,
}

impl Written {
    pub(super) async fn read_back(self, site: &Site) -> anyhow::Result<()> {
        let share = Share { writer: 0, count: self.count };
        writers::read_back(site, self.topic, Ledger::new(self.partitions, self.size, vec![share])).await
    }
}
