//! The search for the newest backup of a broker.

use super::*;
use crate::placement::MANIFEST;
use grower_storage::disk::Call;
use std::cell::Cell;
use std::collections::BTreeMap;

fn node() -> NodeIdentity {
    NodeIdentity { cluster: uuid(1), node: NODE, uuid: uuid(2) }
}

/// A backup in `dir` that began then.
fn made(disk: &MemDisk, dir: &str, began: i64) {
    disk.create_dir_all(Path::new(dir)).unwrap();
    let manifest = BackupManifest::new(&node(), Timestamp::from_millis(began), BTreeMap::new());
    let file = disk.create(&Path::new(dir).join(MANIFEST)).unwrap();
    file.write_all_at(manifest.to_text().as_bytes(), 0).unwrap();
}

fn newest(disk: &dyn Disk, keep_going: &dyn Fn() -> bool) -> Option<i64> {
    newest_below(disk, Path::new(BACKUPS), &node(), keep_going).map(Timestamp::as_millis)
}

#[test]
fn an_unreadable_backup_does_not_hide_the_others() {
    let disk = MemDisk::default();
    (1..=3).for_each(|n| made(&disk, &format!("/backups/nightly/backup-00000{n}"), n * 10));
    let faulty = FaultDisk::new(disk);
    assert_eq!(newest(&faulty, &|| true), Some(30));
    for call in [Call::Open, Call::Stat, Call::Read] {
        faulty.faults().heal();
        faulty.faults().inject(Fault::io(call, 0));
        assert_eq!(newest(&faulty, &|| true), Some(20), "{call:?}");
    }
    faulty.faults().heal();
    faulty.faults().inject(Fault::io(Call::Open, 0).from_then_on());
    assert_eq!(newest(&faulty, &|| true), None);
    assert_eq!(faulty.faults().calls(Call::Open), 3, "each was tried");
}

#[test]
fn a_directory_with_a_manifest_is_a_backup_and_is_not_searched() {
    let disk = MemDisk::default();
    made(&disk, "/backups/nightly/backup-000001", 10);
    made(&disk, "/backups/nightly/latest", 10);
    made(&disk, "/backups/nightly/latest/topics/backup-000009", 99);
    let faulty = FaultDisk::new(disk);
    assert_eq!(newest(&faulty, &|| true), Some(10));
    assert_eq!(faulty.faults().calls(Call::List), 3, "the directory, the one below it, and the backup itself");
}

#[test]
fn the_search_can_be_ended_before_each_manifest() {
    let disk = MemDisk::default();
    for n in 1..=5 {
        let dir = format!("/backups/backup-00000{n}");
        disk.create_dir_all(Path::new(&dir)).unwrap();
        disk.create(&Path::new(&dir).join(MANIFEST)).unwrap();
    }
    let faulty = FaultDisk::new(disk);
    let left = Cell::new(3);
    assert_eq!(newest(&faulty, &|| left.replace(left.get() - 1) > 0), None);
    assert_eq!(faulty.faults().calls(Call::Open), 2, "the directory was the first to be asked for");
}
