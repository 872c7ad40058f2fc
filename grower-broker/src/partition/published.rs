//! The marks of a replica, readable without the writer's lock.

use crate::replica::{Replica, ReplicaMarks};
use grower_protocol::ids::{LeaderEpoch, Offset};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A copy of the marks, stored under the writer's lock after each change.
///
/// A reader that loads `log_start`, `high_watermark` and `log_end` in this order sees `log_start <= high_watermark <=
/// log_end`: they are stored in the reverse order, and none of them falls.
#[derive(Debug)]
pub(super) struct PublishedMarks {
    log_start: AtomicU64,
    high_watermark: AtomicU64,
    durable: AtomicU64,
    log_end: AtomicU64,
    epoch: AtomicU32,
}

impl PublishedMarks {
    pub(super) fn of(replica: &Replica) -> Self {
        let published = Self {
            log_start: AtomicU64::default(),
            high_watermark: AtomicU64::default(),
            durable: AtomicU64::default(),
            log_end: AtomicU64::default(),
            epoch: AtomicU32::default(),
        };
        published.store(replica);
        published
    }

    pub(super) fn store(&self, replica: &Replica) {
        let ReplicaMarks { log_start, durable, log_end, high_watermark } = replica.marks();
        // In release builds as well: a reader that saw a record must not lose it, nor an ack its promise.
        assert!(self.high_watermark() <= high_watermark && self.durable() <= durable, "{self:?} falls to {replica:?}");
        debug_assert!(self.epoch() <= replica.epoch().unwrap_or_default(), "{self:?} falls to {replica:?}");
        self.epoch.store(replica.epoch().unwrap_or_default().value(), Ordering::Release);
        self.log_end.store(log_end.value(), Ordering::Release);
        self.durable.store(durable.value(), Ordering::Release);
        self.high_watermark.store(high_watermark.value(), Ordering::Release);
        self.log_start.store(log_start.value(), Ordering::Release);
    }

    pub(super) fn high_watermark(&self) -> Offset {
        Offset::new(self.high_watermark.load(Ordering::Acquire))
    }

    pub(super) fn durable(&self) -> Offset {
        Offset::new(self.durable.load(Ordering::Acquire))
    }

    pub(super) fn log_end(&self) -> Offset {
        Offset::new(self.log_end.load(Ordering::Acquire))
    }

    pub(super) fn epoch(&self) -> LeaderEpoch {
        LeaderEpoch::new(self.epoch.load(Ordering::Acquire))
    }

    /// All marks, each loaded before those that are never below it.
    pub(super) fn marks(&self) -> ReplicaMarks {
        let log_start = Offset::new(self.log_start.load(Ordering::Acquire));
        let (high_watermark, durable) = (self.high_watermark(), self.durable());
        let log_end = self.log_end();
        debug_assert!(log_start <= high_watermark && high_watermark <= log_end, "{self:?}");
        ReplicaMarks { log_start, durable, log_end, high_watermark }
    }
}
