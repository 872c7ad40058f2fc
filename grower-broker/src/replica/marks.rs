//! How far a partition is written, durable and committed: the pure core of the partition.
//!
//! A replica keeps two marks. *Written* is the log end; *durable* is the end that survives a power cut. The high watermark
//! is no third fact but a function of the flush policy over them: with `flush=fsync` it follows the durable mark, with
//! `flush=os` the written one. Always:
//!
//! ```text
//! log_start <= durable <= written        high_watermark <= the mark that the policy commits by
//! ```
//!
//! and the high watermark never falls. So a change of the policy:
//!
//! - `os` to `fsync`: the durable mark may lie below the high watermark, and what was read cannot be taken back. The log is
//!   made durable first; until then the change is refused and the partition goes on under the old policy.
//! - `fsync` to `os`: the high watermark moves up to the written mark at once.
//!
//! An acknowledgement is judged against the mark that it names, whatever the policy says: [`Marks::durability`].
//! In a cluster the high watermark will be the minimum of these ends over the in-sync replicas; this is the local end.

use crate::config::topic::FlushPolicy;
use grower_protocol::ids::Offset;
use grower_protocol::message::Durability;
use std::ops::Range;

/// The marks of one partition. Every change of the log is told here, in the order in which it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    log_start: Offset,
    durable: Offset,
    written: Offset,
    high_watermark: Offset,
    policy: FlushPolicy,
}

/// The log holds bytes that a power cut would take: `flush=fsync` must not begin yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log is written up to offset {written} and durable up to {durable}")]
pub(crate) struct NotDurable {
    written: Offset,
    durable: Offset,
}

impl Marks {
    /// The marks of a log that was just opened: recovery made all of it durable.
    pub(crate) fn recovered(span: Range<Offset>, policy: FlushPolicy) -> Self {
        let Range { start: log_start, end } = span;
        let marks = Self { log_start, durable: end, written: end, high_watermark: end, policy };
        marks.check();
        marks
    }

    /// A batch was written and ends before `end`.
    pub(crate) fn appended(&mut self, end: Offset) {
        debug_assert!(self.written < end, "{end} is not beyond the log end of {self:?}");
        self.written = end;
        self.advance();
    }

    /// Everything before `end` is durable. Syncs may end in any order: one that covers less changes nothing.
    pub(crate) fn synced(&mut self, end: Offset) {
        debug_assert!(end <= self.written, "{end} was synced and never written: {self:?}");
        self.durable = self.durable.max(end);
        self.advance();
    }

    /// Records before `log_start` were dropped, durably.
    pub(crate) fn dropped(&mut self, log_start: Offset) {
        debug_assert!(self.log_start <= log_start, "the log start falls to {log_start}: {self:?}");
        self.log_start = log_start;
        self.advance();
    }

    /// The topic's flush policy is this from now on.
    pub(crate) fn configured(&mut self, policy: FlushPolicy) -> Result<(), NotDurable> {
        let Self { written, durable, .. } = *self;
        if policy == FlushPolicy::Fsync && self.policy == FlushPolicy::Os && durable < written {
            return Err(NotDurable { written, durable });
        }
        self.policy = policy;
        self.advance();
        Ok(())
    }

    /// From the log start to the log end.
    pub(crate) fn span(&self) -> Range<Offset> {
        self.log_start..self.written
    }

    /// The first offset that is not known to be durable.
    pub(crate) fn durable(&self) -> Offset {
        self.durable
    }

    /// The first offset that is not committed: readers see what is before it.
    pub(crate) fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// What an acknowledgement of records that end before `end` may say; none if they are not written.
    #[cfg(test)]
    pub(crate) fn durability(&self, end: Offset) -> Option<Durability> {
        if self.written < end { None } else { Some(durability(end, self.durable)) }
    }

    /// Moves the high watermark to what the policy allows: the only place where it moves.
    fn advance(&mut self) {
        let allowed = self.allowed();
        debug_assert!(self.high_watermark <= allowed, "the high watermark falls to {allowed}: {self:?}");
        self.high_watermark = self.high_watermark.max(allowed);
        self.check();
    }

    /// The mark that the policy commits by.
    fn allowed(&self) -> Offset {
        match self.policy {
            FlushPolicy::Fsync => self.durable,
            FlushPolicy::Os => self.written,
        }
    }

    fn check(&self) {
        debug_assert!(self.log_start <= self.durable && self.durable <= self.written, "{self:?}");
        debug_assert!(self.high_watermark <= self.allowed(), "readers see what is not committed: {self:?}");
    }
}

/// What an acknowledgement of written records says that end before `end`, where everything before `durable` is durable.
pub(crate) fn durability(end: Offset, durable: Offset) -> Durability {
    if end <= durable { Durability::Fsynced } else { Durability::Written }
}

#[cfg(test)]
mod tests;
