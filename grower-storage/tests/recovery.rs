//! Promises of a restart, after each kind of end.

mod log_kit;

use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, TopicId};
use grower_storage::disk::{Call, Disk, Fault};
use grower_storage::log::{AppendError, DiskLog, IndexFactory, Log, LogLocation, LogOptions, OpenError};
use log_kit::{DIR, World, batch, options};
use std::path::{Path, PathBuf};

/// The index stays out of the way: nothing is known to be durable but what was checkpointed.
fn without_hints() -> LogOptions {
    LogOptions { index_flush_bytes: u32::MAX, index: IndexFactory::sparse(1 << 20), ..options() }
}

fn roomy() -> LogOptions {
    LogOptions { segment_bytes: 1 << 20, ..without_hints() }
}

fn first_log() -> PathBuf {
    Path::new(DIR).join("00000000000000000000.growerlog")
}

fn bytes(world: &World, path: &Path) -> Vec<u8> {
    world.memory.map(path).unwrap().as_ref().to_vec()
}

/// Three batches, the first two of them flushed.
fn two_flushed_one_not(options: LogOptions) -> World {
    let mut world = World::new(options);
    world.append(1, 30).unwrap();
    world.append(2, 30).unwrap();
    assert!(world.flush());
    world.append(1, 30).unwrap();
    world
}

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

#[test]
fn a_torn_tail_is_cut_counted_and_kept() {
    let mut world = two_flushed_one_not(roomy());
    let whole = bytes(&world, &first_log());
    world.memory.edit(&first_log(), |bytes| bytes.truncate(whole.len() - 7)).unwrap();
    let report = world.kill();
    let cut = report.cut.expect("the tail is torn");
    let end = world.batches[..2].iter().map(|batch| batch.bytes.len()).sum::<usize>();
    assert_eq!((cut.end, cut.position), (Offset::new(3), end as u64));
    assert_eq!(cut.path, first_log());
    let kept = cut.kept.expect("what may have been acknowledged is kept");
    assert!(kept.starts_with("/cut"));
    let torn = &whole[end..whole.len() - 7];
    assert!(torn.starts_with(&bytes(&world, &kept)), "all but the zeros at the end");
    world.settle(3);
    world.append(1, 30).unwrap();
    world.check();
}

#[test]
fn damage_above_the_durable_end_is_a_torn_tail_even_before_sound_batches() {
    let mut world = two_flushed_one_not(roomy());
    world.append(1, 30).unwrap();
    let start = world.batches[..2].iter().map(|batch| batch.bytes.len()).sum::<usize>();
    world.memory.edit(&first_log(), |bytes| bytes[start..start + 40].fill(0)).unwrap();
    assert!(world.kill().cut.is_some());
    world.settle(3);
}

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
fn zeros_that_were_allocated_ahead_are_not_counted_as_torn() {
    let mut world = two_flushed_one_not(LogOptions { preallocate_bytes: 4096, ..roomy() });
    let written: usize = world.batches.iter().map(|batch| batch.bytes.len()).sum();
    assert_eq!(bytes(&world, &first_log()).len(), world.batches[0].bytes.len() + 4096);
    assert_eq!(world.kill().cut, None);
    world.settle(4);
    world.log.checkpoint(Default::default()).unwrap();
    assert_eq!(bytes(&world, &first_log()).len(), written, "a clean stop gives the room back");
}

#[test]
fn an_append_whose_sync_failed_is_gone_after_a_crash() {
    let mut world = two_flushed_one_not(roomy());
    world.memory.fail_next_sync();
    assert!(!world.flush());
    assert!(matches!(world.append(1, 1), Err(AppendError::Failed(_))));
    world.cut_power(None);
    world.settle(3);
    assert_eq!(world.end(), 3);
}

#[test]
fn a_tail_whose_sync_failed_is_durable_once_it_was_recovered() {
    let mut world = two_flushed_one_not(roomy());
    world.memory.fail_next_sync();
    assert!(!world.flush());
    // The process restarts and reads what it wrote, from pages that count as clean and were never stored.
    world.kill();
    world.settle(3);
    assert_eq!(world.end(), 4, "the tail reads well");
    world.cut_power(None);
    world.settle(4); // Recovery wrote it again before it synced.
}

#[test]
fn records_served_after_a_crash_survive_the_next() {
    let mut world = two_flushed_one_not(roomy());
    world.kill();
    world.settle(4);
    world.cut_power(None);
    world.settle(4);
}

#[test]
fn a_full_disk_refuses_appends_and_takes_them_again() {
    let mut world = two_flushed_one_not(roomy());
    world.memory.set_capacity(1);
    let Err(AppendError::Disk(error)) = world.append(1, 30) else { panic!("there is no room") };
    assert!(error.is_full());
    world.check();
    assert!(world.flush());
    world.memory.set_capacity(1 << 20);
    world.append(1, 30).unwrap();
    world.check();
    world.cut_power(None);
    world.settle(4);
}

