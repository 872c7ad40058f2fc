//! Samples the counters of topics and the free space of the disk.

use crate::rates::SAMPLE_EACH;
use crate::state::BrokerState;
use std::sync::Weak;
use tokio_util::sync::CancellationToken;

/// Takes samples until `stop`.
pub(super) async fn run(state: Weak<BrokerState>, stop: CancellationToken) {
    while let Some(state) = state.upgrade() {
        let free = || state.disk_reserve.usage().map(|usage| usage.free);
        state.rates.sample(state.clock.monotonic(), state.topic_counters(), free);
        drop(state);
        tokio::select! {
            () = tokio::time::sleep(SAMPLE_EACH) => {}
            () = stop.cancelled() => return,
        }
    }
}
