//! Fetches. A fetch below `min_bytes` waits until a high watermark of its partitions moves. If it holds memory while it
//! waits and another request waits for memory, it is answered as it is: its client asks again, and queues behind the
//! others.

use super::burst::Burst;
use super::{Api, RequestContext};
use crate::disk_failure::code_of;
use crate::metrics::{RequestClass, RequestTimer};
use crate::partition::Partition;
use grower_protocol::message::{
    ErrorCode, Failure, Fetch, FetchAnswer, FetchPartition, FetchedPartition, FetchedRecords, Part, Response,
};
use grower_storage::log::{ReadError, Slice};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The answer of a fetch, as far as it is known.
struct Gathered {
    partitions: Vec<Part<FetchedPartition>>,
    slices: Vec<Slice>,
    bytes: usize,
    /// A partition has an error or damage to report, which is answered at once.
    failed: bool,
}

/// The longest wait, whatever the request asks for: a vanished peer must not hold a request for ever.
const WAIT_MAX: Duration = Duration::from_secs(5 * 60);

impl Api {
    pub(super) fn fetch(
        self: &Arc<Self>,
        mut timer: RequestTimer,
        request: Fetch,
        call: RequestContext,
        burst: &mut Burst,
    ) {
        let gathered = self.gather(&request);
        if gathered.is_enough(&request) {
            let (response, slices) = self.response(&request, gathered);
            return burst.answer_slices(call.correlation, &response, slices, call.permit);
        }
        timer.reclassify(RequestClass::FetchWait);
        let reply = burst.reply(call.correlation, call.permit, timer);
        let api = self.clone();
        self.state.tasks.spawn("a fetch", async move {
            let gathered = api.await_records(&request, reply.holds_memory(), reply.ended()).await;
            let (response, slices) = api.response(&request, gathered);
            reply.send_slices(&response, slices);
        });
    }

    fn response(&self, request: &Fetch, gathered: Gathered) -> (Response, Vec<Slice>) {
        self.count(request, &gathered);
        let Gathered { partitions, slices, .. } = gathered;
        (Response::Fetch(FetchAnswer { partitions }), slices)
    }

    /// Counts the traffic. The slices of one partition follow each other, and together have the length of its part.
    fn count(&self, request: &Fetch, gathered: &Gathered) {
        let mut slices = gathered.slices.iter();
        for (wanted, part) in request.partitions.iter().zip(&gathered.partitions) {
            let length = part.as_ref().map_or(0, length);
            if length == 0 {
                continue;
            }
            let (mut records, mut bytes) = (0, 0);
            while bytes < length
                && let Some(slice) = slices.next()
            {
                bytes += slice.len();
                records += slice.offsets().end.since(slice.offsets().start);
            }
            debug_assert_eq!(bytes, length, "slices end where their partition's part ends");
            if let Ok(partition) = self.state.topics.partition(wanted.topic, wanted.partition) {
                partition.traffic.fetched(records, bytes);
            }
        }
    }

    async fn await_records(&self, request: &Fetch, holds_memory: bool, ended: &CancellationToken) -> Gathered {
        let wait = Duration::from_millis(request.max_wait_ms.into()).min(WAIT_MAX);
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        let progress = Arc::new(Notify::new());
        let partitions = self.partitions_of(request);
        let gathered = loop {
            for partition in &partitions {
                partition.notify_beyond(partition.high_watermark(), &progress);
            }
            let gathered = self.gather(request); // After registering, so that no progress is missed.
            if gathered.is_enough(request) {
                break gathered;
            }
            tokio::select! {
                () = progress.notified() => {}
                () = &mut deadline => break self.gather(request),
                () = self.state.memory.wanted(), if holds_memory => break gathered,
                () = ended.cancelled() => break gathered,
            }
            for partition in &partitions {
                partition.forget_fetch(&progress);
            }
        };
        for partition in &partitions {
            partition.forget_fetch(&progress);
        }
        gathered
    }

    /// The partitions of a request, each once.
    fn partitions_of(&self, request: &Fetch) -> Vec<Arc<Partition>> {
        let found = request.partitions.iter().map(|wanted| self.state.topics.partition(wanted.topic, wanted.partition));
        let mut partitions: Vec<_> = found.flatten().collect();
        partitions.sort_by_key(Arc::as_ptr);
        partitions.dedup_by(|a, b| Arc::ptr_eq(a, b));
        partitions
    }

