//! The index of the active segment: it takes little memory, and no record is missed if the rest of it cannot be read.

mod log_kit;

use grower_index::{ENTRY_LENGTH, GrowingIndex, IndexEntry, IndexWindow, IndexedBatch, SearchTarget, SparseIndex};
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use grower_storage::disk::{Call, Disk, Fault, FaultDisk, Faults, MemDisk, SharedFile};
use grower_storage::log::{DiskLog, IndexFactory, Log, LogOptions, LogReader};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

/// The most bytes that an index with an entry per batch holds, by number of entries.
fn bound(entries: usize) -> usize {
    16 * 1024 + 2 * entries / 256 * ENTRY_LENGTH
}

/// Tells how much memory an index takes.
struct Weighed(SparseIndex, Arc<AtomicUsize>);

impl Weighed {
    fn weigh<R>(&mut self, change: impl FnOnce(&mut SparseIndex) -> R) -> R {
        let result = change(&mut self.0);
        self.1.store(self.0.memory_bytes(), Ordering::SeqCst);
        result
    }
}

impl GrowingIndex for Weighed {
    fn note(&mut self, batch: &IndexedBatch<'_>, durable_end: u32) -> Option<IndexEntry> {
        self.weigh(|index| index.note(batch, durable_end))
    }

    fn finish(&mut self, durable_end: u32) -> Option<IndexEntry> {
        self.weigh(|index| index.finish(durable_end))
    }

    fn restore(&mut self, entry: IndexEntry) {
        self.weigh(|index| index.restore(entry));
    }

    fn stored(&mut self, count: usize) {
        self.weigh(|index| index.stored(count));
    }

    fn entry_count(&self) -> usize {
        self.0.entry_count()
    }

    fn window(&self, wanted: SearchTarget) -> IndexWindow<'_> {
        self.0.window(wanted)
    }
}

/// A log of one long segment, on a disk whose calls can fail.
struct World {
    memory: MemDisk,
    faults: Faults,
    disk: Arc<dyn Disk>,
    options: LogOptions,
    log: DiskLog,
}

impl World {
    /// A log with an index entry for each batch, one a millisecond.
    fn new(index: IndexFactory, batches: u32) -> Self {
        let memory = MemDisk::default();
        let faulty = FaultDisk::new(memory.clone());
        let (faults, disk): (_, Arc<dyn Disk>) = (faulty.faults(), Arc::new(faulty));
        let options = LogOptions { segment_bytes: 1 << 30, index, ..log_kit::options() };
        let (log, _) = log_kit::open(disk.clone(), &options);
        let mut world = Self { memory, faults, disk, options, log };
        (0..batches).for_each(|_| world.append());
        world
    }

    fn append(&mut self) {
        let number = self.log.span().end.value();
        let batch = log_kit::batch(1, 3, number as i32, number as i64);
        self.log.append(batch, LeaderEpoch::new(1), Timestamp::default()).unwrap();
    }

    fn reopen(&mut self) {
        self.log = log_kit::open(self.disk.clone(), &self.options).0;
    }

    fn index_file(&self) -> SharedFile {
        let name = format!("{:020}.growerindex", self.log.reader().segments()[0].base_offset.value());
        self.memory.open(&Path::new(log_kit::DIR).join(name)).unwrap()
    }

    /// Whether each offset and time is found, where `before` each lookup something happens.
    fn check(&self, numbers: impl Iterator<Item = u64>, before: impl Fn()) {
        let reader = self.log.reader();
        for number in numbers {
            before();
            assert_eq!(at_offset(&reader, number), number..number + 1, "by offset");
            before();
            let found = reader.offset_for_time(Timestamp::from_millis(number as i64), Offset::MAX).unwrap();
            assert_eq!(found.map(|found| found.offset.value()), Some(number), "by time");
        }
    }
}

fn at_offset(reader: &LogReader, offset: u64) -> std::ops::Range<u64> {
    let slices = reader.read(Offset::new(offset), 1, Offset::MAX).unwrap();
    let offsets = slices[0].offsets();
    offsets.start.value()..offsets.end.value()
}

fn in_runs_of(entries: usize) -> IndexFactory {
    IndexFactory::new(move |seed| Box::new(SparseIndex::new(0, seed).in_runs_of(entries)))
}

