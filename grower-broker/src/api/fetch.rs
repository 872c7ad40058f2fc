//! Fetches. A fetch below `min_bytes` waits until a high watermark of its partitions moves. If it holds memory while it
//! waits and another request waits for memory, it is answered as it is: its client asks again, and queues behind the
//! others.

use super::burst::Burst;
use super::partition_read::{self, ReadLimits, is_damaged_or_diverged, length};
use super::{Api, RequestContext};
use crate::metrics::{RequestClass, RequestTimer};
use crate::partition::{FetchWaker, Partition};
use grower_protocol::message::{Fetch, FetchAnswer, FetchedPartition, Part, Response};
use grower_storage::log::Slice;
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
pub(super) const WAIT_MAX: Duration = Duration::from_secs(5 * 60);

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
        let woken = Arc::new(Notify::new());
        let waker: Arc<dyn FetchWaker> = woken.clone();
        loop {
            let _registered = RegisteredFetch::new(&waker, self.partitions_of(request)); // One may be another object now.
            let gathered = self.gather(request); // After registering, so that no progress is missed.
            if gathered.is_enough(request) {
                break gathered;
            }
            tokio::select! {
                () = woken.notified() => {}
                () = &mut deadline => break self.gather(request),
                () = self.state.memory.wanted(), if holds_memory => break gathered,
                () = ended.cancelled() => break gathered,
            }
        }
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
            let share = left.min(wanted.max_bytes as usize);
            let most = (gathered.bytes != 0).then_some(share); // Only the first one may pass the limit, with one batch.
            let partition = self.state.topics.partition(wanted.topic, wanted.partition);
            let part = partition
                .and_then(|found| partition_read::read(&found, wanted, ReadLimits { target: share, max: most }));
            gathered.failed |= part.as_ref().map_or(true, |read| is_damaged_or_diverged(&read.fetched));
            gathered.partitions.push(part.map(|read| {
                gathered.bytes += read.bytes();
                left = left.saturating_sub(read.bytes());
                gathered.slices.extend(read.slices);
                read.fetched
            }));
        }
        debug_assert_eq!(gathered.partitions.len(), request.partitions.len(), "each partition has an answer");
        debug_assert_eq!(gathered.bytes, gathered.slices.iter().map(Slice::len).sum(), "the slices are the answer");
        gathered
    }
}

/// A fetch that waits with its partitions until it is dropped.
struct RegisteredFetch<'a> {
    waker: &'a Arc<dyn FetchWaker>,
    partitions: Vec<Arc<Partition>>,
}

impl<'a> RegisteredFetch<'a> {
    fn new(waker: &'a Arc<dyn FetchWaker>, partitions: Vec<Arc<Partition>>) -> Self {
        for partition in &partitions {
            partition.fetches().wake_beyond(partition.high_watermark(), waker, 0);
        }
        Self { waker, partitions }
    }
}

impl Drop for RegisteredFetch<'_> {
    fn drop(&mut self) {
        for partition in &self.partitions {
            partition.fetches().forget(self.waker, 0);
        }
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
