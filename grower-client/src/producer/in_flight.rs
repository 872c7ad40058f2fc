//! A batch in the window, and the values that enter and leave with it.

use super::delivery::{BatchAck, DeliveryOutcome};
use super::promise::DeliveryPromise;
use super::split::part;
use crate::error::RequestError;
use bytes::{Bytes, BytesMut};
use grower_protocol::batch::{BatchBuilder, ProducerStamp, restamp};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{Offset, Sequence, TopicId};
use grower_protocol::message::{LastWritten, ProducerIdentity};
use std::task::Waker;
use tokio::time::Instant;

/// Identifies a batch while it is in the window.
pub(super) type BatchId = u64;

/// The result of one attempt to send a batch.
pub(super) type AttemptResult = Result<BatchAck, RequestError>;

/// Records with a final outcome, which their callers do not know yet.
#[derive(Debug)]
pub(super) struct SettledRecords {
    pub(super) promise: DeliveryPromise,
    /// The memory to release, in bytes.
    pub(super) reserved: usize,
    pub(super) outcome: DeliveryOutcome,
}

/// The work that settled records leave for outside the partition's lock.
#[derive(Debug)]
#[must_use = "callers wait for the memory or for the outcome"]
pub(super) struct ReleasedRecords {
    /// The memory to release, in bytes.
    pub(super) reserved: usize,
    /// The callers to wake.
    pub(super) wakers: Vec<Waker>,
    /// The number of records, for the statistics.
    pub(super) records: u64,
    pub(super) is_acknowledged: bool,
}

/// Settles records under the lock of their partition, so that a flush finds them either unsettled or with their
/// outcome.
pub(super) fn settle(settled: Vec<SettledRecords>) -> Vec<ReleasedRecords> {
    let released = |SettledRecords { promise, reserved, outcome }| {
        let (records, is_acknowledged) = (promise.live_count(), outcome.is_ok());
        ReleasedRecords { reserved, wakers: promise.settle(&outcome), records, is_acknowledged }
    };
    settled.into_iter().map(released).collect()
}

/// The effects of an answer.
#[derive(Debug, Default)]
pub(super) struct AnswerEffects {
    pub(super) settled: Vec<SettledRecords>,
    /// The cached metadata may be outdated.
    pub(super) metadata_outdated: bool,
    /// The new limit of later batches.
    pub(super) batch_size: Option<BatchSizeChange>,
}

/// A change of the size limit of later batches, after the topic refused one as too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchSizeChange {
    /// A batch of this many bytes, before compression, was split: half of it is the new limit.
    Halve(usize),
    /// A single record was too large: the limit of the settings applies again.
    Restore,
}

/// A batch with a sequence, to be built.
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
    pub(super) promise: DeliveryPromise,
    pub(super) reserved: usize,
    pub(super) count: u32,
    /// The identity in its stamp.
    pub(super) identity: Option<ProducerIdentity>,
    pub(super) first: Sequence,
    pub(super) bytes: Bytes,
    /// The length of the records before compression.
    pub(super) plain_bytes: usize,
    pub(super) state: BatchState,
    /// An attempt may have been carried out although its answer is missing.
    pub(super) in_doubt: bool,
    /// A fence found it in the log: it is sent again unchanged, under its earlier epoch, for its ack.
    pub(super) in_log: bool,
    /// The end that the partition must have.
    pub(super) expected_end: Option<Offset>,
    pub(super) topic_id: TopicId,
}

/// The next event that a batch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchState {
    /// A sender compresses it and computes its checksum.
    Building,
    /// It is sent and not answered.
    InFlight,
    /// It must be sent again unchanged.
    Waiting,
    /// It is certainly not in the log and needs a new sequence.
    NeedsSequence,
    /// It is acknowledged, and kept until all batches before it are resolved (rule 1).
    Acked,
}

/// A gap in the sequences: while it exists, the window is paused and numbers no batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct SequenceGap {
    /// The first missing sequence.
    pub(super) first_missing: Sequence,
    /// Sequences from the gap on are unusable: the batch that was given up, or a later one, may be in the log.
    pub(super) unusable: bool,
}

/// One attempt to begin the next epoch of a producer in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FenceAttempt {
    pub(super) topic: TopicId,
    pub(super) producer: ProducerIdentity,
}

/// The result of an attempt to fence a partition: the last record of the producer's earlier epochs.
pub(super) type FenceResult = Result<Option<LastWritten>, RequestError>;

