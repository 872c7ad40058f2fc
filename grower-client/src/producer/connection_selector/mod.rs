//! Selects the connection for the batches of one partition, and the time to change it.
//!
//! A broker appends the batches of one connection in the order of their arrival; it knows no order between connections.
//! So a partition changes its connection only while none of its batches is in flight, for whatever reason: the producer
//! has outgrown the shared connection, the leader moved, or the connection broke. Pure; the answer to the last attempt
//! triggers the next selection.

use crate::connection::BrokerConnection;

/// The kind of a connection to a partition's leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionKind {
    /// Shared by all producers of a client, for small batches.
    Shared,
    /// Used by one producer alone.
    Dedicated,
}

/// A connection that can be selected. Two values are equal if they are the same connection.
pub(super) trait SelectableConnection: Clone + PartialEq {
    fn is_open(&self) -> bool;
}

impl SelectableConnection for BrokerConnection {
    fn is_open(&self) -> bool {
        Self::is_open(self)
    }
}

/// Selects the connection to a partition's leader.
#[derive(Debug)]
pub(super) struct ConnectionSelector<C> {
    current: Option<SelectedConnection<C>>,
    /// Replaces `current` once nothing is in flight.
    next: Option<SelectedConnection<C>>,
    /// The attempts on `current` that are about to be sent or not yet answered.
    in_flight: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SelectedConnection<C> {
    kind: ConnectionKind,
    connection: C,
}

/// The result of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection<C> {
    /// The sender may use this connection.
    Open(C),
    /// The partition changes its connection once its batches in flight are answered.
    Switching,
    /// No connection is suitable.
    Missing,
}

impl<C> Default for ConnectionSelector<C> {
    fn default() -> Self {
        Self { current: None, next: None, in_flight: 0 }
    }
}

impl<C: SelectableConnection> ConnectionSelector<C> {
    /// Makes this connection the next one.
    pub(super) fn offer(&mut self, kind: ConnectionKind, connection: C) {
        let selected = SelectedConnection { kind, connection };
        self.next = (self.current.as_ref() != Some(&selected)).then_some(selected);
    }

    /// Selects a connection for a producer that uses `kind`.
    pub(super) fn select(&mut self, kind: ConnectionKind) -> Selection<C> {
        debug_assert!(self.in_flight == 0 || self.current.is_some(), "batches are in flight on no connection");
        if self.in_flight == 0 && self.next.is_some() {
            self.current = self.next.take();
        }
        match (&self.next, &self.current) {
            (Some(_), _) => Selection::Switching,
            (None, Some(current)) if current.suits(kind) => Selection::Open(current.connection.clone()),
            (None, _) => Selection::Missing,
        }
    }

    /// Counts attempts to be sent on the selected connection; [`ConnectionSelector::remove_in_flight`] must follow for
    /// each.
    pub(super) fn add_in_flight(&mut self, attempts: usize) {
        debug_assert!(self.next.is_none(), "a partition that changes its connection sends nothing");
        self.in_flight += attempts;
    }

    /// Ends one attempt: it was answered, lost, or not sent after all.
    pub(super) fn remove_in_flight(&mut self) {
        self.in_flight = self.in_flight.checked_sub(1).expect("each attempt ends once");
    }
}

impl<C: SelectableConnection> SelectedConnection<C> {
    /// Whether the connection is open and of the wanted kind. A dedicated connection suits both kinds.
    fn suits(&self, wanted: ConnectionKind) -> bool {
        self.connection.is_open() && (self.kind == ConnectionKind::Dedicated || wanted == ConnectionKind::Shared)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests;
