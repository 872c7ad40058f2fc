//! Heartbeats, and answers that wait for an assignment change.
//!
//! A member's heartbeat waits at the broker nearly all the time, so the member learns of a change at once. A partition
//! that was given up reaches its new owner after two syncs and a round trip, and a replaced member stops at once.

use super::{DecisionTime, Groups, QueueTicket};
use crate::group::state::{HeartbeatContext, UnansweredHeartbeat, is_assignment_change, shard_of};
use grower_protocol::ids::GroupId;
use grower_protocol::message::{Failure, Heartbeat, HeartbeatAnswer, heartbeat_interval};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

impl Groups {
    /// Notes the arrival of a heartbeat: its member's session does not end before the answer.
    pub(crate) fn guard_session(self: &Arc<Self>, beat: &Heartbeat) -> SessionGuard {
        let heartbeat = self.live(shard_of(&beat.group)).shard.lock().heartbeat_arrived(beat);
        SessionGuard { groups: self.clone(), heartbeat }
    }

    /// Answers a heartbeat: at once if the member does not know its assignment, else when that changes or the time to
    /// wait is over. Calls `only_waits` when it begins to wait.
    pub(crate) async fn heartbeat(
        &self,
        ticket: QueueTicket,
        beat: &Heartbeat,
        sender: HeartbeatSender<'_>,
        stop: &CancellationToken,
        only_waits: impl FnOnce(),
    ) -> Result<HeartbeatAnswer, Failure> {
        let waiting = self.waiters.register(&beat.group);
        let mut woken = waiting.wake.notified(); // Before the first look, so that no later change is missed.
        let decided =
            self.decide(ticket, &beat.group, |shard, now, image| shard.heartbeat(beat, &sender.received(now), image));
        let answer = decided.await?;
        if beat.max_wait_ms == 0 || is_assignment_change(beat, &answer) {
            return Ok(answer);
        }
        only_waits();
        let session_timeout = Duration::from_millis(beat.session_timeout_ms.into());
        let max_wait = Duration::from_millis(beat.max_wait_ms.into());
        let timeout = tokio::time::sleep(max_wait.min(heartbeat_interval(session_timeout)));
        tokio::pin!(timeout);
        loop {
            tokio::select! {
                () = woken => {}
                () = &mut timeout => return Ok(answer),
                () = stop.cancelled() => return Ok(answer),
            }
            woken = waiting.wake.notified();
            if let Some(changed) = self.assignment_change(beat, sender).await? {
                return Ok(changed);
            }
        }
    }

    async fn assignment_change(
        &self,
        beat: &Heartbeat,
        sender: HeartbeatSender<'_>,
    ) -> Result<Option<HeartbeatAnswer>, Failure> {
        self.decide(self.enter(&beat.group), &beat.group, |shard, now, image| {
            shard.assignment_change(beat, &sender.received(now), image)
        })
        .await
    }
}

/// Keeps the session of a member with an unanswered heartbeat. Drop it when the heartbeat is answered, or its
/// connection ended.
pub(crate) struct SessionGuard {
    groups: Arc<Groups>,
    /// None if the heartbeat was fenced on arrival.
    heartbeat: Option<UnansweredHeartbeat>,
}

impl SessionGuard {
    /// Notes the answer for the member.
    pub(crate) fn settle(&mut self, answer: &Result<HeartbeatAnswer, Failure>) {
        self.heartbeat.iter_mut().for_each(|heartbeat| heartbeat.settle(answer));
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        let Some(heartbeat) = self.heartbeat.take() else { return };
        let now = self.groups.now();
        self.groups.live(shard_of(heartbeat.group())).shard.lock().heartbeat_answered(heartbeat, now);
    }
}

/// The sender of a heartbeat, as far as it introduced itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeartbeatSender<'a> {
    /// The program's name for itself.
    pub(crate) client: Option<&'a str>,
    /// The address that it connects from; none within the process.
    pub(crate) address: Option<&'a str>,
}

impl<'a> HeartbeatSender<'a> {
    fn received(self, now: DecisionTime) -> HeartbeatContext<'a> {
        HeartbeatContext { steady: now.steady, wall: now.wall, client: self.client, address: self.address }
    }
}

/// Heartbeats that wait for an assignment change, by group.
#[derive(Debug, Default)]
pub(super) struct HeartbeatWaiters(Mutex<HashMap<GroupId, Arc<Notify>>>);

struct WaitingHeartbeat<'a> {
    waiters: &'a HeartbeatWaiters,
    group: &'a GroupId,
    wake: Arc<Notify>,
}

impl HeartbeatWaiters {
    fn register<'a>(&'a self, group: &'a GroupId) -> WaitingHeartbeat<'a> {
        let mut wakes = self.0.lock();
        let wake = match wakes.get(group) {
            Some(wake) => wake.clone(),
            None => wakes.entry(group.clone()).or_default().clone(),
        };
        WaitingHeartbeat { waiters: self, group, wake }
    }

    /// Makes all waiting heartbeats of a group look again.
    pub(super) fn wake(&self, group: &GroupId) {
        if let Some(wake) = self.0.lock().get(group) {
            wake.notify_waiters();
        }
    }
}

impl Drop for WaitingHeartbeat<'_> {
    fn drop(&mut self) {
        let mut wakes = self.waiters.0.lock();
        // The map has one reference and this waiter another: the last waiter removes the entry.
        let references = Arc::strong_count(&self.wake);
        debug_assert!(2 <= references, "the entry stays while a heartbeat waits");
        if references == 2 {
            wakes.remove(self.group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_waiter_of_a_group_removes_its_entry() {
        let waiters = HeartbeatWaiters::default();
        let group = GroupId::new("g").unwrap();
        let (first, second) = (waiters.register(&group), waiters.register(&group));
        assert!(Arc::ptr_eq(&first.wake, &second.wake));
        drop(first);
        assert_eq!(waiters.0.lock().len(), 1);
        drop(second);
        assert_eq!(waiters.0.lock().len(), 0);
    }
}
