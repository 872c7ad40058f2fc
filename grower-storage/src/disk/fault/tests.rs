use std::path::Path;

use super::*;
use crate::contract;
use crate::disk::MemDisk;

fn disk() -> (FaultDisk<MemDisk>, Faults, MemDisk) {
    let memory = MemDisk::default();
    let disk = FaultDisk::new(memory.clone());
    let faults = disk.faults();
    (disk, faults, memory)
}

/// Replaces a file as a checkpoint is replaced.
fn publish(disk: &dyn Disk, bytes: &[u8]) -> Result<(), DiskError> {
    let (temporary, path) = (Path::new("/checkpoint.tmp"), Path::new("/checkpoint"));
    let file = disk.create(temporary)?;
    file.write_all_at(bytes, 0)?;
    disk.sync_many(&[file])?;
    disk.rename(temporary, path)?;
    disk.sync_dir(Path::new("/"))
}

#[test]
fn without_faults_a_disk_keeps_the_contract() {
    contract::disk(&disk().0, Path::new("/"));
}

#[test]
fn each_call_is_counted_under_its_kind() {
    let (disk, faults, _) = disk();
    publish(&disk, b"bytes").unwrap();
    for call in [Call::Create, Call::Write, Call::Sync, Call::Rename, Call::SyncDir] {
        assert_eq!(faults.calls(call), 1, "{call:?}");
    }
    assert_eq!((faults.calls(Call::Read), faults.mutations()), (0, 5));
    disk.map(Path::new("/checkpoint")).unwrap();
    assert_eq!((faults.calls(Call::Read), faults.mutations()), (1, 5));
    faults.heal();
    assert_eq!((faults.calls(Call::Read), faults.mutations()), (0, 0));
}

#[test]
fn a_single_fault_passes_and_a_lasting_one_stays() {
    let (disk, faults, _) = disk();
    let log = disk.create(Path::new("/log")).unwrap();
    faults.inject(Fault::io(Call::Write, 1));
    faults.inject(Fault::full(Call::Write, 3).from_then_on());
    let outcomes: Vec<_> = (0..6).map(|_| log.write_all_at(b"x", 0).err().map(|error| error.is_full())).collect();
    assert_eq!(outcomes, [None, Some(false), None, Some(true), Some(true), Some(true)]);
    assert_eq!(log.read_at(&mut [0], 0).unwrap(), 1, "other calls go on");
}

#[test]
fn an_error_names_the_operation_and_the_file() {
    let (disk, faults, _) = disk();
    let log = disk.create(Path::new("/log")).unwrap();
    faults.inject(Fault::io(Call::Sync, 0));
    let error = disk.sync_many(&[log]).unwrap_err();
    assert_eq!(error.to_string(), "cannot sync /log: Input/output error (os error 5)");
}

#[test]
fn a_failed_call_has_not_reached_the_disk_below() {
    let (disk, faults, memory) = disk();
    faults.inject(Fault::io(Call::Rename, 0));
    assert!(publish(&disk, b"bytes").is_err());
    assert_eq!(memory.files(), [Path::new("/checkpoint.tmp")]);
}

#[test]
fn a_hook_can_break_the_disk_below_at_a_chosen_call() {
    let (disk, faults, memory) = disk();
    let breaks = memory.clone();
    faults.before(Call::Sync, 1, move || breaks.fail_next_sync());
    let log = disk.create(Path::new("/log")).unwrap();
    log.sync().unwrap();
    assert!(log.sync().is_err());
    log.sync().unwrap();
}

#[test]
fn wherever_the_power_fails_a_published_file_is_the_old_or_the_new_one() {
    let (disk, faults, _) = disk();
    publish(&disk, b"old").unwrap();
    let steps = faults.mutations();
    for power_lasts in 0..=steps {
        let (disk, faults, memory) = self::disk();
        publish(&disk, b"old").unwrap();
        faults.lose_power_after(steps + power_lasts);
        let published = publish(&disk, b"new").is_ok();
        assert!(published || disk.map(Path::new("/checkpoint")).is_err(), "without power nothing can be read");
        memory.crash_torn(power_lasts);
        let left = memory.map(Path::new("/checkpoint")).unwrap();
        assert!(left.as_ref() == b"new" || !published && left.as_ref() == b"old", "after {power_lasts} steps");
    }
}
