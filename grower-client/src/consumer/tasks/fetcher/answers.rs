//! Takes in the answers of a session: checks the records without a lock, then hands them to their partitions.

use super::leader_session::SlotOwner;
use super::{Fetcher, PartitionFetch, SessionEnd, fetch_recovery};
use crate::backoff;
use crate::consumer::settings::OnDamage;
use crate::consumer::state::{
    CheckedBatches, FetchDamage, PartitionFetchState, ReceivedAnswer, SessionKey, SubscriptionState, check_batches,
};
use crate::error::RequestError;
use crate::retry::{self, FetchAction};
use bytes::Bytes;
use grower_protocol::ids::Offset;
use grower_protocol::message::{Divergence, Failure, FetchSlot, FetchedPartition, FetchedRecords, SlotPart};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// A partition's bytes are copied if they are less than their answer's divided by this: a small slice would keep the
/// whole answer in memory.
const COPIED_DIVISOR: usize = 4;
/// The partitions that are changed under one lock; the reader waits meanwhile.
const PARTITIONS_AT_ONCE: usize = 64;

/// The checked part of one slot.
struct CheckedPart {
    slot: FetchSlot,
    owner: SlotOwner,
    offset: Offset,
    outcome: FetchOutcome,
}

enum FetchOutcome {
    Records(FetchedRecords, CheckedBatches),
    /// The log no longer has the records that were read.
    Diverged(Divergence),
    Failed(Failure),
}

impl FetchOutcome {
    /// Whether the slot reads on.
    fn continues(&self) -> bool {
        matches!(self, Self::Records(fetched, checked) if fetched.damaged.is_none() && checked.damage.is_none())
    }
}

/// The follow-up work of failed fetches.
#[derive(Default)]
struct Recoveries {
    damages: Vec<(PartitionFetch, FetchDamage)>,
    out_of_range: Vec<PartitionFetch>,
    changed_topics: Vec<PartitionFetch>,
    /// The partitions whose metadata may be outdated.
    to_refresh: Vec<PartitionFetch>,
}

#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
impl Fetcher {
    /// Takes in one answer.
    pub(super) fn take_in(&mut self, at: usize, answer: ReceivedAnswer) -> Result<(), SessionEnd> {
        let (key, checked) = (self.sessions[at].key, self.check_parts(at, answer)?);
        let (mut recoveries, now) = (Recoveries::default(), Instant::now());
        self.shared.lock().note_answer(key, now);
        let mut checked = checked.into_iter().peekable();
        while checked.peek().is_some() {
            let mut subscription = self.shared.lock();
            for part in checked.by_ref().take(PARTITIONS_AT_ONCE) {
                accept(&mut subscription, key, part, now, &mut recoveries);
            }
        }
        self.recover(recoveries);
        Ok(())
    }

    /// Checks the parts of all slots that are still wanted, and moves the slots forward.
    fn check_parts(&mut self, at: usize, answer: ReceivedAnswer) -> Result<Vec<CheckedPart>, SessionEnd> {
        let session = &mut self.sessions[at];
        let total = answer.batches.len();
        let mut rest = answer.batches;
        let mut checked = Vec::with_capacity(answer.parts.len());
        let mut ended = Vec::new();
        for SlotPart { slot, offset, fetched } in answer.parts {
            let length = match &fetched {
                Ok(FetchedPartition::Records(records)) => records.length as usize,
                _ => 0,
            };
            if rest.len() < length {
                let address = session.leader.clone();
                return Err(SessionEnd::Failed(RequestError::Unexpected { address, request: "fetch" }));
            }
            let bytes = rest.split_to(length);
            let Some(owner) = session.state.owner_at(slot, offset)? else { continue };
            let outcome = match fetched {
                Ok(FetchedPartition::Records(records)) => {
                    let bytes = if length < total / COPIED_DIVISOR { Bytes::copy_from_slice(&bytes) } else { bytes };
                    FetchOutcome::Records(records, check_batches(bytes, offset, owner.gaps_allowed))
                }
                Ok(FetchedPartition::Diverged(divergence)) => FetchOutcome::Diverged(divergence),
                Err(failure) => FetchOutcome::Failed(failure),
            };
            match &outcome {
                FetchOutcome::Records(_, batches) if outcome.continues() => session.state.advance(slot, batches.next),
                _ => ended.push(slot),
            }
            checked.push(CheckedPart { slot, owner, offset, outcome });
        }
        // After the last check: a session that ends before has all its slots, so that all are placed again.
        ended.into_iter().for_each(|slot| session.state.drop_slot(slot));
        Ok(checked)
    }

