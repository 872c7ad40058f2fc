//! The log of the fake broker.

use bytes::BytesMut;
use grower_client::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TopicId};
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
    pub(super) producers: HashMap<ProducerId, Vec<(Sequence, u32, Offset)>>,
    pub(super) identities: u64,
}

impl Default for Log {
    fn default() -> Self {
        let topic = Some(TopicId::from_random([7; 16]));
        Self { topic, batches: Vec::new(), damaged: Vec::new(), producers: HashMap::new(), identities: 0 }
    }
}

impl Log {
    pub(super) fn identity(&mut self) -> ProducerIdentity {
        self.identities += 1;
        ProducerIdentity { id: ProducerId::new(self.identities), epoch: ProducerEpoch::new(0) }
    }

    pub(super) fn end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, |batch| batch.header().next_offset())
    }

    pub(super) fn append(&mut self, bytes: BytesMut) -> Part<Produced> {
        let header = BatchHeader::parse(&bytes).unwrap();
        let end = self.end();
        let produced = |base_offset| Produced { base_offset, log_start: Offset::ZERO, durability: Durability::Fsynced };
        if let Some(stamp) = header.producer {
            let (known, first) = (self.producers.entry(stamp.id).or_default(), stamp.base_sequence.unwrap());
            if let Some((.., offset)) = known.iter().rev().take(5).find(|(sequence, ..)| *sequence == first) {
                return Ok(produced(*offset));
            }
            if known.last().is_some_and(|(sequence, count, _)| sequence.wrapping_add(*count) != first) {
                return Err(Failure::new(ErrorCode::OutOfOrderSequence, "out of order"));
            }
            known.push((first, header.record_count, end));
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
            let offset = if lookup.spec == OffsetSpec::End { self.end() } else { Offset::ZERO };
            Ok(ListedOffset { offset: Some(offset), timestamp: None })
        };
        asked.partitions.iter().map(one).collect()
    }
}
