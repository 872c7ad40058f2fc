//! A compacted log on a disk that can lose its power, and a model of it: all records ever appended.
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

use grower_protocol::batch::{BatchBuilder, BatchReader, ProducerStamp, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId};
use grower_storage::compaction::{Compaction, CompactionError, CompactionPolicy};
use grower_storage::disk::{Disk, FaultDisk, Faults, MemDisk};
use grower_storage::log::{ChangeError, DiskLog, Log, LogFiles, LogLocation, LogOptions};
use grower_storage::verify::verify;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const DIR: &str = "/topics/t/0";

pub(crate) const POLICY: CompactionPolicy =
    CompactionPolicy { min_dirty_permille: 0, min_lag_ms: 0, delete_retention_ms: 1_000, keys_bytes: 1 << 20 };

/// A record as it was appended, or as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Put {
    pub(crate) offset: u64,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) millis: i64,
}

/// Why a pass ended early.
#[derive(Debug)]
pub(crate) enum Broken {
    Pass(CompactionError),
    Log(ChangeError),
}

pub(crate) struct World {
    pub(crate) memory: MemDisk,
    pub(crate) faults: Faults,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: LogOptions,
    pub(crate) log: DiskLog,
    pub(crate) history: Vec<Put>,
    pub(crate) start: u64,
    pub(crate) now: i64,
    pub(crate) epoch: u32,
    pub(crate) codec: Codec,
}

pub(crate) fn options() -> LogOptions {
    LogOptions { producer_expiry_ms: u64::MAX, segment_ms: u64::MAX, segment_quiet_ms: 1_000, ..LogOptions::tiny() }
}

fn place() -> LogLocation {
    LogLocation {
        dir: PathBuf::from(DIR),
        topic_id: TopicId::from_random([7; 16]),
        partition: PartitionId::new(0),
        cut_dir: None,
    }
}

fn open(disk: &Arc<dyn Disk>, options: &LogOptions, now: i64) -> DiskLog {
    let opened = DiskLog::open(disk.clone(), place(), options.clone(), Timestamp::from_millis(now));
    let (log, report) = opened.expect("the log opens");
    assert!(report.damaged.is_empty(), "a crash is never taken for corruption: {:?}", report.damaged);
    log
}

