//! The group coordinator's shell: shards of groups, each with a partition of the internal topic that remembers for it.
//!
//! A step is decided and its records are appended under the shard's lock, so that the log has the order of the steps;
//! the answer waits, without the lock, until all of that is durable. The records are ordinary batches in an ordinary
//! compacted topic, created when the first group is.

mod heartbeats;
mod housekeeping;
mod pages;

use crate::clock::BrokerClock;
use crate::config::settings::LiveSettings;
use crate::group::{
    Ages, GroupLimits, GroupRecord, GroupRefusal, SHARDS, Shard, ShardLoader, Step, TOPIC, internal_topic, shard_of,
};
use crate::memory::{Memory, Remembered, StateKind};
use crate::metadata::{Image, Limits};
use crate::partition::{Flushers, Partition};
use crate::random::random_bytes;
use crate::topic::Topics;
use grower_protocol::batch::{BatchBuilder, BatchReader, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{GroupId, Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::{CommitTime, ErrorCode, Failure, GroupDescription};
use heartbeats::Lobby;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// All groups.
pub(crate) struct Groups {
    topics: Arc<Topics>,
    flushers: Arc<Flushers>,
    clock: Arc<BrokerClock>,
    /// Sessions are measured from here, by a clock that never goes back.
    started: Instant,
    /// When they were loaded.
    loaded: Timestamp,
    shards: Vec<Mutex<Shard>>,
    /// Of the groups in each shard; locked for a moment, within the shard's lock or without it.
    ages: Vec<Mutex<Ages>>,
    /// What each shard takes of the memory budget; locked like the ages.
    remembered: Vec<Mutex<Remembered>>,
    memory: Memory,
    lobby: Lobby,
}

/// Now, by the clock of sessions and by the calendar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Timestamp,
    pub(crate) date: Timestamp,
}

/// How often silent members are looked for.
const EXPIRE_EACH: Duration = Duration::from_millis(100);
/// How much of a shard's log is read at a time.
const LOAD_BYTES: usize = 4 << 20;
/// Our own batches hold plain records of this much at most.
const RECORD_BYTES_MAX: usize = 64 << 20;

impl Groups {
    /// Loads every group from the internal topic. The topics must be open.
    pub(crate) fn load(
        topics: Arc<Topics>,
        flushers: Arc<Flushers>,
        clock: Arc<BrokerClock>,
        memory: &Memory,
    ) -> Result<Self, Failure> {
        let (shards, ages, remembered, lobby) = (Vec::new(), Vec::new(), Vec::new(), Lobby::default());
        let (memory, started) = (memory.clone(), Instant::now());
        let loaded = clock.steady();
        let mut groups = Self { topics, flushers, clock, started, loaded, shards, ages, remembered, memory, lobby };
        for number in (0..SHARDS).map(PartitionId::new) {
            let (shard, ages) = match groups.log_of(number) {
                Some(log) => load_shard(&log, groups.now())?,
                None => (Shard::new(GroupLimits::default()), Ages::default()),
            };
            let mut remembered = groups.memory.remember(StateKind::Groups);
            remembered.set(shard.bytes());
            groups.remembered.push(Mutex::new(remembered));
            groups.shards.push(Mutex::new(shard));
            groups.ages.push(Mutex::new(ages));
        }
        Ok(groups)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    fn moment(&self) -> Moment {
        Moment { at: self.now(), date: self.clock.wall() }
    }

    /// The partition of the internal topic, once that exists.
    fn log_of(&self, shard: PartitionId) -> Option<Arc<Partition>> {
        let name = TopicName::new(TOPIC).ok()?;
        let topic = self.topics.image().topic(&name)?.id;
        self.topics.partition(topic, shard).ok()
    }

    /// The same, created on first use.
    async fn log_for(&self, shard: PartitionId) -> Result<Arc<Partition>, Failure> {
        if let Some(log) = self.log_of(shard) {
            return Ok(log);
        }
        let wish = internal_topic().map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        let (id, now) = (TopicId::from_random(random_bytes()), self.clock.wall());
        let created = self.topics.change(|image| Ok(image.create_any_topic(&wish, id, now, &Limits::default())?)).await;
        match created {
            Err(failure) if failure.code != ErrorCode::TopicExists => return Err(failure),
            _ => {}
        }
        self.log_of(shard).ok_or_else(|| Failure::new(ErrorCode::NotReady, "the group coordinator is starting"))
    }

    /// Takes a step in the shard of `group` and gives its answer once all it relies on is durable.
    pub(crate) async fn step<T>(
        &self,
        group: &GroupId,
        take: impl FnOnce(&mut Shard, Moment, &Image) -> Step<T>,
    ) -> Result<T, Failure> {
        let number = shard_of(group);
        let log = self.log_for(number).await?;
        let image = self.topics.image();
        let settled = {
            let mut shard = self.shard(number).lock();
            shard.set_room(self.remembered(number).lock().room());
            self.settle(take(&mut shard, self.moment(), &image), &mut shard, &log)
        };
        let answer = settled?;
        self.flushers.durable(&log).await?;
        answer
    }

    /// Looks at the shard of `group`. What it sees is durable when this returns.
    pub(crate) async fn look<T>(&self, group: &GroupId, look: impl FnOnce(&Shard, Moment) -> T) -> Result<T, Failure> {
        let number = shard_of(group);
        let seen = look(&self.shard(number).lock(), self.moment());
        if let Some(log) = self.log_of(number) {
            self.flushers.durable(&log).await?;
        }
        Ok(seen)
    }

    /// When a group last committed. What it sees is durable when this returns.
    pub(crate) async fn commits(&self, group: &GroupId) -> Result<Vec<CommitTime>, Failure> {
        self.look(group, |_, _| self.ages(shard_of(group)).lock().commits(group)).await
    }

    /// Every group in full, for those who watch the broker.
    pub(crate) fn describe_all(&self) -> Vec<GroupDescription> {
        let shards = self.shards.iter().map(|shard| shard.lock());
        let described = shards.map(|shard| shard.list().iter().filter_map(|g| shard.describe(&g.group).ok()).collect());
        described.collect::<Vec<Vec<_>>>().concat()
    }

    fn shard(&self, number: PartitionId) -> &Mutex<Shard> {
        &self.shards[number.value() as usize % self.shards.len()]
    }

    fn remembered(&self, number: PartitionId) -> &Mutex<Remembered> {
        &self.remembered[number.value() as usize % self.remembered.len()]
    }

    fn ages(&self, number: PartitionId) -> &Mutex<Ages> {
        &self.ages[number.value() as usize % self.ages.len()]
    }

    /// Where the log of a partition ends, for the check of commits.
    pub(crate) fn log_end(&self, topic: TopicId, partition: PartitionId) -> Option<Offset> {
        self.topics.partition(topic, partition).ok().map(|partition| partition.reader().span().end)
    }

    /// Refuses a topic of so many partitions if the groups that read it would take more memory than is left for them.
    pub(crate) fn check_topic(&self, name: &TopicName, partitions: u32) -> Result<(), Failure> {
        let image = self.topics.image();
        let bytes = self.shards.iter().map(|shard| shard.lock().growth_by_topic(name, partitions, &*image)).sum();
        let room = self.memory.state_room(StateKind::Groups);
        if bytes <= room { Ok(()) } else { Err(GroupRefusal::MemoryFull { bytes, room }.into()) }
    }

    /// A topic is gone, and with it what groups remember of it.
    pub(crate) async fn forget_topic(&self, topic: TopicId) {
        self.step_everywhere(|shard| shard.topic_deleted(topic)).await;
    }

    /// Offsets of topics that were deleted just before a crash.
    pub(crate) async fn forget_unknown_topics(&self) {
        let image = self.topics.image();
        let unknown: BTreeSet<TopicId> = self
            .describe_all()
            .iter()
            .flat_map(|group| &group.offsets)
            .map(|committed| committed.topic)
            .filter(|topic| image.topic_by_id(*topic).is_none())
            .collect();
        for topic in unknown {
            self.forget_topic(topic).await;
        }
    }

    /// Expires members, follows changes of topics, and forgets groups that nobody uses, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, settings: Arc<LiveSettings>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EXPIRE_EACH);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut unused = tokio::time::interval(housekeeping::EACH);
        unused.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let changed = self.topics.changed();
            tokio::select! {
                _ = ticks.tick() => self.step_everywhere(|shard| shard.expire(self.now())).await,
                _ = unused.tick() => self.forget_unused(settings.now().broker.offsets_retention).await,
                () = changed => {
                    let image = self.topics.image();
                    self.step_everywhere(|shard| shard.topics_changed(&*image)).await;
                }
                () = stop.cancelled() => return,
            }
        }
    }

    async fn step_everywhere(&self, take: impl Fn(&mut Shard) -> Step<()>) {
        for (number, shard) in (0..).map(PartitionId::new).zip(&self.shards) {
            let Some(log) = self.log_of(number) else { return };
            let settled = {
                let mut shard = shard.lock();
                self.settle(take(&mut shard), &mut shard, &log)
            };
            if let Err(failure) = settled {
                tracing::warn!(%failure, "a change of groups could not be written down; it is tried again");
            }
            self.sync_news(&log);
        }
    }

    /// Has the log synced soon if there is anything new in it: this is asked ten times a second, mostly for nothing.
    fn sync_news(&self, log: &Arc<Partition>) {
        if !log.is_committed(log.span().log_end) {
            self.flushers.sync_later(log);
        }
    }

    /// Writes a step down, and has those look again to whom it may be news: also if that failed, for then it is
    /// written with what they do.
    fn settle<T>(&self, mut step: Step<T>, shard: &mut Shard, log: &Partition) -> Result<Result<T, Failure>, Failure> {
        let stirred = step.take_stirred();
        let settled = step.settle(shard, |records| self.append(log, records));
        self.remembered(log.partition).lock().set(shard.bytes());
        stirred.iter().for_each(|group| self.lobby.ring(group));
        settled
    }

    fn append(&self, log: &Partition, records: &[GroupRecord]) -> Result<(), Failure> {
        let (date, now) = (self.clock.wall(), self.clock.steady());
        let mut batch = BatchBuilder::new(Codec::None);
        for record in records {
            batch.push(&record.to_record(date));
        }
        log.append(UnplacedBatch::built(batch.build(None)), now)?;
        let mut ages = self.ages(log.partition).lock();
        records.iter().for_each(|record| ages.note(record, date, now));
        Ok(())
    }
}

