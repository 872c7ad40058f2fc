//! Makes batches, and says briefly what is in a log.

use crate::log::{Appended, Log, LogReader, ReadError};
use grower_protocol::batch::{BatchBuilder, BatchReader, ProducerStamp, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

pub(super) const EPOCH: LeaderEpoch = LeaderEpoch::new(1);

/// A log with a clock that stands still unless told.
pub(super) struct Kit {
    pub(super) log: Box<dyn Log>,
    pub(super) now: i64,
}

impl Kit {
    pub(super) fn new(log: Box<dyn Log>) -> Self {
        Self { log, now: 0 }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    /// Appends one batch of these values, stamped now.
    pub(super) fn append(&mut self, values: &[&str]) -> Appended {
        let now = self.now();
        self.log.append(batch(values, now, None), EPOCH, now).expect("a sound batch is appended")
    }

    /// Appends `count` batches of one record each: `0`, `1`, ..
    pub(super) fn fill(&mut self, count: u64) {
        let first = self.log.span().end.value();
        (first..first + count).for_each(|n| {
            self.append(&[&n.to_string()]);
        });
    }

    pub(super) fn flush(&mut self) -> Offset {
        let point = self.log.flush_point();
        let synced = point.files.iter().try_for_each(|file| file.sync());
        self.log.flushed(&point, synced).expect("nothing stands against a flush")
    }

    pub(super) fn span(&self) -> (u64, u64) {
        let span = self.log.span();
        (span.start.value(), span.end.value())
    }

    /// All that can be read from `from` on, as `offset:value`.
    pub(super) fn read(&self, from: u64) -> Vec<String> {
        read_all(&self.log.reader(), from)
    }

    /// The values of the records of one read.
    pub(super) fn read_once(&self, from: u64, max_bytes: usize, upto: u64) -> Result<Vec<String>, ReadError> {
        let slices = self.log.reader().read(Offset::new(from), max_bytes, Offset::new(upto))?;
        Ok(slices.iter().flat_map(|slice| records(&slice.read().expect("a slice can be read"))).collect())
    }
}

pub(super) fn stamp(producer: u64, epoch: u16, sequence: i32) -> Option<ProducerStamp> {
    let base_sequence = Sequence::from_wire(sequence);
    Some(ProducerStamp { id: ProducerId::new(producer), epoch: ProducerEpoch::new(epoch), base_sequence })
}

pub(super) fn batch(values: &[&str], now: Timestamp, producer: Option<ProducerStamp>) -> UnplacedBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    for value in values {
        builder.push(&Record { timestamp: now, value: Some(value.to_string().into()), ..Record::default() });
    }
    UnplacedBatch::built(builder.build(producer))
}

fn records(bytes: &bytes::Bytes) -> Vec<String> {
    let batches = BatchReader::new(bytes.clone()).map(|batch| batch.expect("slices hold sound batches"));
    let views = batches.flat_map(|batch| batch.records(1 << 20).expect("they are not compressed"));
    views
        .map(|record| {
            let record = record.expect("records are sound");
            format!("{}:{}", record.offset, String::from_utf8_lossy(&record.value.unwrap_or_default()))
        })
        .collect()
}

fn read_all(reader: &LogReader, from: u64) -> Vec<String> {
    let mut at = Offset::new(from);
    let mut all = Vec::new();
    loop {
        let slices = reader.read(at, 1 << 20, Offset::MAX).expect("everything can be read");
        let Some(last) = slices.last() else { return all };
        at = last.offsets().end;
        all.extend(slices.iter().flat_map(|slice| records(&slice.read().expect("a slice can be read"))));
    }
}
