//! Which connection the batches of one partition take, and when they may take another.
//!
//! A broker appends what comes over one connection in the order in which it comes; between two it knows no order. So a
//! partition turns to another connection only when nothing of it is in flight, whyever it turns: its producer has outgrown
//! the connection that all share, the leader moved, the old connection broke. Pure; the answer to the last attempt is
//! what makes a sender look again.

use crate::connection::BrokerConnection;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionKind {
    /// The client's: for the small batches of all its producers.
    Shared,
    /// The producer's own.
    Dedicated,
}

/// What a route asks of a connection. Two are equal if they are the same one.
pub(super) trait SelectableConnection: Clone + PartialEq {
    fn is_open(&self) -> bool;
}

impl SelectableConnection for BrokerConnection {
    fn is_open(&self) -> bool {
        Self::is_open(self)
    }
}

/// The connection to a partition's leader.
#[derive(Debug)]
pub(super) struct ConnectionSelector<C> {
    current: Option<SelectedConnection<C>>,
    /// Taken as soon as nothing is in flight on the current one.
    next: Option<SelectedConnection<C>>,
    /// Attempts that were sent, or are about to be, and not answered.
    in_flight: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SelectedConnection<C> {
    kind: ConnectionKind,
    connection: C,
}

/// What a sender finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection<C> {
    /// It may send on this connection.
    Open(C),
    /// It may, on another, once what is in flight has been answered.
    Switching,
    /// There is no connection that would do.
    Missing,
}

impl<C> Default for ConnectionSelector<C> {
    fn default() -> Self {
        Self { current: None, next: None, in_flight: 0 }
    }
}

impl<C: SelectableConnection> ConnectionSelector<C> {
    /// From now on this connection is the one to take.
    pub(super) fn offer(&mut self, kind: ConnectionKind, connection: C) {
        let selected = SelectedConnection { kind, connection };
        self.next = (self.current.as_ref() != Some(&selected)).then_some(selected);
    }

    /// What somebody finds who wants `kind`.
    pub(super) fn select(&mut self, kind: ConnectionKind) -> Selection<C> {
        if self.in_flight == 0 && self.next.is_some() {
            self.current = self.next.take();
        }
        match (&self.next, &self.current) {
            (Some(_), _) => Selection::Switching,
            (None, Some(current)) if current.suits(kind) => Selection::Open(current.connection.clone()),
            (None, _) => Selection::Missing,
        }
    }

    /// So many attempts will be sent on the connection that was found open; [`ConnectionSelector::remove_in_flight`] follows for each.
    pub(super) fn add_in_flight(&mut self, attempts: usize) {
        self.in_flight += attempts;
    }

    /// An attempt was answered, is known to be lost, or was not sent after all.
    pub(super) fn remove_in_flight(&mut self) {
        self.in_flight = self.in_flight.checked_sub(1).expect("each attempt arrives once");
    }
}

impl<C: SelectableConnection> SelectedConnection<C> {
    /// A producer's own connection suits everything that it has.
    fn suits(&self, wanted: ConnectionKind) -> bool {
        self.connection.is_open() && (self.kind == ConnectionKind::Dedicated || wanted == ConnectionKind::Shared)
    }
}

#[cfg(test)]
mod tests;