/// Replays a shard's log from its start. Damage there stops the broker: an offset that is silently forgotten would
/// be worse.
fn load_shard(log: &Partition, at: Timestamp) -> Result<(Shard, Ages), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        let (topic, partition) = (&log.topic_name, log.partition);
        Failure::new(ErrorCode::CorruptLog, format_args!("{topic}/{partition} cannot be read: {error}"))
    };
    let (mut loader, mut ages) = (ShardLoader::default(), Ages::default());
    let span = log.reader().span();
    let mut next = span.start;
    while next < span.end {
        let slices = log.reader().read(next, LOAD_BYTES, span.end).map_err(|error| failed(&error))?;
        for slice in &slices {
            for batch in BatchReader::new(slice.read().map_err(|error| failed(&error))?) {
                let batch = batch.map_err(|error| failed(&error))?;
                next = batch.header().next_offset();
                for record in batch.records(RECORD_BYTES_MAX).map_err(|error| failed(&error))? {
                    let record = record.map_err(|error| failed(&error))?;
                    let fact = GroupRecord::from_record(&record).map_err(|error| failed(&error))?;
                    ages.found(&fact, record.timestamp);
                    loader.push(fact);
                }
            }
        }
        if slices.is_empty() {
            return Err(failed(&"it ends early"));
        }
    }
    Ok((loader.finish(at, GroupLimits::default()), ages))
}
