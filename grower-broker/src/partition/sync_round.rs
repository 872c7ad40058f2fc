//! A sync round: one fsync answers every producer that waits for it.
//!
//! The log names the files to sync. They are synced without the writer's lock, the marks move, and the waiters whose
//! offset a mark has reached are answered. If others wait for the next round, it begins before these answers are sent:
//! a client that is answered takes the processor at once, and the disk would idle meanwhile. After a failed sync the
//! content of the disk is unknown: no waiter is acknowledged, and the broker stops for good.

use super::{CommitWaiter, Partition, SyncPool, waiter};
use crate::critical::CriticalSection;
use crate::health::Health;
use crate::replica::{Effects, Event};
use grower_protocol::message::{Durability, ErrorCode, Failure};
use grower_storage::disk::DiskError;
use grower_storage::log::{FlushPoint, LogFailed};
use std::sync::Arc;

/// A running round. If a panic ends it, the waiters of the partition are refused: no other round answers them.
struct RoundGuard<'a> {
    section: CriticalSection<&'a Health>,
    partition: &'a Partition,
}

impl<'a> RoundGuard<'a> {
    fn of(partition: &'a Partition, health: &'a Health) -> Self {
        Self { section: CriticalSection::enter(health, "a sync round"), partition }
    }
}

impl Drop for RoundGuard<'_> {
    fn drop(&mut self) {
        if self.section.is_interrupted() {
            let failure = Failure::new(ErrorCode::ShuttingDown, "the broker stops: a panic ended a sync");
            let waiters = self.partition.commit.lock().take_all();
            waiter::refuse(waiters, &failure);
        }
    }
}

/// A round that has synced, and the answers that it owes.
#[must_use = "its waiters wait for their answers"]
pub(super) struct SyncedRound<'a> {
    #[expect(dead_code, reason = "ends after the answers")]
    whole: RoundGuard<'a>,
    answers: Answers,
    /// Waiters need another sync.
    unsynced: bool,
}

enum Answers {
    Acknowledged(Vec<(CommitWaiter, Durability)>),
    Refused(Vec<CommitWaiter>, Failure),
}

impl SyncedRound<'_> {
    /// Whether waiters need another sync: the next round is queued, and the caller has it run.
    pub(super) fn needs_another(&self) -> bool {
        self.unsynced
    }

    /// Sends the answers.
    pub(super) fn answer(self) {
        match self.answers {
            Answers::Acknowledged(answered) => waiter::acknowledge(answered),
            Answers::Refused(waiters, failure) => waiter::refuse(waiters, &failure),
        }
    }
}

impl SyncPool {
    /// Runs the sync of a partition's queued round.
    pub(super) fn round<'a>(&'a self, partition: &'a Arc<Partition>) -> SyncedRound<'a> {
        let whole = RoundGuard::of(partition, &self.health);
        let begun = partition.commit.lock().begin(partition.published.durable());
        self.load.round_began(begun);
        let synced = self.sync_written(partition, 0 < begun.waiters).map_err(|failure| self.health.explain(failure));
        let (answers, ended) = match synced {
            Ok(effects) => {
                partition.wake_fetches(effects);
                let now = self.clock.monotonic();
                let mut commit = partition.commit.lock();
                let (answered, ended) = commit.end(partition.reached(), now); // Under the lock: it misses no mark.
                (Answers::Acknowledged(answered), ended)
            }
            Err(failure) => {
                let (waiters, ended) = partition.commit.lock().fail();
                (Answers::Refused(waiters, failure), ended)
            }
        };
        if ended.watch {
            self.idle.watch(partition);
        }
        self.load.round_ended(ended);
        SyncedRound { whole, answers, unsynced: 0 < ended.unsynced }
    }

    /// Makes everything written so far durable. Blocks.
    pub(crate) fn sync_now(&self, partition: &Partition) -> Result<(), Failure> {
        self.sync_written(partition, false).map(|effects| partition.carry_out(effects))
    }

    fn sync_written(&self, partition: &Partition, awaited: bool) -> Result<Effects, Failure> {
        let mut point = partition.flush_point()?;
        point.awaited = awaited;
        if let Some(reason) = self.health.failure() {
            return Err(Failure::new(ErrorCode::StorageFailed, reason)); // After a failed sync nothing is synced.
        }
        let had_unsynced = !point.files.is_empty() || !partition.is_durable(point.end); // Logs in memory have no files.
        let started = self.clock.monotonic();
        let synced = point.sync(&*self.disk);
        if had_unsynced {
            let took = self.clock.monotonic().saturating_sub(started); // An empty sync says nothing about the disk.
            (self.on_sync)(took);
            self.inline.note_sync(took);
        }
        partition.flushed(&point, synced).map_err(|error| {
            if !error.files_gone {
                self.health.fail(format!("a sync failed, so the content of the disk is unknown: {error}"));
            }
            // Not `PartitionOffline`: the records may be there again once the files are back.
            Failure::new(ErrorCode::StorageFailed, error)
        })
    }
}

