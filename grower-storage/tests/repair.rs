//! Accepted losses: exactly the damaged records, audited first, and whole again whenever the power goes.

mod log_kit;

use grower_protocol::batch::BatchReader;
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use grower_storage::disk::{Disk, FaultDisk, MemDisk};
use grower_storage::log::{DiskLog, Log, ReadError};
use grower_storage::repair::{AcceptLossError, Acceptance, AcceptedLoss, accept_loss, lost_records, would_lose};
use grower_storage::verify::verify;
use log_kit::{AppendedBatch, DIR, World};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A stopped log of three segments, seven batches and two epochs, with something done to its files.
struct Damaged {
    disk: MemDisk,
    batches: Vec<AppendedBatch>,
    end: Offset,
}

impl Damaged {
    fn new(damage: impl FnOnce(&MemDisk)) -> Self {
        let mut world = World::new(log_kit::options());
        for n in 0..7 {
            world.epoch = 1 + n / 4;
            world.append(1 + n % 2, 20).unwrap();
        }
        world.log.checkpoint(Default::default()).unwrap();
        let (disk, batches, end) = (world.memory.clone(), world.batches.clone(), world.log.span().end);
        drop(world);
        damage(&disk);
        Self { disk, batches, end }
    }

    fn logs(disk: &MemDisk) -> Vec<PathBuf> {
        disk.files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "growerlog")).collect()
    }

    /// One bit flipped within the batch that begins at this offset.
    fn corrupt(bases: &[u64]) -> Self {
        Self::new(|disk| {
            for path in Self::logs(disk) {
                let mut at = 0;
                let mut bytes = disk.map(&path).unwrap().as_ref().to_vec();
                for batch in BatchReader::new(bytes.clone().into()).map(Result::unwrap) {
                    at += batch.bytes().len();
                    if bases.contains(&batch.header().base_offset.value()) {
                        bytes[at - 3] ^= 1;
                    }
                }
                disk.edit(&path, |stored| *stored = bytes).unwrap();
            }
        })
    }

    /// The losses that a check reports.
    fn lost(&self) -> Vec<Range<Offset>> {
        let verified = verify(&self.disk, Path::new(DIR), |_| {}).unwrap();
        lost_records(&verified.findings).into_iter().map(|damage| damage.offsets).collect()
    }

    fn open(&self) -> DiskLog {
        log_kit::open(Arc::new(self.disk.clone()), &log_kit::options()).0
    }

    /// After the repair the log is sound: only the lost offsets are gone, and appends continue.
    fn check_whole_but_for(&self, lost: &[Range<Offset>]) {
        let verified = verify(&self.disk, Path::new(DIR), |_| {}).unwrap();
        assert_eq!(verified.findings, []);
        let accepted: Vec<_> = verified.accepted.iter().map(|loss| loss.offsets.clone()).collect();
        assert_eq!(accepted, lost);
        let mut log = self.open();
        assert_eq!(log.span(), Offset::ZERO..self.end);
        log.reader().check(log.span()).unwrap();
        let is_lost = |offset: u64| lost.iter().any(|lost| lost.contains(&Offset::new(offset)));
        let kept: Vec<&AppendedBatch> = self.batches.iter().filter(|batch| !is_lost(batch.base)).collect();
        let found = read_all(&log);
        assert_eq!(found.len(), kept.len());
        assert!(found.iter().zip(&kept).all(|(found, kept)| *found == kept.bytes));
        let appended = log.append(log_kit::batch_of(9, 1, 5, 0, 0), LeaderEpoch::new(9), Default::default()).unwrap();
        assert_eq!(appended.base_offset, self.end, "offsets are never given out again");
    }
}

/// Every batch that holds a record; what is read leaves no gap.
fn read_all(log: &DiskLog) -> Vec<bytes::Bytes> {
    let (mut at, mut found) = (log.span().start, Vec::new());
    while at < log.span().end {
        for slice in log.reader().read(at, 300, Offset::MAX).unwrap() {
            for batch in BatchReader::new(slice.read().unwrap()).map(Result::unwrap) {
                assert_eq!(batch.header().base_offset, at);
                at = batch.header().next_offset();
                found.extend((0 < batch.header().record_count).then(|| batch.bytes().clone()));
            }
        }
    }
    found
}

fn acceptance() -> Acceptance {
    Acceptance { by: "ada (uid 1000)".into(), at: Timestamp::from_millis(1_000) }
}

fn accept(disk: &dyn Disk, ranges: &[Range<Offset>]) -> Result<Vec<AcceptedLoss>, AcceptLossError> {
    accept_loss(disk, Path::new(DIR), Path::new("/cut"), ranges, &acceptance())
}

