//! Checks of records that arrived damaged at a client.
//!
//! A report of 60 bytes may name a whole log, so its work is bounded: a check reads no more than a client can have
//! received at once, one check runs at a time in the whole broker, and after a check the disk rests for nine times its
//! length. Reports of one partition wait for each other, so that no partition crowds out the others. A report needs no
//! check of its own if a check that began after its arrival covers it.

use super::partition_read::read_failure;
use super::{Api, Burst, RequestContext};
use crate::background;
use crate::clock::BrokerClock;
use crate::metrics::RequestTimer;
use crate::partition::{DamageCheck, Partition};
use grower_protocol::ids::Offset;
use grower_protocol::message::{ErrorCode, Failure, Part, ReportDamage, Response};
use grower_storage::log::{ReadError, Slice};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A check is followed by a rest of this many times its own length.
const REST_FACTOR: u32 = 9;
/// The longest rest, so that a disk that stalled once is asked again.
const REST_MAX: Duration = Duration::from_secs(2);

/// The permit of the one check that runs at a time.
pub(crate) struct DamageChecks(Arc<Semaphore>);

impl Default for DamageChecks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Api {
    /// Checks what a client reported. Stops waiting for its turn when the client leaves.
    pub(super) fn report_damage(
        self: &Arc<Self>,
        timer: RequestTimer,
        report: ReportDamage,
        call: RequestContext,
        burst: &mut Burst,
    ) {
        let (reply, api) = (burst.reply(call.correlation, call.permit, timer), self.clone());
        self.state.tasks.spawn("a report of damage", async move {
            let ended = reply.ended().clone();
            let checked = tokio::select! {
                checked = api.check_damage(report) => checked,
                () = ended.cancelled() => return,
            };
            reply.send(&super::response(&api.state.health, checked.map(|()| Response::Done)));
        });
    }

    /// Checks the file. The next fetch reports the damage that it finds.
    async fn check_damage(&self, report: ReportDamage) -> Result<(), Failure> {
        let came = self.state.clock.monotonic();
        let partition = self.state.topics.partition(report.topic, report.partition)?;
        let mut last = partition.last_check.lock().await;
        let reported = report.start..report.end.min(partition.high_watermark());
        if last.as_ref().is_some_and(|last| last.answers(&reported, came)) {
            return Ok(());
        }
        let stopping = |_| Failure::new(ErrorCode::ShuttingDown, "the broker is stopping");
        let turn = self.damage_checks.0.clone().acquire_owned().await.map_err(stopping)?;
        let began = self.state.clock.monotonic();
        let bytes_max = self.state.settings.now().broker.fetch_bytes_max;
        let (checking, offsets) = (partition.clone(), reported.clone());
        let (found, checked) = oneshot::channel();
        // A task of its own: the rest follows the check even if the client leaves.
        let check = move || check(&checking, offsets, bytes_max);
        tokio::spawn(check_and_rest(turn, found, check, self.state.clock.clone()));
        let checked = checked.await.map_err(|_| Failure::new(ErrorCode::Internal, "the check did not finish"))?;
        *last = Some(DamageCheck { offsets: reported, began });
        checked
    }
}

/// Keeps the permit during a check and the rest after it.
async fn check_and_rest(
    turn: OwnedSemaphorePermit,
    found: oneshot::Sender<Part<()>>,
    check: impl FnOnce() -> Part<()> + Send + 'static,
    clock: Arc<BrokerClock>,
) {
    let began = clock.monotonic();
    if let Ok(checked) = background::blocking(check).await {
        let _ = found.send(checked); // The client may have left.
    }
    let took = clock.monotonic().saturating_sub(began);
    tokio::time::sleep((took * REST_FACTOR).min(REST_MAX)).await;
    drop(turn);
}

/// Checks the stored bytes of these offsets, at most as many as one fetch could have given. Blocks.
fn check(partition: &Partition, offsets: Range<Offset>, bytes_max: usize) -> Part<()> {
    let reader = partition.reader();
    let start = offsets.start.max(reader.span().start);
    if offsets.end <= start {
        return Ok(());
    }
    let checked = reader.read(start, bytes_max, partition.high_watermark()).and_then(|slices| {
        let received = slices.last().map_or(start, |slice: &Slice| slice.offsets().end);
        reader.check(start..received.min(offsets.end))
    });
    match checked {
        Ok(()) => Ok(()),
        Err(error @ ReadError::Corrupt { .. }) => {
            let (topic, number) = (&partition.topic_name, partition.partition);
            tracing::error!(%topic, partition = %number, %error, "records are damaged on disk");
            Ok(())
        }
        Err(error) => Err(read_failure(partition, &error)),
    }
}