    /// Reads the partitions in the order of the request, within its limits. The first one with records gives at least
    /// one batch, however large.
    fn gather(&self, request: &Fetch) -> Gathered {
        let mut left = (request.max_bytes as usize).min(self.state.settings.now().broker.fetch_bytes_max);
        let mut gathered = Gathered { partitions: Vec::new(), slices: Vec::new(), bytes: 0, failed: false };
        for wanted in &request.partitions {
            let part = self.read(wanted, left, gathered.bytes == 0);
            gathered.failed |= part.as_ref().map_or(true, |(fetched, _)| is_news_without_records(fetched));
            gathered.partitions.push(part.map(|(fetched, slices)| {
                let length = length(&fetched);
                gathered.bytes += length;
                left = left.saturating_sub(length);
                gathered.slices.extend(slices);
                fetched
            }));
        }
        debug_assert_eq!(gathered.partitions.len(), request.partitions.len(), "each partition has an answer");
        debug_assert_eq!(gathered.bytes, gathered.slices.iter().map(Slice::len).sum(), "the slices are the answer");
        gathered
    }

    fn read(&self, wanted: &FetchPartition, left: usize, first: bool) -> Part<(FetchedPartition, Vec<Slice>)> {
        let partition = self.state.topics.partition(wanted.topic, wanted.partition)?;
        check_epoch(wanted, &partition)?;
        let diverged = wanted.last_epoch.and_then(|epoch| partition.divergence(wanted.offset, Some(epoch)));
        match diverged {
            Some(divergence) => Ok((FetchedPartition::Diverged(divergence), Vec::new())),
            None => {
                let (fetched, slices) = self.read_records(&partition, wanted, left, first)?;
                Ok((FetchedPartition::Records(fetched), slices))
            }
        }
    }

    fn read_records(
        &self,
        partition: &Partition,
        wanted: &FetchPartition,
        left: usize,
        first: bool,
    ) -> Part<(FetchedRecords, Vec<Slice>)> {
        let high_watermark = partition.high_watermark();
        let limit = left.min(wanted.max_bytes as usize);
        let log_start = partition.reader().span().start;
        let mut slices = match partition.reader().read(wanted.offset, limit, high_watermark) {
            Ok(slices) => slices,
            Err(ReadError::Corrupt { offsets, .. }) => {
                let damaged = Some((offsets.start, offsets.end));
                return Ok((FetchedRecords { length: 0, high_watermark, log_start, damaged }, Vec::new()));
            }
            Err(error) => return Err(read_failure(partition, &error)),
        };
        let mut length: usize = slices.iter().map(Slice::len).sum();
        if !first && limit < length {
            slices.clear(); // Only the first partition may pass the limit, with one batch.
            length = 0;
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        Ok((FetchedRecords { length, high_watermark, log_start, damaged: None }, slices))
    }
}

impl Gathered {
    fn is_enough(&self, request: &Fetch) -> bool {
        request.max_wait_ms == 0
            || request.partitions.is_empty()
            || self.failed
            || (request.min_bytes as usize).max(1) <= self.bytes
    }
}

/// Bytes of batches.
fn length(fetched: &FetchedPartition) -> usize {
    match fetched {
        FetchedPartition::Records(fetched) => fetched.length as usize,
        FetchedPartition::Diverged(_) => 0,
    }
}

fn is_news_without_records(fetched: &FetchedPartition) -> bool {
    match fetched {
        FetchedPartition::Records(fetched) => fetched.damaged.is_some(),
        FetchedPartition::Diverged(_) => true,
    }
}

fn check_epoch(wanted: &FetchPartition, partition: &Partition) -> Result<(), Failure> {
    let Some(known) = wanted.leader_epoch else { return Ok(()) };
    let current = partition.epoch();
    if known < current {
        return Err(Failure::new(
            ErrorCode::FencedLeaderEpoch,
            format_args!("leader epoch {known} is over, the current one is {current}: refresh the metadata"),
        ));
    }
    if current < known {
        return Err(Failure::new(
            ErrorCode::UnknownLeaderEpoch,
            format_args!("leader epoch {known} is unknown here, the current one is {current}"),
        ));
    }
    Ok(())
}

/// The failure that a client gets for a read error.
pub(super) fn read_failure(partition: &Partition, error: &ReadError) -> Failure {
    let code = match error {
        ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Corrupt { .. } => ErrorCode::CorruptLog,
        ReadError::Disk(error) => code_of(error),
    };
    Failure::new(code, format_args!("{}/{}: {error}", partition.topic_name, partition.partition))
}