#[test]
fn a_short_write_leaves_no_trace() {
    let mut world = two_flushed_one_not(LogOptions { snapshot_bytes: u64::MAX, ..roomy() });
    let writes = world.faults.calls(Call::Write);
    world.faults.inject(Fault::full(Call::Write, writes).after_bytes(50));
    assert!(matches!(world.append(1, 30), Err(AppendError::Disk(_))));
    world.append(1, 40).unwrap();
    world.check();
    assert!(world.flush());
    assert_eq!(world.cut_power(None).cut, None);
    world.settle(5);
}

#[test]
fn a_short_write_that_cannot_be_undone_fails_the_log() {
    let mut world = two_flushed_one_not(LogOptions { snapshot_bytes: u64::MAX, ..roomy() });
    let (writes, cuts) = (world.faults.calls(Call::Write), world.faults.calls(Call::SetLen));
    world.faults.inject(Fault::full(Call::Write, writes).after_bytes(50));
    world.faults.inject(Fault::io(Call::SetLen, cuts));
    assert!(matches!(world.append(1, 30), Err(AppendError::Failed(_))));
    assert!(matches!(world.append(1, 30), Err(AppendError::Failed(_))));
    assert!(world.kill().cut.is_some());
    world.settle(4);
}

#[test]
fn an_index_that_cannot_be_written_stops_nothing() {
    let mut world = World::new(LogOptions { segment_bytes: 1 << 20, ..options() });
    world.append(1, 30).unwrap();
    for _ in 0..40 {
        let writes = world.faults.calls(Call::Write);
        world.faults.inject(Fault::full(Call::Write, writes + 1)); // The log first, then the index.
        world.append(1, 30).unwrap();
        world.check();
    }
    world.faults.heal();
    assert!(world.flush());
    assert!(world.cut_power(None).damaged.is_empty());
    world.settle(41);
}

#[test]
fn the_power_may_go_again_during_recovery_at_every_step() {
    for torn in [None, Some(1), Some(2), Some(3)] {
        for after in 0.. {
            let mut world = World::new(options());
            (0..9).for_each(|n| assert!(world.append(1 + n % 2, 20).is_ok()));
            assert!(world.flush());
            world.append(3, 20).unwrap();
            let durable = world.log.durable_end().value();
            world.memory.crash_torn(7);
            world.faults.heal();
            world.faults.lose_power_after(after);
            let place = log_kit::place();
            let opened = DiskLog::open(world.disk.clone(), place, options(), Default::default());
            let came_through = opened.is_ok();
            drop(opened);
            assert!(world.cut_power(torn).damaged.is_empty());
            world.settle(durable);
            world.check_retries();
            if came_through {
                assert!(0 < after, "recovery changes something");
                break;
            }
        }
    }
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
fn a_restart_after_a_kill_reads_no_more_than_the_tail() {
    let mut world = World::new(LogOptions { segment_bytes: 1 << 30, snapshot_bytes: 4_000, ..options() });
    for _ in 0..400 {
        world.append(1, 100).unwrap();
        assert!(world.flush());
    }
    let before = world.faults.calls(Call::Read);
    world.kill();
    let reads = world.faults.calls(Call::Read) - before;
    assert!(reads < 20, "{reads} reads");
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

/// Segments of a few batches each, all of it written down as durable; the base offset of the last.
fn three_segments() -> (World, PathBuf) {
    let mut world = World::new(options());
    while world.log.reader().segments().len() < 3 {
        world.append(1, 60).unwrap();
    }
    world.append(1, 60).unwrap();
    assert!(world.flush());
    world.log.checkpoint(Default::default()).unwrap();
    let last = world.log.reader().segments().last().unwrap().base_offset;
    (world, Path::new(DIR).join(format!("{:020}.growerlog", last.value())))
}

#[test]
fn records_missing_at_a_start_are_still_missing_after_a_clean_stop() {
    let without_log = |world: &World, last: &Path| world.disk.remove_file(last).unwrap();
    let without_both = |world: &World, last: &Path| {
        world.disk.remove_file(last).unwrap();
        world.disk.remove_file(&last.with_extension("growerindex")).unwrap();
    };
    let cut_short = |world: &World, last: &Path| {
        let half = world.batches.last().unwrap().bytes.len();
        world.memory.edit(last, |bytes| bytes.truncate(half)).unwrap();
    };
    let losses: [fn(&World, &Path); 3] = [without_log, without_both, cut_short];
    for (loss, lose) in losses.into_iter().enumerate() {
        let (mut world, last) = three_segments();
        let end = world.log.span().end;
        lose(&world, &last);
        let found = world.kill().damaged.into_iter().map(|range| range.offsets).collect::<Vec<_>>();
        assert_eq!(found.last().map(|lost| lost.end), Some(end), "loss {loss}");
        for _ in 0..2 {
            world.log.checkpoint(Default::default()).unwrap();
            let again = world.kill().damaged.into_iter().map(|range| range.offsets).collect::<Vec<_>>();
            assert_eq!((world.log.span().end, &again), (end, &found), "loss {loss}");
        }
        let sequence = world.batches.iter().map(|batch| batch.source.0 as i32).sum();
        let appended = world.log.append(batch(1, 30, sequence, 0), LeaderEpoch::new(2), Default::default()).unwrap();
        assert_eq!(appended.base_offset, end, "loss {loss}");
    }
}