    fn recover(&self, recoveries: Recoveries) {
        let Recoveries { damages, out_of_range, changed_topics, to_refresh } = recoveries;
        for (fetch, damage) in damages {
            self.recovery(fetch).investigate_damage(damage);
        }
        for fetch in out_of_range {
            self.recovery(fetch).resolve_out_of_range();
        }
        fetch_recovery::refresh_topics(&self.cluster, &self.shared, changed_topics);
        self.refresh(to_refresh.into_iter().map(|fetch| fetch.topic_partition.topic).collect::<BTreeSet<_>>());
    }

    fn recovery(&self, fetch: PartitionFetch) -> fetch_recovery::FetchRecovery {
        fetch_recovery::FetchRecovery { cluster: self.cluster.clone(), shared: self.shared.clone(), fetch }
    }
}

/// Hands the part of a slot to its partition, if the partition still reads from it.
fn accept(
    subscription: &mut SubscriptionState,
    key: SessionKey,
    part: CheckedPart,
    now: Instant,
    recoveries: &mut Recoveries,
) {
    let CheckedPart { slot, owner, offset, outcome } = part;
    let on_damage = subscription.on_damage();
    let Some(mut partition) = subscription.partitions.update_at(owner.partition) else { return };
    let is_placed = partition.placement().is_some_and(|placement| placement.session == key && placement.slot == slot);
    if !is_placed || partition.version != owner.version {
        return;
    }
    if !outcome.continues() {
        partition.place(None);
    }
    let partition = &mut *partition;
    match outcome {
        FetchOutcome::Records(fetched, checked) => {
            partition.high_watermark_at = Some(now);
            if let Some(damage) = accept_records(partition, offset, &fetched, checked, on_damage) {
                recoveries.damages.push((PartitionFetch::of(partition), damage));
            }
        }
        FetchOutcome::Diverged(divergence) => partition.diverged(offset, &divergence),
        FetchOutcome::Failed(failure) => handle_failure(partition, failure, recoveries),
    }
}

/// Adds records to their partition; returns damage to investigate.
fn accept_records(
    partition: &mut PartitionFetchState,
    offset: Offset,
    fetched: &FetchedRecords,
    checked: CheckedBatches,
    on_damage: OnDamage,
) -> Option<FetchDamage> {
    partition.high_watermark = Some(fetched.high_watermark);
    partition.log_start = Some(fetched.log_start);
    let next = checked.next;
    let damage = partition.accept(offset, checked, on_damage);
    // An investigation of damaged bytes fetches again, so the broker repeats its report.
    if let Some((start, end)) = fetched.damaged.filter(|(_, end)| damage.is_none() && next < *end) {
        partition.damaged(start.max(next)..end, "on the broker's disk".to_owned(), on_damage);
    }
    damage
}

#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
fn handle_failure(partition: &mut PartitionFetchState, failure: Failure, recoveries: &mut Recoveries) {
    let error = RequestError::from(failure);
    tracing::debug!(%error, partition = %partition.topic_partition, "a fetch failed");
    match retry::after_fetch(&error) {
        FetchAction::LookUpLog => {
            partition.is_recovering = true;
            recoveries.out_of_range.push(PartitionFetch::of(partition));
        }
        FetchAction::RefreshTopic => {
            partition.is_recovering = true;
            recoveries.changed_topics.push(PartitionFetch::of(partition));
        }
        FetchAction::Retry => {
            partition.retry_later(Some(&error), Instant::now(), backoff::random());
            recoveries.to_refresh.push(PartitionFetch::of(partition));
        }
        FetchAction::Report | FetchAction::ReportOnce => partition.fail(error, Instant::now()),
    }
}
