//! Rot: every single bit of a small partition flipped in turn, and files that lost their middle, their end or themselves.

mod log_kit;

use bytes::Bytes;
use grower_protocol::batch::{Batch, BatchBuilder, BatchReader, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use grower_storage::compaction::CompactionPolicy;
use grower_storage::disk::{Disk, MemDisk};
use grower_storage::log::{DiskLog, Log, LogOptions, ReadError};
use grower_storage::repair::{Acceptance, accept_loss};
use grower_storage::verify::{Finding, verify};
use log_kit::{DIR, Kept, World};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The small files that only some partitions have.
const OF_THE_PAST: [&str; 2] = ["compaction", "accepted-losses"];

/// A partition after a clean stop: its files, and what it must hold.
struct Stopped {
    files: Vec<(PathBuf, Vec<u8>)>,
    batches: Vec<Kept>,
    end: Offset,
}

impl Stopped {
    /// Three segments of a few batches, two epochs.
    fn new(options: LogOptions) -> Self {
        let mut world = World::new(options);
        for n in 0..7 {
            world.epoch = 1 + n / 4;
            world.append(1 + n % 2, 20).unwrap();
        }
        world.log.checkpoint(Default::default()).unwrap();
        Self::of(&world)
    }

    /// One that was compacted, and of which a repair gave up the last record of the first segment.
    fn with_a_past() -> Self {
        let mut world = World::new(log_kit::options());
        (0..7).for_each(|_| assert!(world.append(1, 20).is_ok()));
        let policy =
            CompactionPolicy { min_dirty_permille: 0, min_lag_ms: 0, delete_retention_ms: 0, keys_bytes: 1 << 20 };
        let pass = world.log.compaction(&policy, Offset::MAX, Timestamp::default()).expect("a pass is due");
        let mut pass = pass.survey(&|_| true).unwrap();
        while let Some(done) = pass.step(&|_| true).unwrap() {
            assert!(world.log.publish(done).unwrap());
        }
        world.log.checkpoint(Timestamp::default()).unwrap();
        let mut stopped = Self::of(&world);

        let path = stopped.path("growerlog", 0);
        let mut given_up = 0;
        let disk = stopped.with_file(&path, |bytes| {
            let last = bytes.len() - 1;
            given_up = batch_at(bytes, last);
            bytes[last] ^= 1;
        });
        let acceptance = Acceptance { by: "ada".into(), at: Timestamp::default() };
        let range = Offset::new(given_up)..Offset::new(given_up + 1);
        assert_eq!(accept_loss(&disk, Path::new(DIR), Path::new("/cut"), &[range], &acceptance).unwrap().len(), 1);
        stopped.batches.retain(|batch| batch.base != given_up);
        Self { files: files_of(&disk), ..stopped }
    }

    fn of(world: &World) -> Self {
        Self { files: files_of(&world.memory), batches: world.batches.clone(), end: world.log.span().end }
    }

    /// The same files on a new disk, with something done to one of them.
    fn with(&self, damage: impl FnOnce(&mut Vec<(PathBuf, Vec<u8>)>)) -> MemDisk {
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

    fn path(&self, suffix: &str, at: usize) -> PathBuf {
        let mut paths = self.files.iter().map(|(path, _)| path).filter(|path| path.to_string_lossy().ends_with(suffix));
        paths.nth(at).unwrap().clone()
    }

    /// The disk with one file changed.
    fn with_file(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> MemDisk {
        self.with(|files| change(&mut files.iter_mut().find(|(found, _)| found == path).unwrap().1))
    }

    fn without(&self, path: &Path) -> MemDisk {
        self.with(|files| files.retain(|(found, _)| found != path))
    }
}

/// Those of the partition.
fn files_of(disk: &MemDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = disk.files().into_iter().filter(|path| path.starts_with(DIR));
    paths.map(|path| (path.clone(), disk.map(&path).unwrap().as_ref().to_vec())).collect()
}

fn findings(disk: &MemDisk) -> Vec<Finding> {
    verify(disk, Path::new(DIR), |_| {}).unwrap().findings
}

fn open(disk: &MemDisk) -> DiskLog {
    log_kit::open(Arc::new(disk.clone()), &log_kit::options()).0
}

/// One batch as a reader gets it; none if it is refused.
fn read_one(log: &DiskLog, base: u64) -> Option<Bytes> {
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
fn lost(log: &DiskLog, stopped: &Stopped) -> Vec<u64> {
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
fn batch_at(file: &[u8], at: usize) -> u64 {
    let mut reader = BatchReader::new(Bytes::copy_from_slice(file));
    let mut end = 0;
    let found = reader.find_map(|batch: Result<Batch, _>| {
        let batch = batch.unwrap();
        end += batch.bytes().len();
        (at < end).then(|| batch.header().base_offset.value())
    });
    found.unwrap()
}

#[test]
fn every_flipped_bit_is_found_and_costs_no_other_record() {
    let stopped = Stopped::new(log_kit::options());
    assert!(findings(&stopped.with(|_| {})).is_empty());
    assert_eq!(stopped.files.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "growerlog")).count(), 3);
    for (path, bytes) in &stopped.files {
        let is_log = path.extension().is_some_and(|extension| extension == "growerlog");
        for bit in 0..bytes.len() * 8 {
            let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
            let disk = stopped.with_file(path, flip);
            let found = findings(&disk);
            let context = || format!("bit {bit} of {}: {found:?}", path.display());
            assert!(found.iter().any(|finding| finding.path == *path), "{}", context());
            let others = found.iter().filter(|finding| finding.path != *path).count();
            assert_eq!(others, 0, "{}", context());

            let mut log = open(&disk);
            assert_eq!(log.span(), Offset::ZERO..stopped.end, "{}", context());
            let checked = log.reader().check(log.span());
            let allowed = if is_log { vec![batch_at(bytes, bit / 8)] } else { vec![] };
            assert_eq!(checked.is_err(), is_log, "{}", context());
            assert_eq!(lost(&log, &stopped), allowed, "{}", context());
            if is_log {
                assert_eq!(disk.map(path).unwrap().as_ref()[bit / 8], bytes[bit / 8] ^ (1 << (bit % 8)), "rot is kept");
            }
            append_after(&mut log, stopped.end);
        }
    }
}

#[test]
fn every_flipped_bit_of_what_compaction_and_repair_left_behind_is_found_and_costs_no_record() {
    let stopped = Stopped::with_a_past();
    assert!(findings(&stopped.with(|_| {})).is_empty());
    for name in OF_THE_PAST {
        let path = stopped.path(name, 0);
        let length = stopped.with(|_| {}).map(&path).unwrap().as_ref().len();
        for bit in 0..length * 8 {
            let disk = stopped.with_file(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            check_costs_nothing(&disk, &stopped, &path, &format!("bit {bit} of {name}"));
        }
        for cut in 0..length {
            let disk = stopped.with_file(&path, |bytes| bytes.truncate(cut));
            check_costs_nothing(&disk, &stopped, &path, &format!("{name} cut at {cut}"));
        }
        let disk = stopped.with_file(&path, |bytes| bytes.extend_from_slice(&[0xa5; 100]));
        check_costs_nothing(&disk, &stopped, &path, &format!("{name} and more"));
    }
}

/// The check names this file and no other, and the log serves every record.
fn check_costs_nothing(disk: &MemDisk, stopped: &Stopped, path: &Path, what: &str) {
    let found = findings(disk);
    assert!(matches!(&found[..], [finding] if finding.path == path && finding.offsets.is_none()), "{what}: {found:?}");
    let mut log = open(disk);
    assert_eq!(log.span(), Offset::ZERO..stopped.end, "{what}");
    log.reader().check(log.span()).unwrap();
    assert_eq!(lost(&log, stopped), [0; 0], "{what}");
    append_after(&mut log, stopped.end);
}

fn append_after(log: &mut DiskLog, end: Offset) {
    let appended = log.append(log_kit::batch_of(9, 1, 5, 0, 0), LeaderEpoch::new(9), Default::default()).unwrap();
    assert_eq!(appended.base_offset, end);
}

#[test]
fn a_lost_short_or_damaged_index_costs_no_record() {
    let stopped = Stopped::new(log_kit::options());
    for at in 0..3 {
        let path = stopped.path("growerindex", at);
        let length = stopped.files.iter().find(|(found, _)| *found == path).unwrap().1.len();
        let mut disks = vec![stopped.without(&path), stopped.with_file(&path, |bytes| bytes.fill(0))];
        disks.extend((0..length).map(|cut| stopped.with_file(&path, |bytes| bytes.truncate(cut))));
        disks.push(stopped.with_file(&path, |bytes| bytes.extend_from_slice(&[7; 100])));
        let appended = disks.len() - 1;
        for (which, disk) in disks.into_iter().enumerate() {
            let sound = findings(&disk).is_empty();
            let (log, report) = log_kit::open(Arc::new(disk.clone()), &log_kit::options());
            // What follows the synced end of the last index a crash may have left.
            let by_a_crash = at == 2 && which == appended;
            assert!(report.is_empty() || by_a_crash || !sound, "what needs mending is found by a check");
            assert_eq!(log.span().end, stopped.end);
            log.reader().check(log.span()).unwrap();
            assert_eq!(lost(&log, &stopped), [0; 0]);
            drop(log);
            let report = log_kit::open(Arc::new(disk.clone()), &log_kit::options()).1;
            assert!(report.is_empty(), "it is made anew once: {report:?}");
            assert!(findings(&disk).is_empty());
        }
    }
}

#[test]
fn the_index_of_another_segment_costs_no_record() {
    let stopped = Stopped::new(log_kit::options());
    let (first, second) = (stopped.path("growerindex", 0), stopped.path("growerindex", 1));
    let foreign = stopped.files.iter().find(|(path, _)| *path == second).unwrap().1.clone();
    let disk = stopped.with_file(&first, |bytes| *bytes = foreign);
    assert!(!findings(&disk).is_empty());
    let log = open(&disk);
    assert_eq!(lost(&log, &stopped), [0; 0]);
}

#[test]
fn a_segment_cut_short_loses_what_it_held_and_nothing_else() {
    let stopped = Stopped::new(log_kit::options());
    for at in 0..3 {
        let path = stopped.path("growerlog", at);
        let bytes = stopped.files.iter().find(|(found, _)| *found == path).unwrap().1.clone();
        let held: Vec<u64> = (0..bytes.len()).map(|byte| batch_at(&bytes, byte)).collect();
        for cut in 0..bytes.len() {
            let disk = stopped.with_file(&path, |bytes| bytes.truncate(cut));
            assert!(findings(&disk).iter().any(|finding| finding.offsets.is_some()), "cut at {cut} is found");
            let mut log = open(&disk);
            assert_eq!(log.span().end, stopped.end, "offsets are never given out twice");
            let mut expected = held[cut..].to_vec();
            expected.dedup();
            assert_eq!(lost(&log, &stopped), expected, "cut at {cut}");
            append_after(&mut log, stopped.end);
        }
    }
}

#[test]
fn a_missing_segment_loses_exactly_its_offsets() {
    let stopped = Stopped::new(log_kit::options());
    for at in 0..3 {
        let path = stopped.path("growerlog", at);
        let bytes = stopped.files.iter().find(|(found, _)| *found == path).unwrap().1.clone();
        let mut held: Vec<u64> = (0..bytes.len()).map(|byte| batch_at(&bytes, byte)).collect();
        held.dedup();
        let disk = stopped.without(&path);
        assert!(!findings(&disk).is_empty());
        let mut log = open(&disk);
        assert_eq!(log.span(), Offset::ZERO..stopped.end);
        assert_eq!(lost(&log, &stopped), held);
        append_after(&mut log, stopped.end);
    }
}

#[test]
fn a_lost_small_file_costs_no_record() {
    let stopped = Stopped::new(log_kit::options());
    for name in ["partition.meta", "checkpoint", "leader-epochs", "producers.snapshot"] {
        let path = Path::new(DIR).join(name);
        for disk in [stopped.without(&path), stopped.with_file(&path, Vec::clear)] {
            let mut log = open(&disk);
            assert_eq!(log.span(), Offset::ZERO..stopped.end, "{name}");
            assert_eq!(lost(&log, &stopped), [0; 0]);
            let last = stopped.batches.last().unwrap();
            let (records, length, sequence) = last.source;
            let again = log_kit::batch(records, length, sequence, 0);
            let again = log.append(again, LeaderEpoch::new(2), Default::default()).unwrap();
            assert!(again.duplicate, "producers are known again by the headers");
        }
    }
}

#[test]
fn the_end_is_known_by_an_index_that_has_lost_its_log() {
    let stopped = Stopped::new(log_kit::options());
    let (log, checkpoint) = (stopped.path("growerlog", 2), Path::new(DIR).join("checkpoint"));
    let disk = stopped.with(|files| files.retain(|(path, _)| *path != log && *path != checkpoint));
    let mut log = open(&disk);
    assert_eq!(log.span().end, stopped.end, "offsets are never given out twice");
    append_after(&mut log, stopped.end);
}

#[test]
fn a_batch_that_is_sound_but_not_the_one_that_was_written_is_found_by_the_witness() {
    let mut world = World::new(log_kit::options());
    (0..3).for_each(|_| assert!(world.append(1, 30).is_ok()));
    world.log.checkpoint(Default::default()).unwrap();
    let stopped = Stopped::of(&world);
    let at = stopped.batches[0].bytes.len();
    // The same length, offset and epoch, and its CRC is right: the neighbour partition's, by a misdirected write.
    let other = log_kit::batch_of(2, 1, 30, 1, 0).place(Offset::new(1), LeaderEpoch::new(1)).bytes().clone();
    assert_eq!(other.len(), stopped.batches[1].bytes.len());
    let disk = stopped.with_file(&stopped.path("growerlog", 0), |bytes| {
        bytes[at..at + other.len()].copy_from_slice(&other);
    });
    assert_eq!(findings(&disk).len(), 1);
    let log = open(&disk);
    assert!(log.reader().check(log.span()).is_err());
    assert_eq!(lost(&log, &stopped), [1]);
}

#[test]
fn a_batch_inside_a_record_is_never_taken_for_one_of_the_log() {
    let mut world = World::new(LogOptions { segment_bytes: 1 << 20, ..log_kit::options() });
    let inner = log_kit::batch_of(3, 1, 30, 0, 0).place(Offset::new(1), LeaderEpoch::new(1));
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&Record { value: Some(inner.bytes().clone()), ..Record::default() });
    let outer = UnplacedBatch::built(builder.build(None));
    world.log.append(outer, LeaderEpoch::new(1), Default::default()).unwrap();
    let second = world.log.append(log_kit::batch(1, 30, 0, 0), LeaderEpoch::new(1), Default::default()).unwrap();
    world.log.append(log_kit::batch(1, 30, 1, 0), LeaderEpoch::new(1), Default::default()).unwrap();
    world.log.checkpoint(Default::default()).unwrap();
    let before = read_one(&world.log, second.base_offset.value()).unwrap();
    let disk = world.memory.clone();
    let path = Path::new(DIR).join("00000000000000000000.growerlog");
    disk.edit(&path, |bytes| bytes[16] ^= 1).unwrap();
    // Without its index nothing but the end of the file says where batches end.
    for path in [None, Some(path.with_extension("growerindex"))] {
        if let Some(path) = path {
            disk.remove_file(&path).unwrap();
        }
        let log = open(&disk);
        assert_eq!(read_one(&log, 0), None);
        assert_eq!(read_one(&log, 1), Some(before.clone()));
    }
}

/// Something that happens to a file.
#[derive(Clone, Debug)]
enum Damage {
    Overwrite {
        at: usize,
        with: Vec<u8>,
    },
    Truncate(usize),
    Extend(Vec<u8>),
    /// A block that belongs to another file, as a misdirected write leaves it.
    CopyFrom {
        file: usize,
        from: usize,
        at: usize,
        length: usize,
    },
    Remove,
}

fn damage() -> impl Strategy<Value = (usize, Damage)> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..40);
    let what = prop_oneof![
        4 => (0usize..500, bytes()).prop_map(|(at, with)| Damage::Overwrite { at, with }),
        1 => (0usize..500).prop_map(Damage::Truncate),
        1 => bytes().prop_map(Damage::Extend),
        2 => (0usize..10, 0usize..400, 0usize..400, 1usize..200)
            .prop_map(|(file, from, at, length)| Damage::CopyFrom { file, from, at, length }),
        1 => Just(Damage::Remove),
    ];
    (0usize..10, what)
}

fn apply(files: &mut Vec<(PathBuf, Vec<u8>)>, which: usize, damage: &Damage) {
    let which = which % files.len();
    let donor = match damage {
        Damage::CopyFrom { file, .. } => files[file % files.len()].1.clone(),
        _ => Vec::new(),
    };
    let bytes = &mut files[which].1;
    match damage {
        Damage::Overwrite { at, with } => {
            let at = (*at).min(bytes.len());
            let end = (at + with.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&with[..end - at]);
        }
        Damage::Truncate(length) => bytes.truncate(*length),
        Damage::Extend(more) => bytes.extend_from_slice(more),
        Damage::CopyFrom { from, at, length, .. } => {
            let (from, at) = ((*from).min(donor.len()), (*at).min(bytes.len()));
            let length = (*length).min(donor.len() - from).min(bytes.len() - at);
            bytes[at..at + length].copy_from_slice(&donor[from..from + length]);
        }
        Damage::Remove if 1 < files.len() => drop(files.remove(which)),
        Damage::Remove => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happened_to_the_files_nothing_wrong_is_served(all in prop::collection::vec(damage(), 1..5)) {
        let stopped = Stopped::new(log_kit::options());
        let disk = stopped.with(|files| all.iter().for_each(|(which, damage)| apply(files, *which, damage)));
        let _ = findings(&disk);
        let log: Arc<dyn Disk> = Arc::new(disk.clone());
        let Ok((mut log, _)) = DiskLog::open(log, log_kit::place(), log_kit::options(), Default::default()) else {
            return Ok(()); // Another partition's, says its own file.
        };
        let span = log.span();
        let _ = log.reader().check(span.clone());
        for batch in stopped.batches.iter().filter(|batch| span.contains(&Offset::new(batch.base))) {
            if let Some(bytes) = read_one(&log, batch.base) {
                prop_assert_eq!(&bytes, &batch.bytes);
            }
        }
        let _ = log.retain(Default::default(), &Default::default());
        let appended = log.append(log_kit::batch_of(9, 1, 5, 0, 0), LeaderEpoch::new(9), Default::default()).unwrap();
        prop_assert_eq!(appended.base_offset, span.end);
        prop_assert!(read_one(&log, span.end.value()).is_some(), "what is appended afterwards is served");
    }
}
