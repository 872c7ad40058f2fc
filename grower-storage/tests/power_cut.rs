//! The promises of [`FileDisk`] on a real file system whose power is cut.

#[path = "support/power_cut.rs"]
mod rig;

use std::path::{Path, PathBuf};

use grower_storage::disk::{Disk, FileDisk, SharedFile};
use rig::PowerRig;

/// Runs `before` on a disk, cuts the power, and lets `after` look at what is left.
fn across_a_power_cut(before: impl FnOnce(&FileDisk, &Path), after: impl FnOnce(&FileDisk, &Path)) {
    let Some(mut rig) = PowerRig::new().unwrap() else { return };
    before(&FileDisk::new(rig.path()), rig.path());
    rig.cut().unwrap();
    rig.remount().unwrap();
    after(&FileDisk::new(rig.path()), rig.path());
}

fn create(disk: &FileDisk, path: &Path, bytes: &[u8]) -> SharedFile {
    let file = disk.create(path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn create_durable(disk: &FileDisk, path: &Path, bytes: &[u8]) -> SharedFile {
    let file = create(disk, path, bytes);
    disk.sync_many(std::slice::from_ref(&file)).unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
    file
}

fn bytes(disk: &FileDisk, path: &Path) -> Vec<u8> {
    disk.map(path).unwrap().as_ref().to_vec()
}

#[test]
fn the_rig_takes_what_was_not_synced() {
    across_a_power_cut(
        |disk, root| {
            create_durable(disk, &root.join("log"), b"synced").write_all_at(b"lost", 6).unwrap();
            create(disk, &root.join("nameless"), b"lost");
        },
        |disk, root| {
            assert_eq!(bytes(disk, &root.join("log")), b"synced");
            assert!(disk.open(&root.join("nameless")).is_err());
        },
    );
}

#[test]
fn synced_bytes_in_allocated_room_survive() {
    across_a_power_cut(
        |disk, root| {
            let log = create_durable(disk, &root.join("log"), b"");
            log.allocate(1 << 20).unwrap();
            log.write_all_at(&[7; 5000], 0).unwrap();
            log.sync().unwrap();
            log.write_all_at(&[8; 5000], 5000).unwrap();
        },
        |disk, root| {
            let log = bytes(disk, &root.join("log"));
            assert_eq!(log.len(), 1 << 20);
            assert_eq!(log[..5000], [7; 5000]);
            assert!(log[5000..].iter().all(|byte| [0, 8].contains(byte)), "no stranger's bytes");
        },
    );
}

#[test]
fn a_cut_that_was_synced_stays_cut() {
    across_a_power_cut(
        |disk, root| {
            let log = create_durable(disk, &root.join("log"), b"bytes");
            log.set_len(2).unwrap();
            log.sync().unwrap();
        },
        |disk, root| assert_eq!(bytes(disk, &root.join("log")), b"by"),
    );
}

#[test]
fn created_directories_survive_without_another_sync() {
    let dir = Path::new("topics/events/0");
    across_a_power_cut(
        |disk, root| disk.create_dir_all(&root.join(dir)).unwrap(),
        |disk, root| assert!(disk.list(&root.join(dir)).unwrap().is_empty()),
    );
}

#[test]
fn directories_left_unsynced_by_another_process_are_made_durable() {
    let dir = Path::new("topics/events/0");
    across_a_power_cut(
        |disk, root| {
            std::fs::create_dir_all(root.join(dir)).unwrap(); // As by a process that was killed then.
            disk.create_dir_all(&root.join(dir)).unwrap();
        },
        |disk, root| assert!(disk.list(&root.join(dir)).unwrap().is_empty()),
    );
}

#[test]
fn a_synced_rename_survives_and_replaces_the_old_file() {
    across_a_power_cut(
        |disk, root| {
            create_durable(disk, &root.join("checkpoint"), b"old");
            create(disk, &root.join("checkpoint.tmp"), b"new").sync().unwrap();
            disk.rename(&root.join("checkpoint.tmp"), &root.join("checkpoint")).unwrap();
            disk.sync_dir(root).unwrap();
        },
        |disk, root| {
            assert_eq!(bytes(disk, &root.join("checkpoint")), b"new");
            assert!(disk.open(&root.join("checkpoint.tmp")).is_err());
        },
    );
}

#[test]
fn a_moved_directory_and_a_removed_file_stay_so() {
    across_a_power_cut(
        |disk, root| {
            for dir in ["topics/t", "deleted"] {
                disk.create_dir_all(&root.join(dir)).unwrap();
            }
            create_durable(disk, &root.join("topics/t/log"), b"bytes");
            create_durable(disk, &root.join("topics/t/old"), b"bytes");
            disk.remove_file(&root.join("topics/t/old")).unwrap();
            disk.sync_dir(&root.join("topics/t")).unwrap();
            disk.rename(&root.join("topics/t"), &root.join("deleted/t")).unwrap();
            disk.sync_dir(&root.join("topics")).unwrap();
            disk.sync_dir(&root.join("deleted")).unwrap();
        },
        |disk, root| {
            assert!(disk.list(&root.join("topics")).unwrap().is_empty());
            assert_eq!(disk.list(&root.join("deleted/t")).unwrap().len(), 1);
            assert_eq!(bytes(disk, &root.join("deleted/t/log")), b"bytes");
        },
    );
}

/// Enough of them that the whole mount is synced where that is allowed.
const MANY: usize = 40;

#[test]
fn many_files_synced_together_survive_file_by_file_and_as_a_mount() {
    let path = |root: &Path, n: usize| -> PathBuf { root.join(format!("{n}.log")) };
    for whole_mount in [false, true] {
        across_a_power_cut(
            |_, root| {
                let disk = FileDisk::new(root);
                let disk = if whole_mount { disk.with_mount_of_its_own() } else { disk };
                let files: Vec<_> = (0..MANY).map(|n| create(&disk, &path(root, n), &[n as u8; 9000])).collect();
                disk.sync_many(&files).unwrap();
                disk.sync_dir(root).unwrap();
            },
            |disk, root| (0..MANY).for_each(|n| assert_eq!(bytes(disk, &path(root, n)), [n as u8; 9000])),
        );
    }
}

#[test]
fn after_each_of_many_cuts_every_file_holds_at_least_what_was_synced() {
    let Some(mut rig) = PowerRig::new().unwrap() else { return };
    let path = |root: &Path, n: usize| root.join(format!("{n}.log"));
    let byte_at = |n: usize, at: usize| (n * 31 + at / 100) as u8;
    let mut synced = [0; 6];
    for (n, _) in synced.iter().enumerate() {
        create_durable(&FileDisk::new(rig.path()), &path(rig.path(), n), b"");
    }
    for cycle in 0..8 {
        let disk = FileDisk::new(rig.path());
        let files: Vec<_> = (0..synced.len()).map(|n| disk.open(&path(rig.path(), n)).unwrap()).collect();
        for (n, file) in files.iter().enumerate() {
            let length = 700 * (1 + (n * 7 + cycle * 5) % 11);
            let tail: Vec<u8> = (synced[n]..synced[n] + length).map(|at| byte_at(n, at)).collect();
            file.write_all_at(&tail, synced[n] as u64).unwrap();
            if (n + cycle) % 3 != 0 {
                disk.sync_many(std::slice::from_ref(file)).unwrap();
                synced[n] += length;
            }
        }
        drop((files, disk));
        rig.cut().unwrap();
        rig.remount().unwrap();
        for (n, synced) in synced.iter().enumerate() {
            let left = bytes(&FileDisk::new(rig.path()), &path(rig.path(), n));
            let expected: Vec<u8> = (0..*synced).map(|at| byte_at(n, at)).collect();
            assert!(left.starts_with(&expected), "file {n} lost synced bytes in cycle {cycle}");
        }
    }
}

#[test]
fn without_power_every_sync_is_an_error() {
    let Some(rig) = PowerRig::new().unwrap() else { return };
    let disk = FileDisk::new(rig.path());
    let log = create_durable(&disk, &rig.path().join("log"), b"bytes");
    log.write_all_at(b"more", 5).unwrap();
    rig.cut().unwrap();
    assert!(disk.sync_many(&[log]).is_err());
    assert!(disk.sync_dir(rig.path()).is_err());
}

#[test]
fn a_device_that_lost_bytes_at_one_sync_is_not_believed_at_the_next() {
    let Some(rig) = PowerRig::with_device_of_mib(8).unwrap() else { return };
    let disk = FileDisk::new(rig.path());
    let log = create(&disk, &rig.path().join("log"), &vec![1; 16 << 20]);
    let first = disk.sync_many(std::slice::from_ref(&log)).unwrap_err();
    let again = disk.sync_many(&[log]).unwrap_err();
    assert!(again.to_string().contains("an earlier sync failed"), "first {first}, then {again}");
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_takes_writes_after_a_removal() {
    let Some(rig) = PowerRig::with_mib(16).unwrap() else { return };
    let disk = FileDisk::new(rig.path());
    let old = create_durable(&disk, &rig.path().join("old"), &vec![1; 4 << 20]);
    let log = create_durable(&disk, &rig.path().join("log"), b"");
    let chunk = vec![2; 1 << 20];
    let refused = (0..).find_map(|n| log.write_all_at(&chunk, n << 20).err()).unwrap();
    assert!(refused.is_full(), "{refused}");
    assert!(log.allocate(64 << 20).unwrap_err().is_full());
    assert!(disk.space().unwrap().free < 1 << 20);
    disk.sync_many(&[old.clone(), log.clone()]).unwrap();
    assert_eq!(old.read_at(&mut [0; 100], 0).unwrap(), 100);

    drop(old);
    disk.remove_file(&rig.path().join("old")).unwrap();
    disk.sync_dir(rig.path()).unwrap();
    assert!(disk.space().unwrap().free >= 4 << 20);
    let end = log.len().unwrap();
    log.write_all_at(&chunk, end).unwrap();
    log.sync().unwrap();
}
