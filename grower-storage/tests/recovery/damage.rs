//! Damage to durable records: no file changes, and all other records are served.

use super::log_kit::{DIR, World, options};
use super::{bytes, first_log, two_flushed_one_not};
use grower_index::{ENTRY_LENGTH, IndexEntry};
use grower_protocol::ids::Offset;
use grower_storage::log::{IndexFactory, Log, LogOptions};
use grower_storage::verify::verify;
use std::path::{Path, PathBuf};

#[test]
fn damage_below_the_durable_end_changes_no_file() {
    let mut world = two_flushed_one_not(options());
    world.log.checkpoint(Default::default()).unwrap();
    world.append(1, 30).unwrap(); // Above it, and torn.
    let length = world.batches[0].bytes.len();
    world.memory.edit(&first_log(), |bytes| bytes[length + 80] ^= 4).unwrap();
    world.log.checkpoint(Default::default()).unwrap();
    let before: Vec<Vec<u8>> = world.memory.files().iter().map(|path| bytes(&world, path)).collect();
    world.kill();
    let after: Vec<Vec<u8>> = world.memory.files().iter().map(|path| bytes(&world, path)).collect();
    assert_eq!(before, after);
    assert_eq!(world.log.span().end, Offset::new(5));
    assert!(world.log.reader().check(Offset::ZERO..Offset::new(5)).is_err());
    assert!(world.log.reader().check(Offset::ZERO..Offset::new(1)).is_ok());
}

#[test]
fn damage_between_the_last_trusted_entry_and_the_durable_end_is_corruption() {
    for at in [3, 9, 16, 80] {
        let index = IndexFactory::sparse(250);
        let mut world = World::new(LogOptions { segment_bytes: 1 << 20, index, ..options() });
        for _ in 0..7 {
            world.append(1, 30).unwrap();
            assert!(world.flush());
        }
        // The index has an entry after the third batch, and one after the sixth that knows the fifth to be durable.
        let fifth: usize = world.batches[..4].iter().map(|batch| batch.bytes.len()).sum();
        world.memory.edit(&first_log(), |bytes| bytes[fifth + at] ^= 0x20).unwrap();
        let before = bytes(&world, &first_log());
        let report = world.kill();
        assert_eq!(report.cut, None);
        let damaged: Vec<_> = report.damaged.iter().map(|damaged| damaged.offsets.clone()).collect();
        assert_eq!(damaged, [Offset::new(4)..Offset::new(5)], "byte {at}");
        assert_eq!(world.log.span().end, Offset::new(7));
        assert_eq!(bytes(&world, &first_log()), before);
        assert_eq!(world.append(1, 1).unwrap().base_offset, Offset::new(7), "in a new segment");
        assert_eq!(bytes(&world, &first_log()), before);
    }
}

#[test]
fn sound_records_served_from_a_damaged_log_survive_the_next_crash() {
    let index = IndexFactory::sparse(250);
    let mut world = World::new(LogOptions { segment_bytes: 1 << 20, index, ..options() });
    for _ in 0..7 {
        world.append(1, 30).unwrap();
        assert!(world.flush());
    }
    let fifth: usize = world.batches[..4].iter().map(|batch| batch.bytes.len()).sum();
    world.memory.edit(&first_log(), |bytes| bytes[fifth + 70] ^= 1).unwrap();
    world.append(1, 30).unwrap(); // Not flushed.
    assert_eq!(world.kill().damaged.len(), 1);
    assert_eq!(world.log.span().end, Offset::new(8));
    assert!(world.log.reader().read(Offset::new(7), 1, Offset::MAX).is_ok());
    world.memory.crash();
    world.kill();
    assert_eq!(world.log.span().end, Offset::new(8));
}

#[test]
fn a_segment_that_overlaps_the_one_before_is_refused_where_they_differ() {
    let mut world = two_flushed_one_not(options());
    assert!(world.flush());
    let name = "00000000000000000002.growerlog"; // In the middle of the second batch.
    let file = world.disk.create(&Path::new(DIR).join(name)).unwrap();
    file.write_all_at(&world.batches[2].bytes, 0).unwrap();
    world.disk.sync_many(&[file]).unwrap();
    let report = world.kill();
    assert!(!report.damaged.is_empty());
    assert!(world.log.reader().read(Offset::new(0), 1, Offset::MAX).is_ok());
    assert!(world.log.reader().read(Offset::new(1), 1, Offset::MAX).is_err());
}

#[test]
fn bytes_after_the_end_of_a_sealed_segment_cost_no_record() {
    let mut world = World::new(options());
    (0..9).for_each(|_| assert!(world.append(1, 30).is_ok()));
    world.log.checkpoint(Default::default()).unwrap();
    world.memory.edit(&first_log(), |bytes| bytes.extend_from_slice(&[9; 300])).unwrap();
    world.kill();
    assert_eq!(world.log.span().end, Offset::new(9));
    for offset in 0..9 {
        assert!(world.log.reader().read(Offset::new(offset), 1, Offset::MAX).is_ok(), "offset {offset}");
    }
    assert_eq!(bytes(&world, &first_log())[bytes(&world, &first_log()).len() - 300..], [9; 300]);
}

#[test]
fn an_index_entry_with_a_forged_offset_is_survived() {
    let index = || LogOptions { segment_bytes: 1_000, index: IndexFactory::sparse(150), ..options() };
    let written = || {
        let mut world = World::new(index());
        for _ in 0..12 {
            world.append(1, 30).unwrap();
            assert!(world.flush());
        }
        world.log.checkpoint(Default::default()).unwrap();
        world
    };
    let is_index = |path: &&PathBuf| path.extension().is_some_and(|kind| kind == "growerindex");
    for path in written().memory.files().iter().filter(is_index) {
        for at in 0..bytes(&written(), path).len() / ENTRY_LENGTH {
            for more in [1, 2, 5, 1_000] {
                let mut world = written();
                let forge = |bytes: &mut Vec<u8>| {
                    let entry = bytes[at * ENTRY_LENGTH..].first_chunk_mut().unwrap();
                    let sound = IndexEntry::decode(entry).unwrap();
                    *entry = IndexEntry { relative_offset: sound.relative_offset + more, ..sound }.encode();
                };
                world.memory.edit(path, forge).unwrap();
                world.kill();
                verify(&world.memory, Path::new(DIR), |_| {}).unwrap(); // It may report the entry.
                for (from, upto) in (0..12).flat_map(|from| (from..13).map(move |upto| (from, Offset::new(upto)))) {
                    for limit in [1, 200, 400, 600] {
                        let read = world.log.reader().read(Offset::new(from), limit, upto);
                        assert!(read.into_iter().flatten().all(|slice| slice.offsets().end <= upto));
                    }
                }
            }
        }
    }
}
