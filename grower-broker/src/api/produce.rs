//! Appends batches of producers.
//!
//! The batches of a request are checked outside every lock, then appended one partition after the other. With acks
//! `all` the request leaves a waiter with each partition, and the thread that settles the last one answers it. A
//! partition that waits for the disk, or has to roll, queues its batch; the network thread does not wait.

use super::burst::{Burst, Reply};
use super::{Api, RequestContext};
use crate::critical::CriticalSection;
use crate::metrics::RequestTimer;
use crate::partition::{
    CommitWaiter, InlineSyncHint, Partition, PendingCommit, QueuedAppend, SendGathered, SyncPool, TryAppend,
};
use crate::topic::Topics;
use bytes::BytesMut;
use grower_protocol::batch::{BatchError, ClientBatchError, UnplacedBatch};
use grower_protocol::ids::{Offset, PartitionId, ProducerId, TopicId};
use grower_protocol::message::{
    Acks, Durability, ErrorCode, Failure, FailureContext, Part, Produce, ProducePartition, Produced, Response,
};
use grower_storage::log::Appended;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// A request whose answer waits for some of its partitions.
struct PendingProduce {
    acks: Acks,
    state: Mutex<Pending>,
}

struct Pending {
    parts: Vec<Part<Produced>>,
    /// Partitions not settled yet, plus one while the request is still being appended.
    open: usize,
    reply: Option<Reply>,
}

/// The outcome of one batch of a request.
enum Stored {
    /// It is in the log.
    Written(Written),
    /// Its partition appends it later.
    Busy(Arc<Partition>, UnplacedBatch),
}

/// A batch in the log, and its ack.
struct Written {
    partition: Arc<Partition>,
    produced: Produced,
    end: Offset,
    bytes: usize,
}

impl Api {
    pub(super) fn produce(
        self: &Arc<Self>,
        timer: RequestTimer,
        request: Produce,
        call: RequestContext,
        burst: &mut Burst,
    ) {
        let RequestContext { correlation, permit, attachment, .. } = call;
        let batches = match split(&request, attachment) {
            Ok(batches) => batches,
            Err(failure) => {
                self.state.health.metrics().write_refused(failure.code);
                return burst.answer(correlation, &Response::Failed(failure), permit);
            }
        };
        let work = self.state.stall_watchdog.watch();
        let stored = self.store_all(&request, batches);
        drop(work);
        let _whole = CriticalSection::enter(&self.state.health, "asking for the sync of appended batches");
        if request.acks == Acks::All || stored.iter().any(|part| matches!(part, Ok(Stored::Busy(..)))) {
            let reply = burst.reply(correlation, permit, timer);
            return self.finish_later(request.acks, stored, reply, burst);
        }
        self.sync_later(&stored);
        if request.acks == Acks::Leader {
            let parts = stored.iter().map(announced).collect();
            burst.answer(correlation, &Response::Produce(parts), permit);
        }
    }

    /// Checks and appends the batches one after the other. If a check panics, the batches before it are still synced.
    fn store_all(&self, request: &Produce, batches: Vec<BytesMut>) -> Vec<Part<Stored>> {
        let mut stored = Vec::with_capacity(batches.len());
        let done = catch_unwind(AssertUnwindSafe(|| {
            for (target, bytes) in request.partitions.iter().zip(batches) {
                let part = self.store(target, bytes, request.acks);
                part.as_ref()
                    .err()
                    .into_iter()
                    .for_each(|failure| self.state.health.metrics().write_refused(failure.code));
                stored.push(part);
            }
        }));
        if let Err(panic) = done {
            self.sync_later(&stored);
            resume_unwind(panic);
        }
        stored
    }

    /// Asks for a sync of the written batches, although no answer waits for it.
    fn sync_later(&self, stored: &[Part<Stored>]) {
        for written in stored.iter().filter_map(|part| part.as_ref().ok()?.written()) {
            self.state.sync_pool.sync_later(&written.partition);
        }
    }

    /// Checks and appends one batch.
    fn store(&self, target: &ProducePartition, bytes: BytesMut, acks: Acks) -> Part<Stored> {
        let partition = self.writable_partition(target.topic, target.partition)?;
        let length = bytes.len();
        self.state.disk_reserve.admit(length)?;
        let limits = partition.config().batch_limits(self.state.clock.latest());
        let window = UnplacedBatch::check_memory(&bytes, &limits);
        let window = (0 < window).then(|| self.state.memory.take(window)); // Others wait the longer for theirs.
        let batch = UnplacedBatch::check(bytes, &limits);
        drop(window);
        let batch = batch.map_err(|error| refusal(&error))?;
        let batch = batch.expecting_end(target.expected_end);
        batch.header().producer.map_or(Ok(()), |stamp| self.check_allocated(stamp.id))?;
        let records = u64::from(batch.header().record_count);
        Ok(
            match partition
                .offer(batch, self.state.clock.steady())
                .map_err(|failure| self.state.health.explain(failure))?
            {
                TryAppend::Appended(appended) => {
                    let size = BatchSize { records, bytes: length };
                    Stored::Written(Written::new(partition, &appended, size, acks, &self.state.topics))
                }
                TryAppend::WouldWait(batch) => Stored::Busy(partition, batch),
            },
        )
    }

