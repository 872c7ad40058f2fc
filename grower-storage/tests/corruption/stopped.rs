//! A stopped partition, damaged in many ways on a new disk each, and what is left of it.

use crate::log_kit::{self, AppendedBatch, DIR, World};
use bytes::Bytes;
use grower_protocol::batch::{Batch, BatchReader};
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use grower_storage::compaction::{Compaction, CompactionPolicy};
use grower_storage::disk::{Disk, MemDisk};
use grower_storage::log::{DiskLog, Log, LogFiles, LogOptions, ReadError};
use grower_storage::repair::{Acceptance, accept_loss};
use grower_storage::verify::{Finding, Remedy, verify};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A partition after a clean stop: its files, and what it must hold.
pub(crate) struct Stopped {
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    pub(crate) batches: Vec<AppendedBatch>,
    pub(crate) end: Offset,
}

impl Stopped {
    /// Three segments of a few batches, two epochs.
    pub(crate) fn new(options: LogOptions) -> Self {
        let mut world = World::new(options);
        for n in 0..7 {
            world.epoch = 1 + n / 4;
            world.append(1 + n % 2, 20).unwrap();
        }
        world.log.checkpoint(Default::default()).unwrap();
        Self::of(&world)
    }

    /// One that was compacted, where the last record of the first segment is an accepted loss.
    pub(crate) fn with_a_past() -> Self {
        let mut world = World::new(log_kit::options());
        (0..7).for_each(|_| assert!(world.append(1, 20).is_ok()));
        let policy =
            CompactionPolicy { min_dirty_permille: 0, min_lag_ms: 0, delete_retention_ms: 0, keys_bytes: 1 << 20 };
        let pass = Compaction::due(&world.log, &policy, Offset::MAX, Timestamp::default()).expect("a pass is due");
        let mut pass = pass.survey(&|_| true).unwrap();
        while let Some(done) = pass.step(&|_| true).unwrap() {
            assert!(world.log.publish(done).unwrap());
        }
        world.log.checkpoint(Timestamp::default()).unwrap();
        let mut stopped = Self::of(&world);

        let path = stopped.path("growerlog", 0);
        let mut lost_base = 0;
        let disk = stopped.with_file(&path, |bytes| {
            let last = bytes.len() - 1;
            lost_base = batch_at(bytes, last);
            bytes[last] ^= 1;
        });
        let acceptance = Acceptance { by: "ada".into(), at: Timestamp::default() };
        let range = Offset::new(lost_base)..Offset::new(lost_base + 1);
        assert_eq!(accept_loss(&disk, Path::new(DIR), Path::new("/cut"), &[range], &acceptance).unwrap().len(), 1);
        stopped.batches.retain(|batch| batch.base != lost_base);
        Self { files: files_of(&disk), ..stopped }
    }

    pub(crate) fn of(world: &World) -> Self {
        Self { files: files_of(&world.memory), batches: world.batches.clone(), end: world.log.span().end }
    }

    /// The same files on a new disk, with something done to one of them.
    pub(crate) fn with(&self, damage: impl FnOnce(&mut Vec<(PathBuf, Vec<u8>)>)) -> MemDisk {
        let mut files = self.files.clone();
        damage(&mut files);
        let disk = MemDisk::default();
        disk.create_dir_all(Path::new(DIR)).unwrap();
        for (path, bytes) in &files {
            let file = disk.create(path).unwrap();
            file.write_all_at(bytes, 0).unwrap();
            disk.sync_many(&[file]).unwrap();
        }
        disk.sync_dir(Path::new(DIR)).unwrap();
        disk
    }

    pub(crate) fn path(&self, suffix: &str, at: usize) -> PathBuf {
        let mut paths = self.files.iter().map(|(path, _)| path).filter(|path| path.to_string_lossy().ends_with(suffix));
        paths.nth(at).unwrap().clone()
    }

    /// The disk with one file changed.
    pub(crate) fn with_file(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> MemDisk {
        self.with(|files| change(&mut files.iter_mut().find(|(found, _)| found == path).unwrap().1))
    }

    pub(crate) fn without(&self, path: &Path) -> MemDisk {
        self.with(|files| files.retain(|(found, _)| found != path))
    }
}

/// Those of the partition.
pub(crate) fn files_of(disk: &MemDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = disk.files().into_iter().filter(|path| path.starts_with(DIR));
    paths.map(|path| (path.clone(), disk.map(&path).unwrap().as_ref().to_vec())).collect()
}

pub(crate) fn findings(disk: &MemDisk) -> Vec<Finding> {
    let findings = verify(disk, Path::new(DIR), |_| {}).unwrap().findings;
    let is_named = |finding: &Finding| (finding.remedy == Remedy::AcceptLoss) == finding.offsets.is_some();
    assert!(findings.iter().all(is_named), "exactly lost records are to be accepted as lost: {findings:?}");
    findings
}

pub(crate) fn open(disk: &MemDisk) -> DiskLog {
    log_kit::open(Arc::new(disk.clone()), &log_kit::options()).0
}

/// One batch as a reader gets it; none if it is refused.
pub(crate) fn read_one(log: &DiskLog, base: u64) -> Option<Bytes> {
    match log.reader().read(Offset::new(base), 1, Offset::MAX) {
        Ok(slices) => {
            let bytes = slices.first()?.read().unwrap();
            BatchReader::new(bytes).next().and_then(Result::ok).map(|batch| batch.bytes().clone())
        }
        Err(ReadError::Corrupt { offsets, .. }) => {
            assert!(offsets.contains(&Offset::new(base)), "the error names the range");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The bases of the batches that cannot be read any more; all others must be what was appended.
pub(crate) fn lost(log: &DiskLog, stopped: &Stopped) -> Vec<u64> {
    let mut lost = Vec::new();
    for batch in &stopped.batches {
        match read_one(log, batch.base) {
            Some(bytes) => assert_eq!(bytes, batch.bytes, "offset {} is what was appended or an error", batch.base),
            None => lost.push(batch.base),
        }
    }
    lost
}

/// The base of the batch in which byte `at` of a log file lies.
pub(crate) fn batch_at(file: &[u8], at: usize) -> u64 {
    let mut reader = BatchReader::new(Bytes::copy_from_slice(file));
    let mut end = 0;
    let found = reader.find_map(|batch: Result<Batch, _>| {
        let batch = batch.unwrap();
        end += batch.bytes().len();
        (at < end).then(|| batch.header().base_offset.value())
    });
    found.unwrap()
}

pub(crate) fn append_after(log: &mut DiskLog, end: Offset) {
    let appended = log.append(log_kit::batch_of(9, 1, 5, 0, 0), LeaderEpoch::new(9), Default::default()).unwrap();
    assert_eq!(appended.base_offset, end);
}