pub(crate) fn batch(
    puts: &[(Option<&str>, Option<&str>)],
    codec: Codec,
    millis: i64,
    sequence: Option<i32>,
) -> UnplacedBatch {
    let mut builder = BatchBuilder::new(codec);
    for (key, value) in puts {
        let bytes = |text: &str| text.to_owned().into();
        let timestamp = Timestamp::from_millis(millis);
        builder.push(&Record { timestamp, key: key.map(bytes), value: value.map(bytes), ..Record::default() });
    }
    let stamp = sequence.map(|sequence| ProducerStamp {
        id: ProducerId::new(1),
        epoch: ProducerEpoch::new(0),
        base_sequence: Sequence::from_wire(sequence),
    });
    UnplacedBatch::built(builder.build(stamp))
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(options())
    }

    pub(crate) fn with(options: LogOptions) -> Self {
        let memory = MemDisk::default();
        let faulty = FaultDisk::new(memory.clone());
        let faults = faulty.faults();
        let disk: Arc<dyn Disk> = Arc::new(faulty);
        let log = open(&disk, &options, 0);
        let (history, codec) = (Vec::new(), Codec::None);
        Self { memory, faults, disk, options, log, history, start: 0, now: 0, epoch: 1, codec }
    }

    pub(crate) fn end(&self) -> u64 {
        self.history.last().map_or(0, |put| put.offset + 1)
    }

    /// Appends one batch of these, and syncs.
    pub(crate) fn put(&mut self, puts: &[(&str, Option<&str>)]) {
        let puts: Vec<_> = puts.iter().map(|(key, value)| (Some(*key), *value)).collect();
        self.put_any(&puts, None);
    }

    pub(crate) fn put_any(&mut self, puts: &[(Option<&str>, Option<&str>)], sequence: Option<i32>) {
        let (now, epoch) = (Timestamp::from_millis(self.now), LeaderEpoch::new(self.epoch));
        let appended = self.log.append(batch(puts, self.codec, self.now, sequence), epoch, now).unwrap();
        assert_eq!(appended.base_offset.value(), self.end(), "offsets never change");
        for (offset, (key, value)) in (self.end()..).zip(puts) {
            let (key, value) = (key.map(str::to_owned), value.map(str::to_owned));
            self.history.push(Put { offset, key, value, millis: self.now });
        }
        let point = self.log.flush_point();
        let outcome = self.disk.sync_many(&point.files);
        self.log.flushed(&point, outcome).unwrap();
    }

    /// Batches of one record until the present segment is full and another one is begun.
    pub(crate) fn roll(&mut self) {
        let segments = self.segments();
        for n in 0.. {
            self.put(&[("filler", Some(&format!("{n} {}", "x".repeat(40))))]);
            if segments < self.segments() {
                return;
            }
        }
    }

    pub(crate) fn segments(&self) -> usize {
        self.log.reader().segments().len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.log.reader().segments().iter().map(|segment| segment.bytes).sum()
    }

    /// One pass, if one is due; whether it changed anything.
    pub(crate) fn compact(&mut self, policy: &CompactionPolicy) -> Result<bool, Broken> {
        let Some(pass) = self.due(policy) else { return Ok(false) };
        let mut pass = pass.survey(&|_| true).map_err(Broken::Pass)?;
        let mut changed = false;
        while let Some(done) = pass.step(&|_| true).map_err(Broken::Pass)? {
            changed |= done.bytes() != (0, 0);
            assert!(self.log.publish(done).map_err(Broken::Log)?);
        }
        Ok(changed)
    }

    /// The pass that is due, if one is.
    pub(crate) fn due(&self, policy: &CompactionPolicy) -> Option<Compaction> {
        self.log.reader().learn_delete_horizons(&|| true).unwrap();
        Compaction::due(&self.log, policy, Offset::MAX, Timestamp::from_millis(self.now))
    }

    /// Lets time pass and compacts what is due, without an append: afterwards no tombstone is left, and no pass is due
    /// ever again.
    pub(crate) fn rest(&mut self, policy: &CompactionPolicy) {
        for _ in 0..20 {
            self.now += 500;
            self.log.roll_if_old(Timestamp::from_millis(self.now)).unwrap();
            let passes = (0..200).take_while(|_| self.due(policy).is_some() && self.compact(policy).is_ok()).count();
            assert!(passes < 200, "passes are due for ever");
        }
        assert_eq!(self.tombstones(), [""; 0]);
        for later in [0, 10_000, i64::MAX / 2] {
            let now = Timestamp::from_millis(self.now + later);
            assert!(Compaction::due(&self.log, policy, Offset::MAX, now).is_none(), "a pass is due {later} ms later");
        }
    }

    /// The keys of all tombstones that can be read.
    pub(crate) fn tombstones(&self) -> Vec<String> {
        self.read().into_iter().filter(|put| put.value.is_none()).filter_map(|put| put.key).collect()
    }

    pub(crate) fn trim(&mut self, start: u64) -> bool {
        let done = self.log.trim(Offset::new(start)).is_ok();
        if done {
            self.start = self.start.max(start);
        }
        done
    }

    pub(crate) fn reopen(&mut self) {
        self.log = open(&self.disk, &self.options, self.now);
    }

    /// Opens the log as far as the disk lets it; whether that was to the end.
    pub(crate) fn try_reopen(&mut self) -> bool {
        let now = Timestamp::from_millis(self.now);
        match DiskLog::open(self.disk.clone(), place(), self.options.clone(), now) {
            Ok((log, _)) => {
                self.log = log;
                true
            }
            Err(_) => false,
        }
    }

    /// Cuts the power and restores it. Lost records were never acknowledged.
    pub(crate) fn cut_power(&mut self, torn: Option<u64>) {
        match torn {
            Some(seed) => self.memory.crash_torn(seed),
            None => self.memory.crash(),
        }
        self.faults.heal();
        let verified = verify(&self.memory, Path::new(DIR), |_| {}).unwrap();
        assert!(verified.findings.is_empty(), "what a crash leaves is sound: {:?}", verified.findings);
        self.reopen();
    }

    /// All records that can be read from an offset on.
    pub(crate) fn read_from(&self, from: u64) -> Vec<Put> {
        let reader = self.log.reader();
        let mut at = Offset::new(from);
        let mut found = Vec::new();
        loop {
            let slices = reader.read(at, 300, Offset::MAX).expect("everything can be read");
            let Some(last) = slices.last() else { return found };
            assert!(at < last.offsets().end, "a reader gets on");
            let from_here = at;
            at = last.offsets().end;
            for batch in slices.iter().flat_map(|slice| BatchReader::new(slice.read().unwrap())) {
                let records = batch.unwrap().records(1 << 20).unwrap().map(Result::unwrap);
                let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
                found.extend(records.filter(|record| from_here <= record.offset).map(|record| Put {
                    offset: record.offset.value(),
                    key: record.key.map(text),
                    value: record.value.map(text),
                    millis: record.timestamp.as_millis(),
                }));
            }
        }
    }

    pub(crate) fn read(&self) -> Vec<Put> {
        self.read_from(self.start)
    }

    /// Where the last record of each key is that has a value.
    pub(crate) fn last_values(&self) -> Vec<Offset> {
        let last: BTreeMap<_, _> = self.history.iter().map(|put| (put.key.clone(), put)).collect();
        let kept = last.values().filter(|put| put.value.is_some() && self.start <= put.offset);
        kept.map(|put| Offset::new(put.offset)).collect()
    }

    /// `key=value` of what can be read, in order; a tombstone has no value.
    pub(crate) fn listing(&self) -> String {
        let shown = |put: &Put| {
            let (key, value) = (put.key.as_deref().unwrap_or("-"), put.value.as_deref().unwrap_or(""));
            format!("{}:{key}={value}", put.offset)
        };
        self.read().iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    /// The log holds the last record of each key, nothing that was never appended, and ends where it ended.
    pub(crate) fn check(&self) {
        let span = self.log.span();
        assert_eq!((span.start.value(), span.end.value()), (self.start, self.end().max(self.start)));
        let found = self.read();
        for put in &found {
            assert_eq!(Some(put), self.history.get(put.offset as usize), "a record is what it was, where it was");
        }
        assert!(found.windows(2).all(|pair| pair[0].offset < pair[1].offset), "offsets rise");
        let last = |puts: &[Put]| -> BTreeMap<String, Put> {
            let keyed = puts.iter().filter(|put| self.start <= put.offset);
            keyed.filter_map(|put| Some((put.key.clone()?, put.clone()))).collect()
        };
        let (expected, present) = (last(&self.history), last(&found));
        for (key, put) in &expected {
            match (present.get(key), &put.value) {
                (Some(found), _) => assert_eq!(found, put, "the last record of {key}"),
                (None, None) => {}
                (None, Some(_)) => panic!("{key} is lost"),
            }
        }
        let unkeyed = |puts: &[Put]| puts.iter().filter(|put| put.key.is_none() && self.start <= put.offset).count();
        assert_eq!(unkeyed(&found), unkeyed(&self.history), "nothing takes the place of a record without a key");
        self.log.reader().check(span).expect("nothing is damaged");
    }

    /// From wherever a reader starts, it meets the same records.
    pub(crate) fn check_every_start(&self) {
        let all = self.read();
        for from in self.start..self.end() {
            let expected: Vec<&Put> = all.iter().filter(|put| from <= put.offset).collect();
            assert_eq!(self.read_from(from).iter().collect::<Vec<_>>(), expected, "from {from}");
        }
    }
}