    /// A partition that producers may write to.
    pub(super) fn writable_partition(&self, topic: TopicId, partition: PartitionId) -> Part<Arc<Partition>> {
        let partition = self.state.topics.partition(topic, partition)?;
        if partition.topic_name.is_internal() {
            return Err(Failure::new(ErrorCode::InvalidName, "only the broker writes internal topics"));
        }
        Ok(partition)
    }

    /// Refuses an id that was never allocated. Otherwise its later owner's first batches would look like duplicates:
    /// acknowledged, but not stored.
    pub(super) fn check_allocated(&self, id: ProducerId) -> Result<(), Failure> {
        if self.state.topics.image().has_allocated(id) {
            return Ok(());
        }
        Err(Failure::new(
            ErrorCode::FencedProducer,
            format_args!("producer id {id} was never allocated: request a new one"),
        ))
    }

    /// Answers once every partition has appended its batch and holds it as safely as requested.
    fn finish_later(&self, acks: Acks, stored: Vec<Part<Stored>>, reply: Reply, burst: &mut Burst) {
        let parts = stored.iter().map(announced).collect();
        let state = Pending { parts, open: 1, reply: Some(reply) };
        let pending = Arc::new(PendingProduce { acks, state: Mutex::new(state) });
        for (index, stored) in stored.into_iter().enumerate() {
            match stored {
                Err(_) => {}
                Ok(Stored::Written(written)) => {
                    if pending.must_wait(index, &written, &self.state.sync_pool) {
                        burst.sync(&written.partition, written.bytes);
                    }
                }
                Ok(Stored::Busy(partition, batch)) => self.append_later((&pending, index), &partition, batch),
            }
        }
        pending.finish_appending();
    }

    /// Queues a batch. Its bytes are copied and counted, because the connection receives more while it waits.
    fn append_later(
        &self,
        (pending, index): (&Arc<PendingProduce>, usize),
        partition: &Arc<Partition>,
        batch: UnplacedBatch,
    ) {
        pending.state.lock().open += 1;
        let header = batch.header();
        let size = BatchSize { records: u64::from(header.record_count), bytes: header.total_length };
        let (pending, topics, health) = (pending.clone(), self.state.topics.clone(), self.state.health.clone());
        let done = move |pool: &Arc<SyncPool>, partition: &Arc<Partition>, appended: Part<Appended>| {
            let acks = pending.acks;
            let appended = appended.inspect_err(|failure| health.metrics().write_refused(failure.code));
            let written = appended.map(|appended| Written::new(partition.clone(), &appended, size, acks, &topics));
            pending.appended(index, written, pool);
        };
        let memory = self.state.memory.take(size.bytes);
        let now = self.state.clock.steady();
        let queued = QueuedAppend { batch: batch.into_own_memory(), now, memory, done: Box::new(done) };
        self.state.sync_pool.append_later(partition, queued);
    }
}

/// The size of a batch.
#[derive(Clone, Copy)]
struct BatchSize {
    records: u64,
    bytes: usize,
}

impl Stored {
    fn written(&self) -> Option<&Written> {
        match self {
            Self::Written(written) => Some(written),
            Self::Busy(..) => None,
        }
    }
}

impl Written {
    /// Takes note of an appended batch.
    fn new(partition: Arc<Partition>, appended: &Appended, size: BatchSize, acks: Acks, topics: &Topics) -> Self {
        partition.traffic.appended(size.records, size.bytes);
        if appended.rolled {
            topics.request_retention();
        }
        let durability = match acks {
            Acks::None => Durability::None,
            Acks::Leader | Acks::All => Durability::Written, // With acks `all`, until its marks say more.
        };
        let log_start = partition.reader().span().start;
        let produced = Produced { base_offset: appended.base_offset, log_start, durability };
        Self { partition, produced, end: appended.next_offset, bytes: size.bytes }
    }
}

/// A partition's part of the answer, as far as it is known before it is settled.
fn announced(part: &Part<Stored>) -> Part<Produced> {
    match part {
        Ok(Stored::Written(written)) => Ok(written.produced),
        Ok(Stored::Busy(..)) => Err(Failure::new(ErrorCode::Internal, "the batch is not appended yet")),
        Err(failure) => Err(failure.clone()),
    }
}

