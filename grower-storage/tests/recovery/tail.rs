//! Torn tails and unsynced records: what a crash leaves is cut, counted and kept.

use super::log_kit::{self, World, options};
use super::{bytes, first_log, roomy, two_flushed_one_not};
use grower_protocol::ids::Offset;
use grower_storage::disk::Call;
use grower_storage::log::{AppendError, DiskLog, Log, LogOptions};

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
