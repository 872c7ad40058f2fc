//! The files of a partition's directory: when they are created, which are refused, and which leftovers go.

use super::log_kit::{self, DIR, World, options};
use super::{roomy, two_flushed_one_not};
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, TopicId};
use grower_storage::log::{DiskLog, Log, LogLocation, LogOptions, OpenError};
use std::path::{Path, PathBuf};

#[test]
fn nothing_is_created_before_the_first_append() {
    let mut world = World::new(options());
    world.log.begin_epoch(LeaderEpoch::new(3)).unwrap();
    world.log.checkpoint(Default::default()).unwrap();
    assert!(world.memory.files().is_empty());
    world.epoch = 3;
    world.append(1, 1).unwrap();
    let names: Vec<PathBuf> = world.memory.files();
    let names: Vec<String> = names.iter().map(|path| path.file_name().unwrap().to_string_lossy().into()).collect();
    assert_eq!(
        names,
        ["00000000000000000000.growerindex", "00000000000000000000.growerlog", "leader-epochs", "partition.meta"]
    );
}

fn reopen(world: &World, place: LogLocation) -> OpenError {
    DiskLog::open(world.disk.clone(), place, options(), Default::default()).expect_err("it is refused")
}

#[test]
fn the_directory_of_another_partition_is_refused() {
    let world = two_flushed_one_not(options());
    let other = LogLocation { partition: PartitionId::new(1), ..log_kit::place() };
    insta::assert_snapshot!(reopen(&world, other), @"/topics/t/0/partition.meta belongs to partition 07070707-0707-4707-8707-070707070707/0, not 07070707-0707-4707-8707-070707070707/1");
    let other = LogLocation { topic_id: TopicId::from_random([8; 16]), ..log_kit::place() };
    assert!(matches!(reopen(&world, other), OpenError::Foreign { .. }));
}

#[test]
fn a_later_format_is_refused_by_name() {
    let world = two_flushed_one_not(options());
    let path = Path::new(DIR).join("partition.meta");
    world
        .memory
        .edit(&path, |bytes| {
            bytes[5] = 2;
            let end = bytes.len() - 4;
            let crc = crc32fast::hash(&bytes[..end]);
            bytes[end..].copy_from_slice(&crc.to_be_bytes());
        })
        .unwrap();
    insta::assert_snapshot!(reopen(&world, log_kit::place()), @"/topics/t/0/partition.meta has format 2, this program knows up to 1: use a newer Grower");
}

#[test]
fn an_empty_segment_file_is_the_end_of_a_roll_that_was_cut_short() {
    let mut world = two_flushed_one_not(options());
    assert!(world.flush());
    let next = Path::new(DIR).join("00000000000000000004.growerlog");
    world.disk.create(&next).unwrap();
    world.disk.sync_dir(Path::new(DIR)).unwrap();
    assert!(world.kill().damaged.is_empty());
    world.settle(4);
    assert_eq!(world.append(1, 1).unwrap().base_offset, Offset::new(4));
    world.check();
}

#[test]
fn leftovers_under_temporary_names_are_removed() {
    let mut world = two_flushed_one_not(options());
    let leftover = Path::new(DIR).join("checkpoint.tmp");
    world.disk.create(&leftover).unwrap();
    let stranger = Path::new(DIR).join("notes.txt");
    world.disk.create(&stranger).unwrap();
    world.kill();
    assert!(world.disk.open(&leftover).is_err());
    assert!(world.disk.open(&stranger).is_ok(), "what is not ours stays");
}

#[test]
fn a_snapshot_of_producers_from_beyond_the_log_end_is_forgotten() {
    let mut world = World::new(LogOptions { snapshot_bytes: 100, ..roomy() });
    world.append(1, 10).unwrap();
    assert!(world.flush());
    world.append(3, 60).unwrap();
    world.append(1, 10).unwrap(); // Writes the producers down as of offset 4, which is not durable.
    world.cut_power(None);
    world.settle(1);
    world.options.snapshot_bytes = u64::MAX;
    world.kill();
    world.settle(1);
    // The log grows past that offset with other batches.
    (0..5).for_each(|_| assert!(world.append(1, 10).is_ok()));
    assert!(world.flush());
    world.cut_power(None);
    world.settle(6);
    world.check_retries();
    world.append(1, 10).unwrap();
}

#[test]
fn a_segment_ages_through_restarts() {
    let mut world = World::new(LogOptions { segment_bytes: 1 << 20, ..options() });
    world.append(1, 10).unwrap();
    world.now += 600;
    world.kill();
    assert!(!world.append(1, 10).unwrap().rolled);
    world.now += 400;
    world.kill();
    assert!(world.append(1, 10).unwrap().rolled, "a second after its first batch");
}
