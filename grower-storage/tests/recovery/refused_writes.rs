//! Writes that the disk refuses or cuts short, and what is left of them after a restart.

use super::log_kit::{World, options};
use super::{roomy, two_flushed_one_not};
use grower_storage::disk::{Call, Fault};
use grower_storage::log::{AppendError, LogOptions};

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
