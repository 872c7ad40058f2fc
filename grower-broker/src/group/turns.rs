//! The order in which requests change a group: that of their arrival, one at a time.
//!
//! Every request is a task of its own, and tasks run in any order. So a request enters the queue of its group when it
//! arrives, on the connection's task, and takes effect when its turn comes. Of two commits that a client sent one after
//! the other, the later one counts. Other groups wait for none of this.

use grower_protocol::ids::GroupId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The queues of all groups that are asked for something right now.
#[derive(Debug, Default)]
pub(super) struct GroupTurns(Mutex<HashMap<GroupId, Queue>>);

#[derive(Debug)]
struct Queue {
    /// One permit: whoever has it may change the group.
    turn: Arc<Semaphore>,
    /// Requests that wait or have their turn.
    users: usize,
}

type Acquire = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// A place in the queue of a group. Dropping it leaves the queue.
pub(crate) struct Turn {
    // Before the user: whoever is next must find the same queue.
    state: TurnState,
    user: QueueUser,
}

enum TurnState {
    Waits(Acquire),
    Has(Option<OwnedSemaphorePermit>),
}

/// The right to change a group, until it is dropped.
pub(super) struct GroupInHand {
    _permit: Option<OwnedSemaphorePermit>,
    _user: QueueUser,
}

/// Keeps the queue of a group in the map.
struct QueueUser {
    turns: Arc<GroupTurns>,
    group: GroupId,
}

impl GroupTurns {
    /// Enters the queue of a group, behind everybody who is there.
    pub(super) fn enter(self: &Arc<Self>, group: &GroupId) -> Turn {
        let (turn, user) = self.join(group);
        // Out of the task's budget: it has to be polled once to be in the queue.
        let mut acquire: Acquire = Box::pin(tokio::task::unconstrained(turn.acquire_owned()));
        let state = match acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => TurnState::Has(permit.ok()),
            Poll::Pending => TurnState::Waits(acquire),
        };
        Turn { state, user }
    }

    /// The same if nobody is there.
    pub(super) fn try_enter(self: &Arc<Self>, group: &GroupId) -> Option<Turn> {
        let busy = self.0.lock().contains_key(group);
        if busy { None } else { Some(self.enter(group)) }
    }

    /// Waits until everybody who is in the queue of a group now is done.
    pub(super) async fn pass(self: &Arc<Self>, group: &GroupId) {
        let busy = self.0.lock().contains_key(group);
        if busy {
            drop(self.enter(group).comes().await);
        }
    }

    fn join(self: &Arc<Self>, group: &GroupId) -> (Arc<Semaphore>, QueueUser) {
        let mut queues = self.0.lock();
        let new = || Queue { turn: Arc::new(Semaphore::new(1)), users: 0 };
        let queue = queues.entry(group.clone()).or_insert_with(new);
        queue.users += 1;
        (queue.turn.clone(), QueueUser { turns: self.clone(), group: group.clone() })
    }
}

impl Turn {
    /// Waits until everybody who came before is done.
    pub(super) async fn comes(self) -> GroupInHand {
        let permit = match self.state {
            TurnState::Has(permit) => permit,
            TurnState::Waits(acquire) => acquire.await.ok(),
        };
        debug_assert!(permit.is_some(), "the queue of a group is never closed");
        GroupInHand { _permit: permit, _user: self.user }
    }
}

impl Drop for QueueUser {
    fn drop(&mut self) {
        let mut queues = self.turns.0.lock();
        let Some(queue) = queues.get_mut(&self.group) else { return };
        queue.users -= 1;
        if queue.users == 0 {
            queues.remove(&self.group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(id: &str) -> GroupId {
        GroupId::new(id).unwrap()
    }

    fn comes(turn: Turn) -> Pin<Box<dyn Future<Output = GroupInHand>>> {
        Box::pin(turn.comes())
    }

    fn has_come(turn: &mut Pin<Box<dyn Future<Output = GroupInHand>>>) -> Option<GroupInHand> {
        match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(group) => Some(group),
            Poll::Pending => None,
        }
    }

    #[test]
    fn turns_come_in_the_order_of_arrival_whoever_asks_first() {
        let turns = Arc::new(GroupTurns::default());
        let (first, second, third) = (turns.enter(&group("g")), turns.enter(&group("g")), turns.enter(&group("g")));
        let (mut first, mut second, mut third) = (comes(first), comes(second), comes(third));
        assert!(has_come(&mut third).is_none() && has_come(&mut second).is_none());
        let in_hand = has_come(&mut first).unwrap();
        assert!(has_come(&mut third).is_none() && has_come(&mut second).is_none());
        drop(in_hand);
        assert!(has_come(&mut third).is_none());
        assert!(has_come(&mut second).is_some());
        assert!(has_come(&mut third).is_some());
    }

    #[test]
    fn a_request_that_gave_up_is_passed_over_and_other_groups_do_not_wait() {
        let turns = Arc::new(GroupTurns::default());
        let mut first = comes(turns.enter(&group("g")));
        let gave_up = turns.enter(&group("g"));
        let mut third = comes(turns.enter(&group("g")));
        let mut other = comes(turns.enter(&group("other")));
        let (in_hand, _other) = (has_come(&mut first).unwrap(), has_come(&mut other).unwrap());
        drop(gave_up);
        assert!(has_come(&mut third).is_none());
        drop(in_hand);
        assert!(has_come(&mut third).is_some());
        assert!(turns.try_enter(&group("other")).is_none());
        drop((_other, other));
        assert!(turns.0.lock().is_empty(), "an unused queue is forgotten");
        assert!(turns.try_enter(&group("other")).is_some());
    }
}
