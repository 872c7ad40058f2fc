//! The totals of a consumer, and the age of its knowledge of each leader, for its statistics.

use super::{SessionKey, SubscriptionState};
use crate::record::ConsumerRecord;
use std::collections::HashMap;
use tokio::time::Instant;

/// The totals of a consumer.
#[derive(Debug, Default)]
pub(crate) struct ConsumerTotals {
    /// The records handed out.
    pub(crate) records: u64,
    /// The bytes of their keys and values.
    pub(crate) bytes: u64,
    /// The fetches answered.
    pub(crate) fetches: u64,
    /// The time of each session's last answer: the high watermarks of its partitions are known as of then.
    answers: HashMap<SessionKey, Instant>,
}

impl ConsumerTotals {
    /// Counts a record that is handed out.
    pub(super) fn count(&mut self, record: &ConsumerRecord) {
        let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.records += 1;
        self.bytes += length(&record.key) + length(&record.value);
    }
}

impl SubscriptionState {
    /// Records the answer to a fetch.
    pub(crate) fn note_answer(&mut self, session: SessionKey, now: Instant) {
        self.totals.fetches += 1;
        self.totals.answers.insert(session, now);
    }

    /// Records the end of a session.
    pub(crate) fn note_session_end(&mut self, session: SessionKey) {
        self.totals.answers.remove(&session);
    }

    pub(crate) fn totals(&self) -> &ConsumerTotals {
        &self.totals
    }

    /// Returns the earliest time as of which a known high watermark is known.
    pub(crate) fn oldest_high_watermark(&self) -> Option<Instant> {
        let known = self.partitions.placed().filter_map(|(partition, placement)| {
            let answered = placement.and_then(|placement| self.totals.answers.get(&placement.session));
            partition.high_watermark_at.map(|at| answered.map_or(at, |answered| at.max(*answered)))
        });
        known.min()
    }
}
