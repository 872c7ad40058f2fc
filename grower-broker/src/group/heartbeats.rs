//! Heartbeats, and answers to them that wait for news.
//!
//! A member learns at once what concerns it: its heartbeat is with the broker nearly all the time. So a partition that
//! was given up is with its new owner after two syncs and a round trip, and who was replaced stops at once.

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
    /// A heartbeat has arrived: the session of its member does not end before it is answered.
    pub(crate) fn guard_session(self: &Arc<Self>, beat: &Heartbeat) -> SessionGuard {
        let heartbeat = self.live(shard_of(&beat.group)).shard.lock().heartbeat_arrived(beat);
        SessionGuard { groups: self.clone(), heartbeat }
    }

    /// Answers a heartbeat.
    pub(crate) async fn heartbeat(
        &self,
        ticket: Option<QueueTicket>,
        beat: &Heartbeat,
        sender: HeartbeatSender<'_>,
    ) -> Result<HeartbeatAnswer, Failure> {
        self.decide(ticket, &beat.group, |shard, now, image| shard.heartbeat(beat, &sender.received(now), image)).await
    }

    /// Answers a heartbeat as soon as there is news for the member, or after `max_wait`. Calls `only_waits` when it begins
    /// to wait.
    pub(crate) async fn hold(
        &self,
        ticket: Option<QueueTicket>,
        beat: &Heartbeat,
        sender: HeartbeatSender<'_>,
        max_wait: Duration,
        stop: &CancellationToken,
        only_waits: impl FnOnce(),
    ) -> Result<HeartbeatAnswer, Failure> {
        let waiting = self.waiters.register(&beat.group);
        let mut woken = waiting.wake.notified(); // Before looking: what happens from here on is not missed.
        let answer = self.heartbeat(ticket, beat, sender).await?;
        if is_assignment_change(beat, &answer) {
            return Ok(answer);
        }
        only_waits();
        let session_timeout = Duration::from_millis(beat.session_timeout_ms.into());
        let enough = tokio::time::sleep(max_wait.min(heartbeat_interval(session_timeout)));
        tokio::pin!(enough);
        loop {
            tokio::select! {
                () = woken => {}
                () = &mut enough => return Ok(answer),
                () = stop.cancelled() => return Ok(answer),
            }
            woken = waiting.wake.notified();
            if let Some(news) = self.assignment_change(beat, sender).await? {
                return Ok(news);
            }
        }
    }

    async fn assignment_change(
        &self,
        beat: &Heartbeat,
        sender: HeartbeatSender<'_>,
    ) -> Result<Option<HeartbeatAnswer>, Failure> {
        self.decide(None, &beat.group, |shard, now, image| shard.assignment_change(beat, &sender.received(now), image))
            .await
    }
}

/// The session of a member whose heartbeat is not answered yet. Dropping it says that the heartbeat is answered, or that no
/// connection waits for the answer.
pub(crate) struct SessionGuard {
    groups: Arc<Groups>,
    /// None if the heartbeat was fenced when it came.
    heartbeat: Option<UnansweredHeartbeat>,
}

impl SessionGuard {
    /// This is the answer that the member gets.
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
        HeartbeatContext { at: now.at, date: now.date, client: self.client, address: self.address }
    }
}

/// Who waits for news, by group.
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

    /// Everybody who waits in the group looks again.
    pub(super) fn wake(&self, group: &GroupId) {
        if let Some(wake) = self.0.lock().get(group) {
            wake.notify_waiters();
        }
    }
}

impl Drop for WaitingHeartbeat<'_> {
    fn drop(&mut self) {
        let mut wakes = self.waiters.0.lock();
        // The map's and this one: the last to leave takes the wake away.
        if Arc::strong_count(&self.wake) == 2 {
            wakes.remove(self.group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_leave_takes_the_bell_away() {
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
