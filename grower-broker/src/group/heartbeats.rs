//! Heartbeats, and answers to them that wait for news.
//!
//! A member learns at once what concerns it: its heartbeat is with the broker nearly all the time. So a partition that
//! was given up is with its new owner after two syncs and a round trip, and who was replaced stops at once.

use super::{Groups, Moment, Turn};
use crate::group::state::{HeldHeartbeat, Received, is_news, shard_of};
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
    pub(crate) fn hold_session(self: &Arc<Self>, beat: &Heartbeat) -> HeldSession {
        let heartbeat = self.live(shard_of(&beat.group)).shard.lock().begin_answer(beat);
        HeldSession { groups: self.clone(), heartbeat }
    }

    /// Answers a heartbeat.
    pub(crate) async fn heartbeat(
        &self,
        turn: Option<Turn>,
        beat: &Heartbeat,
        sender: HeartbeatSender<'_>,
    ) -> Result<HeartbeatAnswer, Failure> {
        self.step(turn, &beat.group, |shard, now, image| shard.heartbeat(beat, &sender.received(now), image)).await
    }

    /// Answers a heartbeat as soon as there is news for the member, or after `max_wait`. Calls `only_waits` when it begins
    /// to wait.
    pub(crate) async fn hold(
        &self,
        turn: Option<Turn>,
        beat: &Heartbeat,
        sender: HeartbeatSender<'_>,
        max_wait: Duration,
        stop: &CancellationToken,
        only_waits: impl FnOnce(),
    ) -> Result<HeartbeatAnswer, Failure> {
        let waiting = self.lobby.enter(&beat.group);
        let mut rung = waiting.bell.notified(); // Before looking: what happens from here on is not missed.
        let answer = self.heartbeat(turn, beat, sender).await?;
        if is_news(beat, &answer) {
            return Ok(answer);
        }
        only_waits();
        let session_timeout = Duration::from_millis(beat.session_timeout_ms.into());
        let enough = tokio::time::sleep(max_wait.min(heartbeat_interval(session_timeout)));
        tokio::pin!(enough);
        loop {
            tokio::select! {
                () = rung => {}
                () = &mut enough => return Ok(answer),
                () = stop.cancelled() => return Ok(answer),
            }
            rung = waiting.bell.notified();
            if let Some(news) = self.news(beat, sender).await? {
                return Ok(news);
            }
        }
    }

    async fn news(&self, beat: &Heartbeat, sender: HeartbeatSender<'_>) -> Result<Option<HeartbeatAnswer>, Failure> {
        self.step(None, &beat.group, |shard, now, image| shard.news(beat, &sender.received(now), image)).await
    }
}

/// The session of a member whose heartbeat is not answered yet. Dropping it says that the heartbeat is answered, or that no
/// connection waits for the answer.
pub(crate) struct HeldSession {
    groups: Arc<Groups>,
    /// None if the heartbeat was fenced when it came.
    heartbeat: Option<HeldHeartbeat>,
}

impl HeldSession {
    /// This is the answer that the member gets.
    pub(crate) fn settle(&mut self, answer: &Result<HeartbeatAnswer, Failure>) {
        self.heartbeat.iter_mut().for_each(|heartbeat| heartbeat.settle(answer));
    }
}

impl Drop for HeldSession {
    fn drop(&mut self) {
        let Some(heartbeat) = self.heartbeat.take() else { return };
        let now = self.groups.now();
        self.groups.live(shard_of(heartbeat.group())).shard.lock().end_answer(heartbeat, now);
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
    fn received(self, now: Moment) -> Received<'a> {
        Received { at: now.at, date: now.date, client: self.client, address: self.address }
    }
}

/// Who waits for news, by group.
#[derive(Debug, Default)]
pub(super) struct Lobby(Mutex<HashMap<GroupId, Arc<Notify>>>);

struct Waiting<'a> {
    lobby: &'a Lobby,
    group: &'a GroupId,
    bell: Arc<Notify>,
}

impl Lobby {
    fn enter<'a>(&'a self, group: &'a GroupId) -> Waiting<'a> {
        let mut bells = self.0.lock();
        let bell = match bells.get(group) {
            Some(bell) => bell.clone(),
            None => bells.entry(group.clone()).or_default().clone(),
        };
        Waiting { lobby: self, group, bell }
    }

    /// Everybody who waits in the group looks again.
    pub(super) fn ring(&self, group: &GroupId) {
        if let Some(bell) = self.0.lock().get(group) {
            bell.notify_waiters();
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut bells = self.lobby.0.lock();
        // The map's and this one: the last to leave takes the bell away.
        if Arc::strong_count(&self.bell) == 2 {
            bells.remove(self.group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_leave_takes_the_bell_away() {
        let lobby = Lobby::default();
        let group = GroupId::new("g").unwrap();
        let (first, second) = (lobby.enter(&group), lobby.enter(&group));
        assert!(Arc::ptr_eq(&first.bell, &second.bell));
        drop(first);
        assert_eq!(lobby.0.lock().len(), 1);
        drop(second);
        assert_eq!(lobby.0.lock().len(), 0);
    }
}
