//! A broker with one partition: its log, and what it remembers of producers.

use super::refusal;
use crate::error::RequestError;
use crate::producer::delivery::BatchAck;
use crate::producer::in_flight::FenceResult;
use bytes::Bytes;
use grower_protocol::batch::Batch;
use grower_protocol::ids::{Offset, ProducerEpoch, ProducerId, Sequence};
use grower_protocol::message::{
    Durability, ErrorCode, Failure, FailureContext, LastWritten, ProducerIdentity, RecordRange,
};
use std::collections::{HashMap, HashSet, VecDeque};

/// The log, and the last five batches of each producer.
#[derive(Clone, Default)]
pub(super) struct MiniBroker {
    batches: Vec<LoggedBatch>,
    /// A power cut keeps this many batches.
    durable: usize,
    producers: HashMap<ProducerId, ProducerState>,
    /// The ids that the broker never allocated, as far as it knows.
    pub(super) refused_ids: HashSet<ProducerId>,
    /// The only valid identity, if the producer has a name.
    pub(super) registered: Option<ProducerIdentity>,
    /// The broker refuses batches with more records.
    pub(super) records_max: Option<u32>,
    /// The broker refuses records with values that are divisible by this number.
    pub(super) refused_divisor: Option<u32>,
    /// A refusal names the first ranges of refused records, at most this many.
    pub(super) named_ranges: usize,
    /// The number of batches that it has refused for their records.
    pub(super) refusals: usize,
}

#[derive(Clone)]
struct LoggedBatch {
    producer: ProducerIdentity,
    first: Sequence,
    offset: u64,
    values: Vec<u32>,
}

#[derive(Clone, Default)]
struct ProducerState {
    epoch: ProducerEpoch,
    recent: VecDeque<LoggedBatch>,
}

impl MiniBroker {
    /// A broker with this named producer.
    pub(super) fn knowing(registered: Option<ProducerIdentity>) -> Self {
        Self { registered, ..Self::default() }
    }

    pub(super) fn log(&self) -> Vec<u32> {
        self.batches.iter().flat_map(|batch| batch.values.iter().copied()).collect()
    }

    /// Makes the log durable, as before each answer.
    pub(super) fn sync(&mut self) {
        self.durable = self.batches.len();
    }

    pub(super) fn append(&mut self, bytes: &Bytes) -> Result<BatchAck, RequestError> {
        let batch = Batch::check(bytes.clone()).unwrap();
        let header = *batch.header();
        if self.records_max.is_some_and(|most| most < header.record_count) {
            return Err(refusal(ErrorCode::TooLarge));
        }
        let stamp = header.producer.unwrap();
        let producer = ProducerIdentity { id: stamp.id, epoch: stamp.epoch };
        let (first, values) = (stamp.base_sequence.unwrap(), values(&batch));
        if let Some(divisor) = self.refused_divisor {
            self.check_records(&values, divisor)?;
        }
        if let Some(offset) = self.check(producer, first, &values)? {
            return Ok(ack_at(offset));
        }
        let offset = self.log().len() as u64;
        self.note(LoggedBatch { producer, first, offset, values });
        Ok(ack_at(offset))
    }

    fn check_records(&mut self, values: &[u32], divisor: u32) -> Result<(), RequestError> {
        let refused = (0..).zip(values).filter(|(_, value)| **value % divisor == 0);
        let refused: Vec<_> = refused.map(|(first, _)| RecordRange { first, count: 1 }).collect();
        if refused.is_empty() {
            return Ok(());
        }
        self.refusals += 1;
        let failure = Failure::new(ErrorCode::InvalidRecord, "as the test wants");
        let named = refused.into_iter().take(self.named_ranges).collect::<Vec<_>>();
        let context = FailureContext::Records(named);
        Err(if self.named_ranges == 0 { failure } else { failure.with_context(context) }.into())
    }

    /// Returns the offset of a repeated batch.
    fn check(&self, producer: ProducerIdentity, first: Sequence, values: &[u32]) -> Result<Option<u64>, RequestError> {
        let Some(state) = self.producers.get(&producer.id) else {
            return match first {
                _ if self.is_refused(producer) => Err(refusal(ErrorCode::FencedProducer)),
                Sequence::ZERO => Ok(None),
                _ => Err(refusal(ErrorCode::OutOfOrderSequence)), // It was forgotten.
            };
        };
        let is_same =
            |old: &&LoggedBatch| (old.producer, old.first, old.values.len()) == (producer, first, values.len());
        if let Some(same) = state.recent.iter().find(is_same) {
            return Ok(Some(same.offset));
        }
        if producer.epoch < state.epoch || self.is_refused(producer) {
            return Err(refusal(ErrorCode::FencedProducer));
        }
        let last = state.recent.back();
        let begins = last.is_none_or(|last| last.producer != producer) && first == Sequence::ZERO;
        if begins || last.is_some_and(|last| first == last.next()) {
            Ok(None)
        } else {
            Err(refusal(ErrorCode::OutOfOrderSequence))
        }
    }

    fn is_refused(&self, producer: ProducerIdentity) -> bool {
        let is_unregistered = self.registered.is_some_and(|registered| registered != producer);
        is_unregistered || self.refused_ids.contains(&producer.id)
    }

    fn note(&mut self, batch: LoggedBatch) {
        let state = self.producers.entry(batch.producer.id).or_default();
        state.epoch = batch.producer.epoch;
        state.recent.push_back(batch.clone());
        if 5 < state.recent.len() {
            state.recent.pop_front();
        }
        self.batches.push(batch);
    }

    pub(super) fn fence(&mut self, producer: ProducerIdentity) -> FenceResult {
        let is_refused = self.is_refused(producer);
        let state = self.producers.entry(producer.id).or_default();
        if producer.epoch < state.epoch || is_refused {
            return Err(refusal(ErrorCode::FencedProducer));
        }
        state.epoch = producer.epoch;
        let last = state.recent.iter().rfind(|batch| batch.producer != producer);
        Ok(last.map(|last| LastWritten {
            producer: last.producer,
            sequence: last.first.wrapping_add(last.values.len() as u32 - 1),
            offset: Offset::new(last.offset + last.values.len() as u64 - 1),
        }))
    }

    /// Restarts after a power cut that loses batches which were never acknowledged, except the first `kept`. The log
    /// tells what the broker knows of producers; fences are forgotten.
    pub(super) fn restart(&mut self, kept: usize) {
        let mut batches = std::mem::take(&mut self.batches);
        batches.truncate(self.durable.saturating_add(kept));
        self.producers.clear();
        batches.into_iter().for_each(|batch| self.note(batch));
        self.durable = self.batches.len();
    }

    /// Forgets all producers, as after an idle day.
    pub(super) fn forget_producers(&mut self) {
        self.producers.clear();
    }
}

impl LoggedBatch {
    fn next(&self) -> Sequence {
        self.first.wrapping_add(self.values.len() as u32)
    }
}

fn values(batch: &Batch) -> Vec<u32> {
    let records = batch.records(1 << 20).unwrap();
    records.map(|record| u32::from_be_bytes(record.unwrap().value.unwrap()[..].try_into().unwrap())).collect()
}

fn ack_at(offset: u64) -> BatchAck {
    BatchAck { base_offset: Some(Offset::new(offset)), durability: Durability::Fsynced }
}
