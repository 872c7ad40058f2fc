//! Queues of groups: requests change a group one at a time, in the order of their arrival.
//!
//! Requests are tasks, and tasks run in any order. A request enters the queue of its group when it arrives, on the
//! connection's task, and takes effect when the group's lock comes to it: of two commits that a client sent one after
//! the other, the later one wins. Other groups do not wait.

use grower_protocol::ids::GroupId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The queues of all groups with requests at this moment.
#[derive(Debug, Default)]
pub(super) struct GroupQueues(Mutex<HashMap<GroupId, GroupQueue>>);

#[derive(Debug)]
struct GroupQueue {
    /// One permit, the lock of the group.
    permit: Arc<Semaphore>,
    /// Requests that wait or hold the lock.
    users: usize,
}

type Acquire = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// A place in a group's queue. Dropping it leaves the queue.
pub(crate) struct QueueTicket {
    // Dropped before `entry`: the next request must find the same queue.
    state: TicketState,
    entry: QueueEntry,
}

enum TicketState {
    Waits(Acquire),
    Has(Option<OwnedSemaphorePermit>),
}

/// The right to change a group, until it is dropped.
pub(super) struct GroupLock {
    _permit: Option<OwnedSemaphorePermit>,
    _entry: QueueEntry,
}

/// Keeps a group's queue in the map.
struct QueueEntry {
    queues: Arc<GroupQueues>,
    group: GroupId,
}

impl GroupQueues {
    /// Enters a group's queue at its end.
    pub(super) fn enter(self: &Arc<Self>, group: &GroupId) -> QueueTicket {
        let (permit, entry) = self.join(group);
        // Not limited by the task's budget: one poll must put the request into the queue.
        let mut acquire: Acquire = Box::pin(tokio::task::unconstrained(permit.acquire_owned()));
        let state = match acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => TicketState::Has(permit.ok()),
            Poll::Pending => TicketState::Waits(acquire),
        };
        QueueTicket { state, entry }
    }

    /// Enters a group's queue if it is empty.
    pub(super) fn try_enter(self: &Arc<Self>, group: &GroupId) -> Option<QueueTicket> {
        let busy = self.0.lock().contains_key(group);
        if busy { None } else { Some(self.enter(group)) }
    }

    /// Waits until the requests that are in a group's queue now are done.
    pub(super) async fn drain(self: &Arc<Self>, group: &GroupId) {
        let busy = self.0.lock().contains_key(group);
        if busy {
            drop(self.enter(group).lock().await);
        }
    }

    fn join(self: &Arc<Self>, group: &GroupId) -> (Arc<Semaphore>, QueueEntry) {
        let mut queues = self.0.lock();
        let new = || GroupQueue { permit: Arc::new(Semaphore::new(1)), users: 0 };
        let queue = queues.entry(group.clone()).or_insert_with(new);
        queue.users += 1;
        (queue.permit.clone(), QueueEntry { queues: self.clone(), group: group.clone() })
    }
}

impl QueueTicket {
    /// Waits for the requests before this one, and locks the group.
    pub(super) async fn lock(self) -> GroupLock {
        let permit = match self.state {
            TicketState::Has(permit) => permit,
            TicketState::Waits(acquire) => acquire.await.ok(),
        };
        debug_assert!(permit.is_some(), "the semaphore of a queue is never closed");
        GroupLock { _permit: permit, _entry: self.entry }
    }
}

impl Drop for QueueEntry {
    fn drop(&mut self) {
        let mut queues = self.queues.0.lock();
        let queue = queues.get_mut(&self.group);
        debug_assert!(queue.is_some(), "an entry keeps its queue in the map");
        let Some(queue) = queue else { return };
        debug_assert!(0 < queue.users, "each entry is counted until it is dropped");
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

    fn locks(ticket: &mut Pin<Box<dyn Future<Output = GroupLock>>>) -> Option<GroupLock> {
        match ticket.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(group) => Some(group),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_group_is_locked_in_the_order_of_arrival() {
        let queues = Arc::new(GroupQueues::default());
        let (first, second, third) = (queues.enter(&group("g")), queues.enter(&group("g")), queues.enter(&group("g")));
        let (mut first, mut second, mut third) = (locked(first), locked(second), locked(third));
        assert!(locks(&mut third).is_none() && locks(&mut second).is_none());
        let lock = locks(&mut first).unwrap();
        assert!(locks(&mut third).is_none() && locks(&mut second).is_none());
        drop(lock);
        assert!(locks(&mut third).is_none());
        assert!(locks(&mut second).is_some());
        assert!(locks(&mut third).is_some());
    }

    #[test]
    fn a_cancelled_request_is_skipped_and_other_groups_do_not_wait() {
        let queues = Arc::new(GroupQueues::default());
        let mut first = locked(queues.enter(&group("g")));
        let cancelled = queues.enter(&group("g"));
        let mut third = locked(queues.enter(&group("g")));
        let mut other = locked(queues.enter(&group("other")));
        let (lock, _other) = (locks(&mut first).unwrap(), locks(&mut other).unwrap());
        drop(cancelled);
        assert!(locks(&mut third).is_none());
        drop(lock);
        assert!(locks(&mut third).is_some());
        assert!(queues.try_enter(&group("other")).is_none());
        drop((_other, other));
        assert!(queues.0.lock().is_empty(), "an unused queue is dropped");
        assert!(queues.try_enter(&group("other")).is_some());
    }
}
