//! Appending what producers send.
//!
//! The batches of a request are checked outside every lock, then appended one partition after the other. With acks
//! `all` the request leaves a waiter with each partition and is answered by whoever settles the last one.

use super::burst::{Burst, Reply};
use super::{Api, Call};
use crate::metrics::Timer;
use crate::partition::{Partition, Waiter};
use bytes::BytesMut;
use grower_protocol::batch::{BatchError, BatchHeader, ClientBatchError, ProducerStamp, UnplacedBatch};
use grower_protocol::ids::Offset;
use grower_protocol::message::{
    Acks, Durability, ErrorCode, Failure, Part, Produce, ProducePartition, Produced, Response,
};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;

/// A request that waits for syncs of its partitions.
pub(crate) struct PendingProduce {
    state: Mutex<Pending>,
}

struct Pending {
    parts: Vec<Part<Produced>>,
    /// Partitions not settled yet, plus one while the request is still being appended.
    open: usize,
    reply: Option<Reply>,
}

/// A batch that is in the log and what its ack will say.
struct Stored {
    partition: Arc<Partition>,
    produced: Produced,
    end: Offset,
    bytes: usize,
}

impl Api {
    pub(super) fn produce(self: &Arc<Self>, request: Produce, call: Call, timer: Timer, burst: &mut Burst) {
        let Call { correlation, permit, attachment, .. } = call;
        let batches = match split(&request, attachment) {
            Ok(batches) => batches,
            Err(failure) => {
                self.health.metrics().write_refused(failure.code);
                return burst.answer(correlation, &Response::Failed(failure), permit);
            }
        };
        let work = self.watchman.begin();
        let stored: Vec<Part<Stored>> = request
            .partitions
            .iter()
            .zip(batches)
            .map(|(target, bytes)| self.store(target, bytes, request.acks))
            .inspect(|part| {
                part.as_ref().err().into_iter().for_each(|failure| self.health.metrics().write_refused(failure.code));
            })
            .collect();
        drop(work);
        match request.acks {
            Acks::None => self.flush_later(&stored),
            Acks::Leader => {
                self.flush_later(&stored);
                let parts = stored.into_iter().map(|part| part.map(|stored| stored.produced)).collect();
                burst.answer(correlation, &Response::Produce(parts), permit);
            }
            Acks::All => self.await_syncs(stored, burst.reply(correlation, permit, timer), burst),
        }
    }

    /// Checks and appends one batch.
    fn store(&self, target: &ProducePartition, bytes: BytesMut, acks: Acks) -> Part<Stored> {
        let partition = self.topics.partition(target.topic, target.partition)?;
        if partition.topic_name.is_internal() {
            return Err(Failure::new(ErrorCode::InvalidName, "internal topics are written by the broker only"));
        }
        let length = bytes.len();
        self.space.admit(length)?;
        let limits = partition.config().batch_limits(self.clock.latest());
        let window = UnplacedBatch::check_takes(&bytes, &limits);
        let window = (0 < window).then(|| self.memory.take(window)); // Others wait the longer for theirs.
        let batch = UnplacedBatch::check(bytes, &limits);
        drop(window);
        let batch = batch.map_err(|error| {
            Failure::new(
                refusal_code(&error),
                format_args!("{}/{}: {error}", partition.topic_name, partition.partition),
            )
        })?;
        self.check_producer(batch.header())?;
        let records = u64::from(batch.header().record_count);
        let appended = partition.append(batch, self.clock.steady()).map_err(|failure| self.health.explain(failure))?;
        partition.traffic.appended(records, length);
        if appended.rolled {
            self.topics.look_at_retention();
        }
        let durability = match acks {
            Acks::None => Durability::None,
            Acks::Leader => Durability::Written,
            Acks::All => partition.durability(),
        };
        let log_start = partition.reader().span().start;
        let produced = Produced { base_offset: appended.base_offset, log_start, durability };
        Ok(Stored { partition, produced, end: appended.next_offset, bytes: length })
    }

    /// Whoever takes an id before it is given out would be taken for its owner later: the owner's first batches for retries
    /// of other records, acknowledged and never stored.
    fn check_producer(&self, header: &BatchHeader) -> Result<(), Failure> {
        let Some(ProducerStamp { id, .. }) = header.producer else { return Ok(()) };
        if self.topics.image().gave_out(id) {
            return Ok(());
        }
        Err(Failure::new(ErrorCode::FencedProducer, format_args!("producer id {id} was never given out: ask for one")))
    }

    fn flush_later(&self, stored: &[Part<Stored>]) {
        for stored in stored.iter().flatten() {
            self.flushers.sync_later(&stored.partition);
        }
    }

    fn await_syncs(&self, stored: Vec<Part<Stored>>, reply: Reply, burst: &mut Burst) {
        let parts =
            stored.iter().map(|part| part.as_ref().map(|stored| stored.produced).map_err(Clone::clone)).collect();
        let pending = Arc::new(PendingProduce { state: Mutex::new(Pending { parts, open: 1, reply: Some(reply) }) });
        for (index, stored) in stored.into_iter().enumerate() {
            let Ok(stored) = stored else { continue };
            if stored.partition.is_committed(stored.end) {
                continue; // A retry of something durable, or a topic that does not wait for its disk.
            }
            pending.state.lock().open += 1;
            let waiter = Waiter::Produce { request: pending.clone(), index, produced: stored.produced };
            self.flushers.wait(&stored.partition, waiter); // After the write: any later sync covers it.
            burst.sync(&stored.partition, stored.bytes);
        }
        if pending.finish_appending() {
            send_settled(vec![pending]);
        }
    }
}

impl PendingProduce {
    /// Notes the outcome for one partition; `true` if it was the last.
    pub(crate) fn settle(&self, index: usize, part: Part<Produced>) -> bool {
        let mut state = self.state.lock();
        state.parts[index] = part;
        state.close_one()
    }

    fn finish_appending(&self) -> bool {
        self.state.lock().close_one()
    }

    fn take(&self) -> Option<(Reply, Response)> {
        let mut state = self.state.lock();
        let parts = std::mem::take(&mut state.parts);
        Some((state.reply.take()?, Response::Produce(parts)))
    }
}

impl Pending {
    fn close_one(&mut self) -> bool {
        self.open -= 1;
        self.open == 0
    }
}

/// Answers requests whose last partition was settled.
pub(crate) fn send_settled(requests: Vec<Arc<PendingProduce>>) {
    if !requests.is_empty() {
        Reply::send_all(requests.iter().filter_map(|request| request.take()).collect());
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

fn refusal_code(error: &ClientBatchError) -> ErrorCode {
    match error {
        ClientBatchError::Batch(BatchError::Crc { .. }) => ErrorCode::CorruptBatch,
        ClientBatchError::TooLarge { .. } => ErrorCode::TooLarge,
        ClientBatchError::Timestamp { .. } => ErrorCode::InvalidTimestamp,
        _ => ErrorCode::InvalidRecord,
    }
}
