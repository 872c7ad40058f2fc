//! The log of the fake broker.

use bytes::BytesMut;
use grower_client::ids::{
    LeaderEpoch, Offset, ProducerEpoch, ProducerHolder, ProducerId, ProducerName, Sequence, TopicId,
};
use grower_client::{ErrorCode, Failure};
use grower_protocol::batch::{Batch, BatchHeader, UnplacedBatch};
use grower_protocol::message::*;
use std::collections::HashMap;

/// The records of the only partition, and the producers that the broker remembers.
pub(super) struct Log {
    /// The topic's id; `None` if it was deleted.
    pub(super) topic: Option<TopicId>,
    pub(super) batches: Vec<Batch>,
    /// The numbers of batches that are sent with a flipped bit.
    pub(super) damaged: Vec<usize>,
    pub(super) producers: HashMap<ProducerId, ProducerLog>,
    /// The named producers, with the holder of each.
    pub(super) names: HashMap<ProducerName, (ProducerHolder, ProducerIdentity)>,
    pub(super) identities: u64,
}

/// The batches of one producer.
#[derive(Default)]
pub(super) struct ProducerLog {
    epoch: ProducerEpoch,
    batches: Vec<LoggedBatch>,
}

struct LoggedBatch {
    epoch: ProducerEpoch,
    first: Sequence,
    count: u32,
    offset: Offset,
}

impl LoggedBatch {
    fn last(&self, id: ProducerId) -> LastWritten {
        LastWritten {
            producer: ProducerIdentity { id, epoch: self.epoch },
            sequence: self.first.wrapping_add(self.count - 1),
            offset: self.offset.saturating_add(u64::from(self.count) - 1),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        let topic = Some(TopicId::from_random([7; 16]));
        let (batches, damaged, identities) = (Vec::new(), Vec::new(), 0);
        Self { topic, batches, damaged, producers: HashMap::new(), names: HashMap::new(), identities }
    }
}

impl Log {
    pub(super) fn identity(&mut self, asked: InitProducer) -> Part<ProducerIdentity> {
        let Some(name) = asked.name else {
            self.identities += 1;
            return Ok(ProducerIdentity { id: ProducerId::new(self.identities), epoch: ProducerEpoch::new(0) });
        };
        let (holder, identity) = match self.names.get(&name) {
            None => {
                self.identities += 1;
                let id = ProducerId::new((3 << 51) + self.identities);
                (asked.holder, ProducerIdentity { id, epoch: ProducerEpoch::new(0) })
            }
            Some((holder, identity)) if *holder == asked.holder && asked.current != Some(*identity) => {
                (*holder, *identity)
            }
            Some((holder, _)) if *holder != asked.holder && asked.current.is_some() => {
                return Err(Failure::new(ErrorCode::FencedProducer, "another process has claimed the name"));
            }
            Some((_, identity)) => (asked.holder, ProducerIdentity { epoch: identity.epoch.next(), ..*identity }),
        };
        self.names.insert(name, (holder, identity));
        Ok(identity)
    }

    /// Refuses the epochs of a named producer other than the registered one.
    fn check_name(&self, producer: ProducerIdentity) -> Part<()> {
        match self.names.values().find(|(_, registered)| registered.id == producer.id) {
            Some((_, registered)) if registered.epoch != producer.epoch => {
                Err(Failure::new(ErrorCode::FencedProducer, "another epoch is registered"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn fence(&mut self, producer: ProducerIdentity) -> Part<ProducerFence> {
        self.check_name(producer)?;
        let known = self.producers.entry(producer.id).or_default();
        if producer.epoch < known.epoch {
            return Err(Failure::new(ErrorCode::FencedProducer, "a later epoch has begun"));
        }
        known.epoch = producer.epoch;
        let last = known.batches.iter().rfind(|batch| batch.epoch < producer.epoch);
        Ok(ProducerFence { last: last.map(|batch| batch.last(producer.id)) })
    }

    pub(super) fn end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, |batch| batch.header().next_offset())
    }

    pub(super) fn append(&mut self, bytes: BytesMut, expected_end: Option<Offset>) -> Part<Produced> {
        let header = BatchHeader::parse(&bytes).unwrap();
        let end = self.end();
        let produced = |base_offset| Produced { base_offset, log_start: Offset::ZERO, durability: Durability::Fsynced };
        if let Some(stamp) = header.producer {
            let (first, count) = (stamp.base_sequence.unwrap(), header.record_count);
            let batch = LoggedBatch { epoch: stamp.epoch, first, count, offset: end };
            let recent = self.producers.get(&stamp.id).map_or(&[][..], |known| &known.batches);
            let is_same = |known: &&LoggedBatch| (known.epoch, known.first) == (batch.epoch, batch.first);
            if let Some(same) = recent.iter().rev().take(5).find(is_same) {
                return Ok(produced(same.offset));
            }
            self.check_name(ProducerIdentity { id: stamp.id, epoch: stamp.epoch })?;
            check_end(expected_end, end)?;
            let known = self.producers.entry(stamp.id).or_default();
            if stamp.epoch < known.epoch {
                return Err(Failure::new(ErrorCode::FencedProducer, "a later epoch has begun"));
            }
            let follows = |last: &LoggedBatch| {
                first == last.first.wrapping_add(last.count) || last.epoch < stamp.epoch && first == Sequence::ZERO
            };
            if known.batches.last().map_or(first != Sequence::ZERO, |last| !follows(last)) {
                return Err(Failure::new(ErrorCode::OutOfOrderSequence, "out of order"));
            }
            known.epoch = stamp.epoch;
            known.batches.push(batch);
        }
        self.batches.push(UnplacedBatch::built(bytes).place(end, LeaderEpoch::new(1)));
        Ok(produced(end))
    }

    /// Returns the batches from an offset on, at least one and otherwise at most `max_bytes`, and their end.
    pub(super) fn fetch(&self, from: Offset, max_bytes: usize) -> (FetchedRecords, Vec<u8>, Offset) {
        let (mut bytes, mut end) = (Vec::new(), from);
        for (which, batch) in self.batches.iter().enumerate().filter(|(_, b)| from < b.header().next_offset()) {
            if !bytes.is_empty() && max_bytes < bytes.len() + batch.bytes().len() {
                break;
            }
            bytes.extend_from_slice(batch.bytes());
            end = batch.header().next_offset();
            if self.damaged.contains(&which) {
                *bytes.last_mut().unwrap() ^= 1;
            }
        }
        let length = bytes.len() as u32;
        let (high_watermark, log_start) = (self.end(), Offset::ZERO);
        (FetchedRecords { length, high_watermark, log_start, damaged: None }, bytes, end)
    }

    pub(super) fn list(&self, asked: &ListOffsets) -> Vec<Part<ListedOffset>> {
        let one = |lookup: &ListOffset| {
            let offset = match lookup.spec {
                OffsetSpec::End => Some(self.end()),
                OffsetSpec::FirstFrom(offset) => Some(offset).filter(|offset| *offset < self.end()),
                _ => Some(Offset::ZERO),
            };
            Ok(ListedOffset { offset, timestamp: None })
        };
        asked.partitions.iter().map(one).collect()
    }
}

fn check_end(expected: Option<Offset>, end: Offset) -> Part<()> {
    match expected.filter(|expected| *expected != end) {
        Some(_) => Err(Failure::new(ErrorCode::UnexpectedEnd, format_args!("the partition ends at {end}"))
            .with_context(FailureContext::LogEnd(end))),
        None => Ok(()),
    }
}
