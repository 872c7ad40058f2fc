//! A log on a disk that can lose its power, and a model of its records.
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

pub(crate) mod happening;

use bytes::Bytes;
use grower_protocol::batch::{BatchBuilder, BatchReader, ProducerStamp, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId};
use grower_storage::disk::{Disk, FaultDisk, Faults, MemDisk};
use grower_storage::log::{AppendError, Appended, ChangeError, DiskLog, Log, LogLocation, LogOptions};
use grower_storage::recovery::RecoveryReport;
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) const DIR: &str = "/topics/t/0";

pub(crate) fn place() -> LogLocation {
    LogLocation {
        dir: PathBuf::from(DIR),
        topic_id: TopicId::from_random([7; 16]),
        partition: PartitionId::new(0),
        cut_dir: Some(PathBuf::from("/cut")),
    }
}

/// Tiny, and producers never expire.
pub(crate) fn options() -> LogOptions {
    LogOptions { producer_expiry_ms: u64::MAX, ..LogOptions::tiny() }
}

pub(crate) fn open(disk: Arc<dyn Disk>, options: &LogOptions) -> (DiskLog, RecoveryReport) {
    DiskLog::open(disk, place(), options.clone(), Timestamp::default()).expect("the log opens")
}

pub(crate) fn offset(raw: u64) -> Offset {
    Offset::new(raw)
}

/// A batch of `records` records, `length` bytes each, as number `sequence` of producer 1.
pub(crate) fn batch(records: u32, length: usize, sequence: i32, millis: i64) -> UnplacedBatch {
    batch_of(1, records, length, sequence, millis)
}

/// The same of another producer.
pub(crate) fn batch_of(producer: u64, records: u32, length: usize, sequence: i32, millis: i64) -> UnplacedBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    for n in 0..records {
        let value = format!("{sequence}.{n}").repeat(length / 3 + 1);
        let timestamp = Timestamp::from_millis(millis);
        builder.push(&Record { timestamp, value: Some(value.into()), ..Record::default() });
    }
    let stamp = ProducerStamp {
        id: ProducerId::new(producer),
        epoch: ProducerEpoch::new(0),
        base_sequence: Sequence::from_wire(sequence),
    };
    UnplacedBatch::built(builder.build(Some(stamp)))
}

/// A batch that was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppendedBatch {
    pub(crate) base: u64,
    pub(crate) next: u64,
    pub(crate) bytes: Bytes,
    /// Its source, to send it again.
    pub(crate) source: (u32, usize, i32),
}

/// The log under test, the power switch, and what the log must hold.
pub(crate) struct World {
    pub(crate) memory: MemDisk,
    pub(crate) faults: Faults,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: LogOptions,
    pub(crate) log: DiskLog,
    pub(crate) start: u64,
    /// All that was appended and not truncated, also what is before the start.
    pub(crate) batches: Vec<AppendedBatch>,
    pub(crate) epoch: u32,
    pub(crate) now: i64,
}

impl World {
    pub(crate) fn new(options: LogOptions) -> Self {
        let memory = MemDisk::default();
        let faulty = FaultDisk::new(memory.clone());
        let faults = faulty.faults();
        let disk: Arc<dyn Disk> = Arc::new(faulty);
        let (log, _) = open(disk.clone(), &options);
        Self { memory, faults, disk, options, log, start: 0, batches: Vec::new(), epoch: 1, now: 0 }
    }

    pub(crate) fn end(&self) -> u64 {
        self.batches.last().map_or(0, |batch| batch.next).max(self.start)
    }

    /// A producer that was forgotten with its batches begins at 0.
    fn sequence(&self) -> i32 {
        let last = self.batches.last().filter(|_| self.log.producers().remembers(ProducerId::new(1)));
        last.map_or(0, |batch| batch.source.2 + batch.source.0 as i32)
    }

    pub(crate) fn append(&mut self, records: u32, length: usize) -> Result<Appended, AppendError> {
        let source = (records, length, self.sequence());
        let unplaced = batch(records, length, source.2, self.now);
        let epoch = LeaderEpoch::new(self.epoch);
        let appended = self.log.append(unplaced, epoch, Timestamp::from_millis(self.now))?;
        assert!(!appended.duplicate, "a batch that is not in the log is no duplicate");
        let bytes = batch(records, length, source.2, self.now).place(appended.base_offset, epoch).bytes().clone();
        assert_eq!(appended.base_offset.value(), self.end(), "offsets are dense");
        self.batches.push(AppendedBatch {
            base: appended.base_offset.value(),
            next: appended.next_offset.value(),
            bytes,
            source,
        });
        Ok(appended)
    }

