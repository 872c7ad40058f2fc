//! The jobs that a broker runs by itself, from its start to its stop.
//!
//! They hold its state weakly: a broker that was dropped frees its data directory at once.

mod rates;

use crate::reserve_file::{KeepFree, ReserveFile};
use crate::state::BrokerState;
use std::pin::Pin;
use std::sync::Arc;

/// A task that runs until the broker stops.
type BrokerJob = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts all jobs, after the work that has to be done once at each start.
pub(crate) async fn start(state: &Arc<BrokerState>, reserve: Arc<ReserveFile>) {
    state.groups.delete_offsets_of_unknown_topics().await;
    state.groups.warn_of_lost_records();
    if let Err(failure) = state.groups.update_internal_topic().await {
        tracing::warn!(%failure, "cannot make the groups' topic compacted; the next start tries again");
    }
    let (weak, stop) = (Arc::downgrade(state), state.stop.clone());
    let for_reserve = weak.clone();
    let keep_free: KeepFree = Arc::new(move || Some(for_reserve.upgrade()?.disk_reserve.usage()?.keep_free));
    reserve.clone().look(keep_free.clone()).await;
    let start = |what, job: BrokerJob| state.tasks.spawn_until(&stop, what, job);
    start("the disk reserve job", Box::pin(reserve.run(keep_free, stop.clone())));
    start("the rates job", Box::pin(rates::run(weak.clone(), stop.clone())));
    start("the groups job", Box::pin(state.groups.clone().run(state.settings.clone(), stop.clone())));
    let settings_followed = (**state.sync_pool).clone().follow_settings(stop.clone());
    start("the settings job", Box::pin(settings_followed));
    start("the producers job", Box::pin(state.topics.clone().run_producers(state.settings.clone(), stop.clone())));
    start("the retention job", Box::pin(state.topics.clone().run_retention(state.settings.clone(), stop.clone())));
    start("the compaction job", Box::pin(crate::compaction::run(weak, stop.clone())));
}