/// One attempt to send a batch.
#[derive(Clone, Debug)]
pub(super) struct SendAttempt {
    pub(super) id: BatchId,
    pub(super) topic: TopicId,
    pub(super) expected_end: Option<Offset>,
    pub(super) bytes: Bytes,
}

impl InFlightBatch {
    /// True if the batch may get a new sequence: certainly not in the log, or already acknowledged.
    pub(super) fn may_renumber(&self) -> bool {
        match self.state {
            BatchState::NeedsSequence | BatchState::Acked => true,
            BatchState::Waiting => !self.in_doubt,
            BatchState::Building | BatchState::InFlight => false,
        }
    }

    /// Whether its outcome is open.
    pub(super) fn is_unresolved(&self) -> bool {
        self.state != BatchState::Acked
    }

    /// Whether it may be split or lose some of its records.
    pub(super) fn is_divisible(&self) -> bool {
        1 < self.count && self.expected_end.is_none()
    }

    /// Whether a fence found it in the log and its ack is missing.
    pub(super) fn awaits_ack_of_log(&self) -> bool {
        self.in_log && self.is_unresolved()
    }

    /// Whether the partition's log has the batch if `last` is the last record of the producer there.
    pub(super) fn is_written_by(&self, last: &LastWritten) -> bool {
        let last_sequence = self.first.wrapping_add(self.count - 1);
        self.identity == Some(last.producer) && follows(last.sequence, last_sequence)
    }

    /// Whether its parts agree: bytes once it is built, no memory once it is acknowledged, and no new sequence in
    /// doubt.
    pub(super) fn is_sound(&self) -> bool {
        let is_built = !self.bytes.is_empty();
        0 < self.count
            && (!self.in_log || self.in_doubt)
            && match self.state {
                BatchState::Building => !is_built && !self.in_doubt,
                BatchState::InFlight | BatchState::Waiting => is_built,
                BatchState::NeedsSequence => is_built && !self.in_doubt,
                BatchState::Acked => is_built && self.reserved == 0,
            }
    }

    /// Whether its records may be in the log, now or later.
    pub(super) fn may_be_written(&self) -> bool {
        self.in_doubt || self.state == BatchState::InFlight
    }

    /// The earliest deadline of its unsettled records; `None` while it is built, which takes a moment.
    pub(super) fn earliest_deadline(&self) -> Option<Instant> {
        self.promise.earliest_deadline().filter(|_| self.state != BatchState::Building)
    }

    /// Removes settled records from its bytes; returns whether there were any. The batch needs a new sequence then.
    pub(super) fn withdraw_settled(&mut self, codec: Codec) -> bool {
        let is_due = 0 < self.promise.settled_count();
        if is_due {
            debug_assert!(self.may_renumber() && !self.promise.is_settled(), "{self:?}");
            (self.bytes, self.plain_bytes) = part(&self.bytes, codec, &self.promise.withdraw_settled());
            self.count = self.promise.count();
        }
        is_due
    }

    /// The sequence after its last record.
    pub(super) fn next_sequence(&self) -> Sequence {
        self.first.wrapping_add(self.count)
    }

    /// Marks the batch as in flight and returns the attempt to send.
    pub(super) fn attempt(&mut self) -> SendAttempt {
        debug_assert!(matches!(self.state, BatchState::Building | BatchState::Waiting), "{self:?}");
        debug_assert!(!self.bytes.is_empty(), "batch {} is not built", self.id);
        self.state = BatchState::InFlight;
        SendAttempt { id: self.id, topic: self.topic_id, expected_end: self.expected_end, bytes: self.bytes.clone() }
    }

    /// Writes the producer's identity and the current sequence into a copy of its bytes. Earlier attempts keep theirs.
    pub(super) fn restamp(&mut self, identity: ProducerIdentity) {
        debug_assert!(!self.bytes.is_empty(), "batch {} is not built", self.id);
        let mut bytes = BytesMut::from(&self.bytes[..]);
        restamp(&mut bytes, stamp(identity, self.first));
        self.identity = Some(identity);
        self.bytes = bytes.freeze();
    }
}

/// Whether `sequence` is `first_missing` or later. Sequences wrap at 2^31.
pub(super) fn follows(sequence: Sequence, first_missing: Sequence) -> bool {
    sequence.to_wire().wrapping_sub(first_missing.to_wire()) & i32::MAX < 1 << 30
}

/// Returns the stamp of a batch.
pub(super) fn stamp(identity: ProducerIdentity, first: Sequence) -> ProducerStamp {
    ProducerStamp { id: identity.id, epoch: identity.epoch, base_sequence: Some(first) }
}