#[test]
fn memory_for_the_index_of_a_segment_is_bounded() {
    const BATCHES: usize = 20_000;
    let bytes = Arc::new(AtomicUsize::new(0));
    let told = bytes.clone();
    let index = IndexFactory::new(move |seed| Box::new(Weighed(SparseIndex::new(0, seed), told.clone())));
    let mut world = World::new(index, BATCHES as u32);
    let check = |world: &World, entries: usize, what: &str| {
        let weight = bytes.swap(usize::MAX, Ordering::SeqCst);
        assert!(weight <= bound(entries), "{weight} bytes {what}");
        assert_eq!(world.log.reader().segments()[0].index_bytes, (entries * ENTRY_LENGTH) as u64, "{what}");
        world.check((0..entries as u64).step_by(997), || ());
    };
    check(&world, BATCHES, "as written");
    world.log.truncate(Offset::new(15_000)).unwrap();
    check(&world, 15_000, "truncated");
    world.reopen();
    check(&world, 15_000, "reopened");
    world.index_file().set_len(0).unwrap();
    world.reopen();
    check(&world, 15_000, "rebuilt from the log");
}

#[test]
fn an_unreadable_index_makes_lookups_longer_not_wrong() {
    let world = World::new(in_runs_of(8), 200);
    let next_read_fails = || world.faults.inject(Fault::io(Call::Read, world.faults.calls(Call::Read)));
    let reads = world.faults.calls(Call::Read);
    at_offset(&world.log.reader(), 100);
    assert!(2 <= world.faults.calls(Call::Read) - reads, "the index is read, then the log");
    world.check(0..180, next_read_fails);
}

#[test]
fn an_append_does_not_wait_for_a_reader_of_the_index_file() {
    let mut world = World::new(in_runs_of(8), 200);
    let (reader, reads) = (world.log.reader(), world.faults.calls(Call::Read));
    let (reading, wait) = channel::<()>();
    let (appended, may_continue) = channel::<()>();
    world.faults.before(Call::Read, reads, move || {
        reading.send(()).unwrap();
        may_continue.recv_timeout(Duration::from_secs(60)).expect("the append comes back while this read is under way");
    });
    #[expect(clippy::disallowed_methods, reason = "the reader must wait while the writer appends")]
    let lookup = std::thread::spawn(move || at_offset(&reader, 100));
    wait.recv().unwrap();
    world.append();
    appended.send(()).unwrap();
    assert_eq!(lookup.join().unwrap(), 100..101);
}

#[test]
fn a_damaged_index_file_makes_lookups_longer_not_wrong() {
    let world = World::new(in_runs_of(8), 200);
    let index = world.index_file();
    let mut bytes = vec![0; 200 * ENTRY_LENGTH];
    index.read_at(&mut bytes, 0).unwrap();
    for at in (0..bytes.len()).step_by(3 * ENTRY_LENGTH) {
        index.write_all_at(&[!bytes[at + 5]], at as u64 + 5).unwrap();
    }
    world.check(0..200, || ());
    index.set_len(50 * ENTRY_LENGTH as u64 + 7).unwrap();
    world.check(0..200, || ());
    world.log.reader().check(world.log.span()).expect("the records are as they were");
    index.set_len(0).unwrap();
    world.check(0..200, || ());
}

/// Another batch of the same length and offset, sound in itself: nothing but the index knows better.
#[test]
fn a_replaced_batch_is_noticed_by_its_header_checksum() {
    for number in [0, 1, 7, 8, 9, 100, 191, 192, 199] {
        let world = World::new(in_runs_of(8), 200);
        let reader = world.log.reader();
        let slices = reader.read(Offset::new(number), 1, Offset::MAX).unwrap();
        let batch = |at: u64, ms| log_kit::batch(1, 3, at as i32, ms).place(Offset::new(at), LeaderEpoch::new(1));
        let position = (0..number).map(|at| batch(at, 0).bytes().len() as u64).sum();
        let other = batch(number, 7_000);
        assert_eq!(other.bytes().len(), slices[0].len());
        let log = world.memory.open(&Path::new(log_kit::DIR).join("00000000000000000000.growerlog")).unwrap();
        log.write_all_at(other.bytes(), position).unwrap();
        let error = reader.check(world.log.span()).unwrap_err().to_string();
        assert!(error.contains("the header checksum of the index differs"), "{error}");
        assert_eq!(reader.damaged(), [Offset::new(number)..Offset::new(number + 1)]);
    }
}

#[test]
fn entries_that_could_not_be_written_are_found_and_written_later() {
    let mut world = World::new(in_runs_of(4), 30);
    for number in 0..60 {
        // The log's write goes well, the index's does not; at times a part of it is in the file.
        let of_the_index = world.faults.calls(Call::Write) + 1;
        world.faults.inject(Fault::io(Call::Write, of_the_index).after_bytes(number));
        world.append();
    }
    assert!(world.index_file().len().unwrap() < 33 * ENTRY_LENGTH as u64, "the index stands still");
    world.check(0..90, || ());
    (0..20).for_each(|_| world.append());
    assert_eq!(world.index_file().len().unwrap(), 110 * ENTRY_LENGTH as u64, "and has caught up");
    world.check(0..110, || ());
    world.reopen();
    world.check(0..110, || ());
}
