//! Assigns a slot to each partition that is to be read, and sends requests as far as the memory allows.

use super::leader_session::{LeaderSession, SlotOwner};
use super::{Fetcher, FetcherEvent, PartitionFetch, SessionEnd, fetch_recovery};
use crate::backoff;
use crate::consumer::state::{FetchPlacement, PartitionFetchState, RequestLimits, SessionKey};
use crate::deadline::Deadline;
use crate::error::RequestError;
use crate::record::TopicPartition;
use crate::retry;
use grower_protocol::ids::LeaderEpoch;
use grower_protocol::message::{FetchPartition, TopicMetadata};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// The most bytes of one read. Small enough that they are in the processor's cache while they are checked and handed
/// out, large enough that a request costs little.
const READ_BYTES: usize = 1 << 20;
/// Divides the memory: a read gets at most one of these parts, so that several fit.
const READ_DIVISOR: usize = 4;
/// The time for which a dropped consumer waits for the answer that opens a session.
const OPENING_KEPT: Duration = Duration::from_secs(1);

impl Fetcher {
    /// Adds and drops slots for all partitions that changed; returns the time at which another one wants a slot.
    pub(super) fn plan(&mut self, now: Instant) -> Option<Instant> {
        let shared = self.shared.clone();
        let mut subscription = shared.lock();
        while let Some(orphan) = subscription.partitions.next_orphan() {
            self.drop_slot(&orphan);
        }
        let mut unled = Vec::new();
        while let Some(index) = subscription.partitions.next_to_plan(now) {
            let mut partition = subscription.partitions.update_at(index).expect("the partition is to be planned");
            if let Some(earlier) = partition.placement() {
                self.drop_slot(&earlier);
                partition.place(None);
            }
            let Some(version) = partition.wanted_version() else { continue };
            let Some((leader, message)) = self.locate(&partition) else {
                partition.is_recovering = true; // Its leader is unknown, or the topic was recreated.
                unled.push(PartitionFetch::of(&partition));
                continue;
            };
            let (gaps_allowed, leader_epoch) = (partition.gaps_allowed, message.leader_epoch);
            let owner = SlotOwner { partition: index, version, gaps_allowed, leader_epoch };
            let session = self.session_with(&leader);
            let (session, slot) = (session.key, session.state.add(owner, message));
            partition.place(Some(FetchPlacement { version, session, slot }));
        }
        let next_retry = subscription.partitions.next_retry();
        drop(subscription);
        fetch_recovery::refresh_topics(&self.cluster, &self.shared, unled);
        next_retry
    }

    /// Takes the slots from all partitions that have another leader according to the newest metadata. The earlier one
    /// may still answer: it may be cut off from the others.
    pub(super) fn follow_leaders(&mut self) {
        let shared = self.shared.clone();
        let mut subscription = shared.lock();
        let owners = |session: &LeaderSession| session.state.slots().map(|slot| slot.owner).collect::<Vec<_>>();
        for at in 0..self.sessions.len() {
            for owner in owners(&self.sessions[at]) {
                let Some(mut partition) = subscription.partitions.update_at(owner.partition) else { continue };
                let key = self.sessions[at].key;
                let placement = partition.placement().filter(|placement| owner.is_placed_by(placement, key));
                let (Some(placement), Some((leader, message))) = (placement, self.locate(&partition)) else {
                    continue; // It has another slot, or there is an election: the session reads on.
                };
                let session = &mut self.sessions[at];
                if leader != session.leader || message.leader_epoch != owner.leader_epoch {
                    session.state.drop_slot(placement.slot);
                    partition.place(None);
                }
            }
        }
    }

    /// Returns the leader of a partition and the request for the partition's records.
    fn locate(&self, partition: &PartitionFetchState) -> Option<(Arc<str>, FetchPartition)> {
        let TopicPartition { topic, partition: number } = &partition.topic_partition;
        let topic = self.cluster.cached_topic(topic).filter(|topic| topic.id == partition.topic)?;
        let leader = self.cluster.leader(&topic, *number)?;
        let next = partition.next_fetch();
        let message = FetchPartition {
            topic: partition.topic,
            partition: *number,
            offset: next.offset,
            max_bytes: self.read_bytes() as u32,
            leader_epoch: leader_epoch(&topic, &partition.topic_partition),
            last_epoch: next.epoch,
        };
        Some((leader, message))
    }

    fn drop_slot(&mut self, placement: &FetchPlacement) {
        if let Some(at) = self.position(placement.session) {
            self.sessions[at].state.drop_slot(placement.slot);
        }
    }

    fn session_with(&mut self, leader: &Arc<str>) -> &mut LeaderSession {
        let at = self.sessions.iter().position(|session| session.leader == *leader).unwrap_or_else(|| {
            self.last_key = SessionKey(self.last_key.0 + 1);
            self.sessions.push(LeaderSession::new(self.last_key, leader.clone()));
            self.sessions.len() - 1
        });
        &mut self.sessions[at]
    }