impl Partition {
    /// The files to sync for everything written to be durable.
    fn flush_point(&self) -> Result<FlushPoint, Failure> {
        let tail = self.writer.lock();
        tail.check_open()?;
        Ok(tail.log.flush_point())
    }

    fn flushed(&self, point: &FlushPoint, synced: Result<(), DiskError>) -> Result<Effects, LogFailed> {
        let mut tail = self.writer.lock();
        let synced = match synced {
            // The files of a deleted partition were moved away: it needs no sync.
            Err(error) if tail.deleted && error.is_file_gone() => return Ok(Effects::default()),
            synced => synced,
        };
        let durable = tail.log.flushed(point, synced)?;
        debug_assert!(point.end <= durable, "a sync to {} that succeeded made the log durable to {durable}", point.end);
        let effects = tail.replica.apply(Event::Synced { durable });
        self.publish_marks(&tail);
        Ok(effects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{BrokerClock, Calendar};
    use crate::config::BrokerConfig;
    use crate::config::settings::{BrokerSettings, LiveSettings};
    use crate::config::topic::TopicConfig;
    use crate::memory::{Memory, StateKind};
    use crate::metrics::Metrics;
    use crate::partition::{InlineSyncHint, PendingCommit, SendGathered, SyncPoolOwner};
    use crate::stall_watchdog::StallWatchdog;
    use grower_protocol::batch::{BatchBuilder, Record, UnplacedBatch};
    use grower_protocol::compression::Codec;
    use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId, TopicName};
    use grower_protocol::message::Part;
    use grower_storage::disk::MemDisk;
    use grower_storage::log::{LogOptions, MemLog};
    use parking_lot::Mutex;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(10);

    /// A request whose answer takes until the test allows it.
    struct SlowAnswer(Mutex<Receiver<()>>);

    impl PendingCommit for SlowAnswer {
        fn settle(self: Arc<Self>, _part: usize, outcome: Part<Durability>) -> Option<Arc<dyn SendGathered>> {
            assert!(outcome.is_ok());
            self.0.lock().recv_timeout(SOON).unwrap();
            None
        }
    }

    fn partition(health: &Health) -> Arc<Partition> {
        let identity = (TopicId::from_random([1; 16]), TopicName::new("events").unwrap(), PartitionId::new(0));
        let log = Box::new(MemLog::new(LogOptions::default()));
        let producers = Memory::new(1 << 30).state_reservation(StateKind::Producers);
        Arc::new(Partition::lead(
            identity,
            health,
            log,
            LeaderEpoch::new(1),
            TopicConfig::default(),
            producers,
            Arc::new(crate::partition::registry::AnyProducer),
        ))
    }

    fn append(partition: &Partition) -> Offset {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(&Record::default());
        partition.append(UnplacedBatch::built(batch.build(None)), Timestamp::default()).unwrap().next_offset
    }

    #[tokio::test] // The stall watchdog wants a runtime.
    async fn the_next_round_begins_before_the_answers_of_the_last_are_sent() {
        let (allow_answer, allowed) = channel();
        let (sync_ended, sync_ends) = channel();
        let (allow_round, round_allowed) = channel::<()>();
        let round_allowed = Mutex::new(round_allowed);
        let on_sync = move |_| {
            sync_ended.send(()).unwrap();
            round_allowed.lock().recv_timeout(SOON).unwrap();
        };
        let health = Health::new(Metrics::for_test());
        let settings = Arc::new(LiveSettings::new(BrokerSettings::of(BrokerConfig::at("/data")), None));
        let stall_watchdog = Arc::new(StallWatchdog::start(&health).unwrap());
        let clock = BrokerClock::new(Arc::new(Calendar::default()));
        let disk = Arc::new(MemDisk::default());
        let pool = SyncPoolOwner::start(disk, clock, health.clone(), on_sync, settings, stall_watchdog);
        let partition = partition(&health);
        let add_waiter = |waiter| pool.wait(&partition, append(&partition), waiter);

        let slow_answer = Arc::new(SlowAnswer(Mutex::new(allowed)));
        add_waiter(CommitWaiter::Request { request: slow_answer, part: 0 });
        pool.sync(&partition, InlineSyncHint { bytes: 1, last: false });
        sync_ends.recv_timeout(SOON).unwrap();
        let (settled, mut outcome) = tokio::sync::oneshot::channel();
        add_waiter(CommitWaiter::Internal(settled)); // For the next round, as this one has synced.
        allow_round.send(()).unwrap();
        sync_ends.recv_timeout(SOON).expect("the disk idles until the answers of the last round are sent");
        allow_answer.send(()).unwrap();
        allow_round.send(()).unwrap();
        drop(pool); // Ends once its jobs are done.
        outcome.try_recv().unwrap().unwrap();
    }
}
