//! Readers read while the owner appends, rolls, drops and truncates: they get whole batches, in place, as appended.

mod log_kit;

use grower_index::SparseIndex;
use grower_protocol::batch::BatchReader;
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use grower_storage::disk::{Disk, MemDisk};
use grower_storage::log::{DiskLog, IndexFactory, Log, LogFiles, LogOptions, LogReader, MemLog, ReadError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Reads from the start again and again, and once more when the writer is done; the first record of each batch says its
/// own number.
fn read_until(done: &AtomicBool, reader: &LogReader) -> u64 {
    let (mut batches, mut last) = (0, false);
    while !last {
        last = done.load(Ordering::SeqCst); // A reader that starts late still reads once.
        let mut at = reader.span().start;
        while let Some(next) = read_once(reader, at, &mut batches) {
            at = next;
        }
    }
    batches
}

fn read_once(reader: &LogReader, at: Offset, batches: &mut u64) -> Option<Offset> {
    let slices = match reader.read(at, 2_000, Offset::MAX) {
        Ok(slices) => slices,
        Err(ReadError::OffsetOutOfRange { .. }) => return None, // Dropped meanwhile.
        Err(error) => panic!("{error}"),
    };
    let mut next = None;
    for slice in slices {
        for batch in BatchReader::new(slice.read().unwrap()) {
            let batch = batch.expect("a batch is whole");
            let header = batch.header();
            let expected = log_kit::batch(1, 60, header.base_offset.value() as i32, 0);
            let expected = expected.place(header.base_offset, LeaderEpoch::new(1));
            assert_eq!(batch.bytes(), expected.bytes(), "and what was appended there");
            *batches += 1;
        }
        next = Some(slice.offsets().end);
    }
    next
}

/// Offsets and sequences go together, also after a truncation.
fn write(log: &mut dyn Log) {
    for round in 0..40u64 {
        for _ in 0..60 {
            let sequence = log.span().end.value() as i32;
            log.append(log_kit::batch(1, 60, sequence, 0), LeaderEpoch::new(1), Timestamp::default()).unwrap();
        }
        let span = log.span();
        match round % 4 {
            0 => log.trim(Offset::new(span.end.value() - 40)).unwrap(),
            2 => log.truncate(Offset::new(span.end.value() - 15)).unwrap(),
            _ => log.checkpoint(Timestamp::default()).unwrap(),
        }
    }
}

fn check(mut log: impl Log) {
    let reader = log.reader();
    let done = AtomicBool::new(false);
    let read = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| read_until(&done, &reader))).collect();
        write(&mut log);
        done.store(true, Ordering::SeqCst);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>()
    });
    assert!(0 < read);
    log.reader().check(log.span()).expect("nothing was taken for damage");
}

#[test]
fn readers_of_files_never_see_half_a_change() {
    check(
        DiskLog::open(Arc::new(MemDisk::default()), log_kit::place(), log_kit::options(), Timestamp::default())
            .unwrap()
            .0,
    );
}

/// One long segment, nearly all of whose index is in its file alone.
#[test]
fn readers_of_an_index_file_never_see_half_a_change() {
    let index = IndexFactory::new(|seed| Box::new(SparseIndex::new(0, seed).in_runs_of(4)));
    let options = LogOptions { segment_bytes: 1 << 20, index, ..log_kit::options() };
    let disk = Arc::new(MemDisk::default());
    check(DiskLog::open(disk, log_kit::place(), options, Timestamp::default()).unwrap().0);
}

#[test]
fn readers_of_memory_never_see_half_a_change() {
    check(MemLog::new(log_kit::options()));
}

#[test]
fn a_removed_segment_is_readable_only_for_those_who_hold_it() {
    let disk = MemDisk::default();
    disk.open_files().set_max(2);
    let options = LogOptions { segment_messages: Some(1), ..log_kit::options() };
    let (mut log, _) = log_kit::open(Arc::new(disk.clone()), &options);
    for sequence in 0..20 {
        log.append(log_kit::batch(1, 60, sequence, 0), LeaderEpoch::new(1), Timestamp::default()).unwrap();
    }
    let reader = log.reader();
    let read = |offset| reader.read(Offset::new(offset), 1, Offset::MAX);
    let held: Vec<_> = (0..20).map(|offset| read(offset).unwrap()).collect();
    log.trim(Offset::new(15)).unwrap();
    for (offset, slices) in held.iter().enumerate() {
        let batch = BatchReader::new(slices[0].read().unwrap()).next().unwrap().unwrap();
        assert_eq!(batch.header().base_offset.value(), offset as u64);
    }
    drop(held);
    assert!(matches!(read(3), Err(ReadError::OffsetOutOfRange { .. })));
    (15..20).for_each(|offset| assert_eq!(read(offset).unwrap().len(), 1));
    disk.open_files().set_max(2);
    assert_eq!(disk.open_files().count(), 2, "descriptors are given back");
}

#[test]
fn a_detached_log_never_reads_files_that_took_its_names() {
    let mut world = log_kit::World::new(log_kit::options());
    while world.log.reader().segments().len() < 3 {
        world.append(1, 60).unwrap();
    }
    assert!(world.flush());
    world.disk.open_files().set_max(0);
    world.log.detach();
    // Another partition's: it has the same name and is sound.
    let path = std::path::Path::new(log_kit::DIR).join("00000000000000000000.growerlog");
    let other = log_kit::batch(1, 60, 1_000, 0).place(Offset::ZERO, LeaderEpoch::new(1));
    world.disk.remove_file(&path).unwrap();
    world.disk.create(&path).unwrap().write_all_at(other.bytes(), 0).unwrap();
    let read = world.log.reader().read(Offset::ZERO, 100, Offset::MAX);
    assert!(matches!(read, Err(ReadError::Disk(_))), "{read:?}");
}