    pub(crate) fn flush(&mut self) -> bool {
        let mut point = self.log.flush_point();
        point.awaited = true;
        let outcome = self.disk.sync_many(&point.files);
        self.log.flushed(&point, outcome).is_ok()
    }

    pub(crate) fn truncate(&mut self, end: u64) -> Result<(), ChangeError> {
        let done = self.log.truncate(offset(end));
        if done.is_ok() {
            self.batches.retain(|batch| batch.next <= end);
            if self.end() < end {
                assert_eq!(self.log.span().end.value(), self.end(), "no batch is split");
            }
        }
        done
    }

    pub(crate) fn trim(&mut self, start: u64) -> Result<(), ChangeError> {
        let done = self.log.trim(offset(start));
        if done.is_ok() && self.start < start {
            self.start = start;
        }
        done
    }

    /// The process dies; the disk keeps its power.
    pub(crate) fn kill(&mut self) -> RecoveryReport {
        let (log, report) = open(self.disk.clone(), &self.options);
        self.log = log;
        report
    }

    /// The power goes, and comes back.
    pub(crate) fn cut_power(&mut self, torn: Option<u64>) -> RecoveryReport {
        match torn {
            Some(seed) => self.memory.crash_torn(seed),
            None => self.memory.crash(),
        }
        self.faults.heal();
        self.verify(false);
        let report = self.kill();
        self.verify(true);
        report
    }

    /// The files have no damage. Before an opening an index may lack entries, which the opening adds.
    pub(crate) fn verify(&self, opened: bool) {
        let mut verified = grower_storage::verify::verify(&self.memory, &PathBuf::from(DIR), |_| {}).unwrap();
        let is_index = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "growerindex");
        verified.findings.retain(|finding| opened || !is_index(&finding.path));
        assert_eq!(verified.findings, [], "what recovery accepts, a check accepts");
    }

    /// After a crash at least `durable` must be there, nothing but what was appended, and in its place.
    pub(crate) fn settle(&mut self, durable: u64) {
        let end = self.log.span().end.value();
        assert!(durable <= end, "offset {durable} was durable, the log ends at {end}");
        assert!(end <= self.end(), "the log holds records that were never appended");
        self.batches.retain(|batch| batch.next <= end);
        assert_eq!(self.end(), end, "the log ends between two batches");
        self.check();
    }

    /// The log is what the model says.
    pub(crate) fn check(&mut self) {
        let span = self.log.span();
        assert_eq!((span.start.value(), span.end.value()), (self.start, self.end()));
        let expected: Vec<&AppendedBatch> = self.batches.iter().filter(|batch| self.start < batch.next).collect();
        let found = self.read_all();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, &expected.bytes, "offset {} is what was appended", expected.base);
        }
        self.log.reader().check(span).expect("nothing is damaged");
    }

    fn read_all(&self) -> Vec<Bytes> {
        let reader = self.log.reader();
        let mut at = offset(self.start);
        let mut all = Vec::new();
        loop {
            let slices = reader.read(at, 700, Offset::MAX).expect("everything can be read");
            let Some(last) = slices.last() else { return all };
            at = last.offsets().end;
            for slice in &slices {
                let batches = BatchReader::new(slice.read().unwrap());
                all.extend(batches.map(|batch| batch.unwrap().bytes().clone()));
            }
        }
    }

    /// The last batches are recognised when they come again.
    pub(crate) fn check_retries(&mut self) {
        let recent: Vec<AppendedBatch> = self.batches.iter().rev().take(5).cloned().collect();
        for kept in recent.iter().filter(|kept| self.start <= kept.base) {
            let (records, length, sequence) = kept.source;
            let again = batch(records, length, sequence, self.now);
            let answer =
                self.log.append(again, LeaderEpoch::new(self.epoch), Timestamp::from_millis(self.now)).unwrap();
            assert!(answer.duplicate);
            assert_eq!((answer.base_offset.value(), answer.next_offset.value()), (kept.base, kept.next));
        }
    }
}
