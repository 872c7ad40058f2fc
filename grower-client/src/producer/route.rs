//! Which connection the batches of one partition take, and when they may take another.
//!
//! A broker appends what comes over one connection in the order in which it comes; between two it knows no order. So a
//! partition turns to another connection only when nothing of it is under way, whyever it turns: its producer has outgrown
//! the connection that all share, the leader moved, the old connection broke. Pure; the answer that empties the road is
//! what makes a sender look again.

use crate::connection::BrokerConnection;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Road {
    /// The client's: for the small batches of all its producers.
    Shared,
    /// The producer's own.
    Own,
}

/// What a route asks of a connection. Two are equal if they are the same one.
pub(super) trait Passable: Clone + PartialEq {
    fn is_open(&self) -> bool;
}

impl Passable for BrokerConnection {
    fn is_open(&self) -> bool {
        Self::is_open(self)
    }
}

/// The way to a partition's leader.
#[derive(Debug)]
pub(super) struct Route<L> {
    current: Option<Way<L>>,
    /// Taken as soon as nothing is under way on the current one.
    next: Option<Way<L>>,
    /// Attempts that were sent, or are about to be, and not answered.
    under_way: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Way<L> {
    road: Road,
    connection: L,
}

/// What a sender finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passage<L> {
    /// It may send on this connection.
    Open(L),
    /// It may, on another, once what is under way has been answered.
    Turning,
    /// There is no connection that would do.
    Missing,
}

impl<L> Default for Route<L> {
    fn default() -> Self {
        Self { current: None, next: None, under_way: 0 }
    }
}

impl<L: Passable> Route<L> {
    /// From now on this connection is the one to take.
    pub(super) fn offer(&mut self, road: Road, connection: L) {
        let way = Way { road, connection };
        self.next = (self.current.as_ref() != Some(&way)).then_some(way);
    }

    /// What somebody finds who wants `road`.
    pub(super) fn passage(&mut self, road: Road) -> Passage<L> {
        if self.under_way == 0 && self.next.is_some() {
            self.current = self.next.take();
        }
        match (&self.next, &self.current) {
            (Some(_), _) => Passage::Turning,
            (None, Some(current)) if current.suits(road) => Passage::Open(current.connection.clone()),
            (None, _) => Passage::Missing,
        }
    }

    /// So many attempts will be sent on the connection that was found open; [`Route::arrived`] follows for each.
    pub(super) fn depart(&mut self, attempts: usize) {
        self.under_way += attempts;
    }

    /// An attempt was answered, is known to be lost, or was not sent after all.
    pub(super) fn arrived(&mut self) {
        self.under_way = self.under_way.checked_sub(1).expect("each attempt arrives once");
    }
}

impl<L: Passable> Way<L> {
    /// A producer's own connection suits everything that it has.
    fn suits(&self, wanted: Road) -> bool {
        self.connection.is_open() && (self.road == Road::Own || wanted == Road::Shared)
    }
}

#[cfg(test)]
mod tests;