#[test]
fn the_loss_of_every_corrupt_batch_can_be_accepted_and_costs_no_other() {
    for batch in Damaged::corrupt(&[]).batches {
        let damaged = Damaged::corrupt(&[batch.base]);
        let lost = damaged.lost();
        assert_eq!(lost, [Offset::new(batch.base)..Offset::new(batch.next)]);
        let losses = accept(&damaged.disk, &lost).unwrap();
        let [loss] = &losses[..] else { panic!("{losses:?}") };
        let kept = damaged.disk.map(&Path::new("/cut").join(&loss.kept)).unwrap();
        assert_eq!(kept.as_ref().len(), batch.bytes.len(), "the damaged bytes are kept");
        assert_eq!((loss.bytes, loss.crc), (batch.bytes.len() as u64, crc32fast::hash(kept.as_ref())));
        assert_eq!((loss.by.as_str(), loss.at), ("ada (uid 1000)", Timestamp::from_millis(1_000)));
        damaged.check_whole_but_for(&lost);
    }
}

#[test]
fn losses_in_several_files_are_accepted_at_once_and_only_once() {
    let damaged = Damaged::corrupt(&[1, 3, 9]);
    let lost = damaged.lost();
    assert_eq!(lost.len(), 3);
    assert_eq!(accept(&damaged.disk, &lost).unwrap().len(), 3);
    assert_eq!(accept(&damaged.disk, &lost).unwrap(), [], "it is done");
    damaged.check_whole_but_for(&lost);
}

#[test]
fn the_loss_of_missing_and_short_files_can_be_accepted() {
    for at in 0..3 {
        let missing = Damaged::new(|disk| disk.remove_file(&Damaged::logs(disk)[at]).unwrap());
        let lost = missing.lost();
        assert_eq!(lost.len(), 1, "segment {at}: {lost:?}");
        let losses = accept(&missing.disk, &lost).unwrap();
        assert_eq!(losses[0].kept, "", "there is nothing to keep");
        missing.check_whole_but_for(&lost);
        let short = Damaged::new(|disk| disk.edit(&Damaged::logs(disk)[at], |bytes| bytes.truncate(150)).unwrap());
        let lost = short.lost();
        accept(&short.disk, &lost).unwrap();
        short.check_whole_but_for(&lost);
    }
}

#[test]
fn a_range_that_does_not_fit_changes_nothing() {
    let damaged = Damaged::corrupt(&[1]);
    let faulty = FaultDisk::new(damaged.disk.clone());
    let sound = Offset::new(4)..Offset::new(6);
    let narrow = Offset::new(1)..Offset::new(2);
    for refused in [sound, narrow] {
        assert!(matches!(accept(&faulty, std::slice::from_ref(&refused)), Err(AcceptLossError::Range(_))));
    }
    let would = would_lose(&faulty, Path::new(DIR), &damaged.lost()).unwrap();
    assert_eq!(would.len(), 1);
    assert_eq!(faulty.faults().mutations(), 0);
}

/// All that was readable still is; damaged offsets are refused or a gap.
fn check_nothing_else_lost(damaged: &Damaged, lost: &[Range<Offset>]) {
    let log = damaged.open();
    assert_eq!(log.span().end, damaged.end);
    let _ = log.reader().check(log.span()); // Readers learn what is damaged.
    for batch in &damaged.batches {
        let is_lost = lost.iter().any(|lost| lost.contains(&Offset::new(batch.base)));
        match log.reader().read(Offset::new(batch.base), 1, Offset::MAX) {
            Ok(slices) => {
                let found = BatchReader::new(slices[0].read().unwrap()).next().unwrap().unwrap();
                let empty = found.header().record_count == 0;
                assert_eq!(empty, is_lost, "offset {}", batch.base);
                assert!(empty || found.bytes() == &batch.bytes);
            }
            Err(ReadError::Corrupt { .. }) => assert!(is_lost, "offset {}", batch.base),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_interrupted_repair_loses_nothing_else_and_is_finished_by_the_next_one() {
    let mut outcomes = BTreeSet::new();
    for power in 0..300 {
        for opened_between in [false, true] {
            let damaged = Damaged::corrupt(&[1, 9]);
            let lost = damaged.lost();
            let faulty = FaultDisk::new(damaged.disk.clone());
            faulty.faults().lose_power_after(power);
            let done = accept(&faulty, &lost).is_ok();
            damaged.disk.crash_torn(power);
            if opened_between {
                check_nothing_else_lost(&damaged, &lost);
            }
            let again = accept(&damaged.disk, &lost).unwrap();
            outcomes.insert(again.len());
            damaged.check_whole_but_for(&lost);
            if done && opened_between {
                assert_eq!(outcomes, BTreeSet::from([0, 2]), "before the record all is to be done, after it nothing");
                return;
            }
        }
    }
    panic!("it never ends");
}
