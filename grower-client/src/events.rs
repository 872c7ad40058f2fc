//! Events of a client: what happens to its connections, for logs and health checks.
//!
//! Each subscriber has a ring of its own, so one that never reads costs no more than its ring. Its next event counts
//! the dropped ones.

use crate::error::ConnectionError;
use crate::record::TopicPartition;
use futures_core::Stream;
use grower_protocol::ids::NodeId;
use grower_protocol::message::{ErrorCode, Failure, Response};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

/// The most events that wait for one subscriber.
const EVENTS_MAX: usize = 256;

/// An event of a client; see [`Client::events`](crate::Client::events).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A connection was opened. A client has several to each broker.
    Connected {
        /// The broker's address.
        address: Arc<str>,
        /// The broker's node.
        node: NodeId,
    },
    /// A connection ended. The client opens another one when it needs it.
    Lost {
        /// The broker's address.
        address: Arc<str>,
        /// The reason.
        reason: ConnectionError,
    },
    /// A partition has another leader than the client knew.
    LeaderMoved {
        /// The partition.
        topic_partition: TopicPartition,
        /// The new leader; `None` during an election.
        leader: Option<NodeId>,
    },
    /// A broker refused a request because its disk or its memory is full. The client retries it until its deadline.
    Throttled {
        /// The broker's address.
        address: Arc<str>,
        /// [`ErrorCode::DiskFull`] or [`ErrorCode::MemoryFull`], with the broker's reason.
        failure: Failure,
    },
    /// The subscriber read too slowly: its oldest events were dropped.
    Missed {
        /// The number of events dropped since the last event that was read.
        events: u64,
    },
}

/// The events of a client since the call of [`Client::events`](crate::Client::events). It ends with the client.
///
/// Keeps the latest 256 unread events; [`ClientEvent::Missed`] counts the dropped ones.
#[derive(Debug)]
pub struct ClientEvents {
    ring: Arc<Mutex<EventRing>>,
}

#[derive(Debug, Default)]
struct EventRing {
    events: VecDeque<ClientEvent>,
    missed: u64,
    reader: Option<Waker>,
    has_ended: bool,
}

/// The subscribers of one client.
#[derive(Debug, Default)]
pub(crate) struct EventSubscribers {
    rings: Mutex<Vec<Weak<Mutex<EventRing>>>>,
    /// Whether there may be subscribers. Read without the lock, since most clients have none.
    may_have: AtomicBool,
}

impl EventSubscribers {
    pub(crate) fn subscribe(&self) -> ClientEvents {
        let ring = Arc::new(Mutex::default());
        let mut rings = self.rings.lock();
        rings.retain(|ring| 0 < ring.strong_count());
        rings.push(Arc::downgrade(&ring));
        self.may_have.store(true, Ordering::Release);
        ClientEvents { ring }
    }

    /// Tells all subscribers, if there are any, of an event.
    pub(crate) fn tell(&self, event: impl FnOnce() -> ClientEvent) {
        if !self.may_have.load(Ordering::Acquire) {
            return;
        }
        let mut readers = Vec::new();
        {
            let mut rings = self.rings.lock();
            rings.retain(|ring| 0 < ring.strong_count());
            self.may_have.store(!rings.is_empty(), Ordering::Release);
            if !rings.is_empty() {
                let event = event();
                readers.extend(rings.iter().filter_map(Weak::upgrade).filter_map(|ring| ring.lock().push(&event)));
            }
        }
        readers.into_iter().for_each(Waker::wake); // Outside the locks.
    }

    /// Tells the subscribers if a broker's answer says that its disk or memory is full.
    pub(crate) fn tell_if_throttled(&self, address: &Arc<str>, response: &Response) {
        if !self.may_have.load(Ordering::Acquire) {
            return;
        }
        let failure = match response {
            Response::Failed(failure) => Some(failure),
            Response::Produce(parts) => parts.iter().find_map(|part| part.as_ref().err()),
            _ => None,
        };
        let is_throttling = |failure: &&Failure| matches!(failure.code, ErrorCode::DiskFull | ErrorCode::MemoryFull);
        if let Some(failure) = failure.filter(is_throttling) {
            self.tell(|| ClientEvent::Throttled { address: address.clone(), failure: failure.clone() });
        }
    }
}

/// Ends the events of all subscribers.
impl Drop for EventSubscribers {
    fn drop(&mut self) {
        for ring in self.rings.get_mut().iter().filter_map(Weak::upgrade) {
            let reader = {
                let mut ring = ring.lock();
                ring.has_ended = true;
                ring.reader.take()
            };
            reader.into_iter().for_each(Waker::wake);
        }
    }
}

impl EventRing {
    /// Adds an event, in place of the oldest one if the ring is full; returns the reader to wake.
    fn push(&mut self, event: &ClientEvent) -> Option<Waker> {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
            self.missed += 1;
        }
        self.events.push_back(event.clone());
        debug_assert!(self.events.len() <= EVENTS_MAX);
        self.reader.take()
    }

    fn take(&mut self) -> Option<ClientEvent> {
        match std::mem::take(&mut self.missed) {
            0 => self.events.pop_front(),
            events => Some(ClientEvent::Missed { events }),
        }
    }
}

impl ClientEvents {
    /// Returns the next event, and waits for one; `None` once the client and all its producers and consumers are
    /// dropped.
    pub async fn next(&mut self) -> Option<ClientEvent> {
        poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(&self, context: &Context<'_>) -> Poll<Option<ClientEvent>> {
        let mut ring = self.ring.lock();
        match ring.take() {
            None if !ring.has_ended => {
                ring.reader = Some(context.waker().clone());
                Poll::Pending
            }
            event => Poll::Ready(event),
        }
    }
}

impl Stream for ClientEvents {
    type Item = ClientEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        self.poll_event(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn connected(node: u32) -> ClientEvent {
        ClientEvent::Connected { address: "b:1".into(), node: NodeId::new(node) }
    }

    fn next(events: &mut ClientEvents) -> String {
        match events.next().now_or_never() {
            None => "nothing".to_owned(),
            Some(None) => "the end".to_owned(),
            Some(Some(ClientEvent::Connected { node, .. })) => format!("node {node}"),
            Some(Some(ClientEvent::Missed { events })) => format!("{events} missed"),
            Some(Some(other)) => format!("{other:?}"),
        }
    }

    #[test]
    fn a_subscriber_that_reads_too_slowly_learns_how_many_events_it_missed() {
        let subscribers = EventSubscribers::default();
        let (mut slow, mut fast) = (subscribers.subscribe(), subscribers.subscribe());
        for node in 0..EVENTS_MAX as u32 + 44 {
            subscribers.tell(|| connected(node));
            assert_eq!(next(&mut fast), format!("node {node}"));
        }
        assert!(slow.ring.lock().events.capacity() <= 2 * EVENTS_MAX);
        assert_eq!((next(&mut slow), next(&mut slow)), ("44 missed".to_owned(), "node 44".to_owned()));
        assert_eq!(next(&mut fast), "nothing");
        drop(subscribers);
        assert_eq!((next(&mut slow), next(&mut fast)), ("node 45".to_owned(), "the end".to_owned()));
    }

    #[test]
    fn events_are_not_made_without_a_subscriber() {
        let subscribers = EventSubscribers::default();
        drop(subscribers.subscribe());
        subscribers.tell(|| panic!("no subscriber is left"));
        assert!(!subscribers.may_have.load(Ordering::Relaxed));
    }
}
