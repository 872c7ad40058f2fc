//! One batch in the window, and what goes in and out with it.

use super::delivery::{DeliveryOutcome, Promise};
use bytes::{Bytes, BytesMut};
use grower_protocol::batch::{BatchBuilder, ProducerStamp, restamp};
use grower_protocol::ids::{Sequence, TopicId};
use grower_protocol::message::ProducerIdentity;
use std::task::Waker;
use tokio::time::Instant;

/// One batch for as long as it is in the window.
pub(super) type BatchId = u64;

/// The records whose fate is decided.
#[derive(Debug)]
pub(super) struct SettledRecords {
    pub(super) promise: Promise,
    /// The memory they no longer hold, in bytes.
    pub(super) reserved: usize,
    pub(super) outcome: DeliveryOutcome,
}

/// Records whose deliveries know their fate, and what is left to do outside the partition's lock.
#[derive(Debug)]
#[must_use = "somebody waits for the memory or for the fate"]
pub(super) struct ReleasedRecords {
    /// The memory they no longer hold, in bytes.
    pub(super) reserved: usize,
    pub(super) wakers: Vec<Waker>,
}

/// Tells the fate of records, under the lock of their partition: a flush that finds them no longer unsettled finds it told.
pub(super) fn settle(settled: Vec<SettledRecords>) -> Vec<ReleasedRecords> {
    let released =
        |SettledRecords { promise, reserved, outcome }| ReleasedRecords { reserved, wakers: promise.settle(outcome) };
    settled.into_iter().map(released).collect()
}

/// What follows from an answer.
#[derive(Debug, Default)]
pub(super) struct AnswerEffects {
    pub(super) settled: Vec<SettledRecords>,
    /// The client's picture of the cluster may be old.
    pub(super) metadata_outdated: bool,
    /// What was learned of how large a batch may be.
    pub(super) batch_size: Option<BatchSizeChange>,
}

/// How large later batches may be, by what the topic refused as too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchSizeChange {
    /// A batch of this many bytes, before compression, is split: no larger than half of it.
    Halve(usize),
    /// A record that stood alone: it was to blame, so as large as the producer was told.
    Restore,
}

/// A batch with its number, not built yet.
#[derive(Debug)]
pub(super) struct NumberedBatch {
    pub(super) id: BatchId,
    pub(super) builder: BatchBuilder,
    pub(super) stamp: Option<ProducerStamp>,
}

/// A batch in the window.
#[derive(Debug)]
pub(super) struct InFlightBatch {
    pub(super) id: BatchId,
    pub(super) promise: Promise,
    pub(super) reserved: usize,
    pub(super) count: u32,
    pub(super) since: Instant,
    pub(super) first: Sequence,
    pub(super) bytes: Bytes,
    /// Their length before compression.
    pub(super) plain_bytes: usize,
    pub(super) state: BatchState,
    /// An attempt may have been carried out although no answer said so.
    pub(super) in_doubt: bool,
    pub(super) topic_id: TopicId,
}

/// What a batch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchState {
    /// Being compressed and signed.
    Building,
    InFlight,
    /// To be sent again as it is.
    Waiting,
    /// Surely not in the log, to be numbered anew.
    Refused,
    /// Kept until all before it are resolved, for rule 1.
    Acked,
}

/// Why no batch is numbered: the sequences have a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct SequenceGap {
    /// The first sequence that is missing.
    pub(super) first_missing: Sequence,
    /// Numbers from the gap on cannot be used again: what was given up, or something after it, may be in the log.
    pub(super) unusable: bool,
}

/// One attempt to be made.
#[derive(Clone, Debug)]
pub(super) struct SendAttempt {
    pub(super) id: BatchId,
    pub(super) topic: TopicId,
    pub(super) bytes: Bytes,
}

impl InFlightBatch {
    /// Surely not in the log, so that another number does no harm; or there for good, so that it has none to lose.
    pub(super) fn may_renumber(&self) -> bool {
        match self.state {
            BatchState::Refused | BatchState::Acked => true,
            BatchState::Waiting => !self.in_doubt,
            BatchState::Building | BatchState::InFlight => false,
        }
    }

    /// It is sent, for the first time or again.
    pub(super) fn attempt(&mut self) -> SendAttempt {
        self.state = BatchState::InFlight;
        SendAttempt { id: self.id, topic: self.topic_id, bytes: self.bytes.clone() }
    }

    /// Makes its bytes say the producer and its present number. Earlier attempts keep theirs.
    pub(super) fn restamp(&mut self, identity: ProducerIdentity) {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        restamp(&mut bytes, stamp(identity, self.first));
        self.bytes = bytes.freeze();
    }
}

/// Whether `sequence` is at or behind `first_missing`, in numbers that wrap at 2^31.
pub(super) fn follows(sequence: Sequence, first_missing: Sequence) -> bool {
    sequence.to_wire().wrapping_sub(first_missing.to_wire()) & i32::MAX < 1 << 30
}

pub(super) fn stamp(identity: ProducerIdentity, first: Sequence) -> ProducerStamp {
    ProducerStamp { id: identity.id, epoch: identity.epoch, base_sequence: Some(first) }
}
