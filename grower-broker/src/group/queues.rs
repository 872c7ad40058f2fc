//! The order in which requests change a group: that of their arrival, one at a time.
//!
//! Every request is a task of its own, and tasks run in any order. So a request enters the queue of its group when it
//! arrives, on the connection's task, and takes effect when its ticket comes. Of two commits that a client sent one after
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
pub(super) struct GroupQueues(Mutex<HashMap<GroupId, Queue>>);

#[derive(Debug)]
struct Queue {
    /// One permit: whoever has it may change the group.
    permit: Arc<Semaphore>,
    /// Requests that wait or have their ticket.
    users: usize,
}

type Acquire = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// A place in the queue of a group. Dropping it leaves the queue.
pub(crate) struct QueueTicket {
    // Before the user: whoever is next must find the same queue.
    state: TicketState,
    user: QueueEntry,
}

enum TicketState {
    Waits(Acquire),
    Has(Option<OwnedSemaphorePermit>),
}

/// The right to change a group, until it is dropped.
pub(super) struct GroupLock {
    _permit: Option<OwnedSemaphorePermit>,
    _user: QueueEntry,
}

/// Keeps the queue of a group in the map.
struct QueueEntry {
    queues: Arc<GroupQueues>,
    group: GroupId,
}

impl GroupQueues {
    /// Enters the queue of a group, behind everybody who is there.
    pub(super) fn enter(self: &Arc<Self>, group: &GroupId) -> QueueTicket {
        let (permit, user) = self.join(group);
        // Out of the task's budget: it has to be polled once to be in the queue.
        let mut acquire: Acquire = Box::pin(tokio::task::unconstrained(permit.acquire_owned()));
        let state = match acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => TicketState::Has(permit.ok()),
            Poll::Pending => TicketState::Waits(acquire),
        };
        QueueTicket { state, user }
    }

    /// The same if nobody is there.
    pub(super) fn try_enter(self: &Arc<Self>, group: &GroupId) -> Option<QueueTicket> {
        let busy = self.0.lock().contains_key(group);
        if busy { None } else { Some(self.enter(group)) }
    }

    /// Waits until everybody who is in the queue of a group now is done.
    pub(super) async fn pass(self: &Arc<Self>, group: &GroupId) {
        let busy = self.0.lock().contains_key(group);
        if busy {
            drop(self.enter(group).lock().await);
        }
    }

    fn join(self: &Arc<Self>, group: &GroupId) -> (Arc<Semaphore>, QueueEntry) {
        let mut queues = self.0.lock();
        let new = || Queue { permit: Arc::new(Semaphore::new(1)), users: 0 };
        let queue = queues.entry(group.clone()).or_insert_with(new);
        queue.users += 1;
        (queue.permit.clone(), QueueEntry { queues: self.clone(), group: group.clone() })
    }
}

impl QueueTicket {
    /// Waits until everybody who came before is done.
    pub(super) async fn lock(self) -> GroupLock {
        let permit = match self.state {
            TicketState::Has(permit) => permit,
            TicketState::Waits(acquire) => acquire.await.ok(),
        };
        debug_assert!(permit.is_some(), "the queue of a group is never closed");
        GroupLock { _permit: permit, _user: self.user }
    }
}

impl Drop for QueueEntry {
    fn drop(&mut self) {
        let mut queues = self.queues.0.lock();
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

    fn locked(ticket: QueueTicket) -> Pin<Box<dyn Future<Output = GroupLock>>> {
        Box::pin(ticket.lock())
    }

    fn has_come(ticket: &mut Pin<Box<dyn Future<Output = GroupLock>>>) -> Option<GroupLock> {
        match ticket.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(group) => Some(group),
            Poll::Pending => None,
        }
    }

    #[test]
    fn turns_come_in_the_order_of_arrival_whoever_asks_first() {
        let queues = Arc::new(GroupQueues::default());
        let (first, second, third) = (queues.enter(&group("g")), queues.enter(&group("g")), queues.enter(&group("g")));
        let (mut first, mut second, mut third) = (locked(first), locked(second), locked(third));
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
        let queues = Arc::new(GroupQueues::default());
        let mut first = locked(queues.enter(&group("g")));
        let gave_up = queues.enter(&group("g"));
        let mut third = locked(queues.enter(&group("g")));
        let mut other = locked(queues.enter(&group("other")));
        let (in_hand, _other) = (has_come(&mut first).unwrap(), has_come(&mut other).unwrap());
        drop(gave_up);
        assert!(has_come(&mut third).is_none());
        drop(in_hand);
        assert!(has_come(&mut third).is_some());
        assert!(queues.try_enter(&group("other")).is_none());
        drop((_other, other));
        assert!(queues.0.lock().is_empty(), "an unused queue is forgotten");
        assert!(queues.try_enter(&group("other")).is_some());
    }
}