    /// Sends the requests that the sessions want and the memory allows; returns the time at which a session is closed
    /// that has no slots.
    pub(super) fn send(&mut self, now: Instant) -> Option<Instant> {
        let mut next_close = None;
        for at in (0..self.sessions.len()).rev() {
            if self.sessions[at].state.is_used_up() {
                self.end_session(at, SessionEnd::Restart);
            } else if let Some(until) = self.sessions[at].unused_until(now) {
                if until <= now {
                    self.shared.lock().note_session_end(self.sessions[at].key);
                    self.sessions.swap_remove(at).close();
                } else {
                    next_close = next_close.into_iter().chain([until]).min();
                }
            } else if let Some(failures) = self.sessions[at].begin_dialing() {
                let wait = retry::wait(None, failures, backoff::random());
                self.dial(self.sessions[at].key, self.sessions[at].leader.clone(), wait);
            }
        }
        self.send_reads();
        let limits = RequestLimits { max_wait: self.max_wait, min_bytes: self.min_bytes, max_bytes: 0 };
        for session in &mut self.sessions {
            while session.wants_change() {
                session.send(limits, &self.events);
            }
        }
        next_close
    }

    fn send_reads(&mut self) {
        let max_bytes = self.read_bytes();
        let limits = RequestLimits { max_wait: self.max_wait, min_bytes: self.min_bytes, max_bytes: max_bytes as u32 };
        let mut held = None;
        while let Some(session) = next_reader(&self.sessions) {
            let held = *held.get_or_insert_with(|| self.shared.lock().partitions.held().total());
            let in_flight: usize = self.sessions.iter().map(LeaderSession::expected_in_flight).sum();
            let expected = in_flight + self.sessions[session].expected_bytes(max_bytes);
            let is_first = held == 0 && in_flight == 0;
            if !is_first && self.prefetch_bytes < held + expected {
                let room = self.prefetch_bytes.saturating_sub(expected);
                if room < held {
                    self.wait_for_room(room);
                } // Otherwise the answers to earlier reads make room.
                return;
            }
            self.reads_sent += 1;
            self.sessions[session].send_read(self.reads_sent, limits, &self.events);
        }
    }

    /// Sends more once the partitions hold at most `room` bytes. If only paused partitions hold some, they are fetched
    /// again later.
    fn wait_for_room(&self, room: usize) {
        let mut subscription = self.shared.lock();
        let is_held_back = |partition: &PartitionFetchState| !partition.may_hand_out() && 0 < partition.held().total();
        if !subscription.partitions.has_ready() {
            subscription.partitions.update_all(is_held_back, PartitionFetchState::discard_fetched);
        }
        subscription.wait_for_room(room);
    }

    /// The most bytes of one read. A read of each leader takes at most half of the memory.
    fn read_bytes(&self) -> usize {
        (self.prefetch_bytes / READ_DIVISOR.max(2 * self.sessions.len())).clamp(1, READ_BYTES)
    }

    fn dial(&mut self, key: SessionKey, leader: Arc<str>, wait: Duration) {
        let (pool, events, limit) = (self.pool.clone(), self.events.clone(), self.cluster.request_timeout());
        self.dials.spawn(async move {
            sleep(wait).await;
            let connected = pool.connect(&leader, Deadline::after(limit)).await;
            let usable = connected.and_then(|connection| connection.require("fetch-sessions").map(|()| connection));
            drop(events.send(FetcherEvent::Connected(key, usable.map_err(RequestError::from))));
        });
    }
}

/// Returns the session whose turn it is to read, so that each leader gets a fair part of the memory.
fn next_reader(sessions: &[LeaderSession]) -> Option<usize> {
    let turns = sessions.iter().enumerate().filter_map(|(at, session)| Some((session.read_turn()?, at)));
    turns.min().map(|(_, at)| at)
}

fn leader_epoch(topic: &TopicMetadata, topic_partition: &TopicPartition) -> Option<LeaderEpoch> {
    topic.partitions.get(topic_partition.partition.value() as usize).map(|partition| partition.leader_epoch)
}

/// Closes the sessions, so that the broker need not keep them until they time out. One that is being opened is closed
/// by its answer, for which its connection is kept open for a moment.
impl Drop for Fetcher {
    fn drop(&mut self) {
        self.sessions.iter().for_each(LeaderSession::close);
        let opening: Vec<_> = self.sessions.iter().filter_map(LeaderSession::opening_connection).collect();
        if let (false, Ok(runtime)) = (opening.is_empty(), Handle::try_current()) {
            runtime.spawn(async move {
                sleep(OPENING_KEPT).await;
                drop(opening);
            });
        }
    }
}