impl PendingCommit for PendingProduce {
    fn settle(self: Arc<Self>, part: usize, outcome: Part<Durability>) -> Option<Arc<dyn SendGathered>> {
        let mut state = self.state.lock();
        match (outcome, &mut state.parts[part]) {
            (Ok(durability), Ok(produced)) => produced.durability = durability,
            (Ok(_), Err(failure)) => debug_assert!(false, "a batch is committed that was refused: {failure}"),
            (Err(failure), part) => *part = Err(failure),
        }
        let (reply, response) = state.close_one(self.acks)?;
        drop(state);
        reply.gather(&response)
    }
}

impl PendingProduce {
    /// Adds a waiter if the batch has to be committed and is not; a batch that is not durable is synced soon. True if
    /// the caller has to ask for a sync.
    fn must_wait(self: &Arc<Self>, index: usize, written: &Written, pool: &SyncPool) -> bool {
        let Written { partition, produced, end, .. } = written;
        if self.acks != Acks::All || partition.is_committed(*end) {
            if !partition.is_durable(*end) {
                pool.sync_later(partition);
            }
            if self.acks == Acks::All {
                // A retry of something durable, or a topic that does not wait for its disk.
                let durability = partition.durability(*end);
                self.state.lock().parts[index] = Ok(Produced { durability, ..*produced });
            }
            return false;
        }
        self.state.lock().open += 1;
        let waiter = CommitWaiter::Request { request: self.clone(), part: index };
        pool.wait(partition, *end, waiter); // After the write: any later sync covers it.
        true
    }

    /// Takes the outcome of a queued batch, on a thread of the pool, which may sync by itself.
    fn appended(self: &Arc<Self>, index: usize, written: Part<Written>, pool: &Arc<SyncPool>) {
        match &written {
            Ok(written) => {
                self.state.lock().parts[index] = Ok(written.produced);
                if self.must_wait(index, written, pool) {
                    pool.sync(&written.partition, InlineSyncHint { bytes: written.bytes, last: false });
                }
            }
            Err(failure) => {
                self.state.lock().parts[index] = Err(failure.clone());
            }
        }
        self.finish_appending();
    }

    /// Answers unless a part is open.
    fn finish_appending(&self) {
        let answer = self.state.lock().close_one(self.acks);
        if let Some((reply, response)) = answer {
            reply.send(&response);
        }
    }
}

impl Pending {
    /// The answer if that was the last; none for a producer that wants none.
    fn close_one(&mut self, acks: Acks) -> Option<(Reply, Response)> {
        debug_assert!(0 < self.open, "each part is settled once");
        self.open -= 1;
        if 0 < self.open {
            return None;
        }
        let parts = std::mem::take(&mut self.parts);
        let reply = self.reply.take().expect("a request is answered once");
        (acks != Acks::None).then_some((reply, Response::Produce(parts)))
    }
}

/// Cuts the attachment into the batches that the request announced.
fn split(request: &Produce, mut attachment: BytesMut) -> Result<Vec<BytesMut>, Failure> {
    let invalid = |detail: String| Err(Failure::new(ErrorCode::InvalidRequest, detail));
    let announced: u64 = request.partitions.iter().map(|partition| u64::from(partition.length)).sum();
    if announced != attachment.len() as u64 {
        return invalid(format!("the request announces {announced} bytes of batches and carries {}", attachment.len()));
    }
    let mut named = HashSet::with_capacity(request.partitions.len());
    if let Some(twice) = request.partitions.iter().find(|target| !named.insert((target.topic, target.partition))) {
        return invalid(format!(
            "partition {} of topic {} is named twice in one request",
            twice.partition, twice.topic
        ));
    }
    Ok(request.partitions.iter().map(|target| attachment.split_to(target.length as usize)).collect())
}

/// The failure of a batch that breaks a rule. It names the records that do, if others of the batch may be accepted.
fn refusal(error: &ClientBatchError) -> Failure {
    let failure = Failure::new(refusal_code(error), error);
    match error.refused_records() {
        Some(records) => failure.with_context(FailureContext::of_records(records)),
        None => failure,
    }
}

fn refusal_code(error: &ClientBatchError) -> ErrorCode {
    match error {
        ClientBatchError::Batch(BatchError::Crc { .. }) => ErrorCode::CorruptBatch,
        // Also what is too large only once it is decompressed: then a client sends it again in smaller batches.
        error if error.is_too_large() => ErrorCode::TooLarge,
        ClientBatchError::Timestamp { .. } => ErrorCode::InvalidTimestamp,
        _ => ErrorCode::InvalidRecord,
    }
}
