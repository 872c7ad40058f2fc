use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::contract;

fn disk() -> (FileDisk, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (FileDisk::new(dir.path()), dir)
}

#[test]
fn real_files_keep_the_contract() {
    let (disk, dir) = disk();
    contract::disk(&disk, dir.path());
    let other = tempfile::tempdir().unwrap();
    contract::disk(&FileDisk::new(other.path()).with_mount_of_its_own(), other.path());
}

#[test]
fn files_and_directories_are_for_their_owner_alone() {
    let (disk, dir) = disk();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (topic, log) = (dir.path().join("topic"), dir.path().join("topic/log"));
    disk.create_dir_all(&topic).unwrap();
    disk.create(&log).unwrap();
    let _lock = disk.lock(&topic).unwrap();
    assert_eq!([mode(&topic), mode(&log), mode(&topic.join("LOCK"))], [0o700, 0o600, 0o600]);
}

#[test]
fn a_link_to_a_directory_is_a_directory() {
    let (disk, dir) = disk();
    disk.create_dir_all(&dir.path().join("real")).unwrap();
    symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
    symlink(dir.path().join("none"), dir.path().join("dangling")).unwrap();
    let listed = disk.list(dir.path()).unwrap().into_iter().map(|entry| (entry.name, entry.is_dir));
    assert_eq!(
        listed.collect::<Vec<_>>(),
        [("dangling".to_owned(), false), ("link".to_owned(), true), ("real".to_owned(), true)]
    );
}

#[test]
fn allocated_room_is_part_of_the_length() {
    let (disk, dir) = disk();
    let log = disk.create(&dir.path().join("log")).unwrap();
    log.write_all_at(b"bytes", 0).unwrap();
    log.allocate(1 << 20).unwrap();
    assert_eq!(log.len().unwrap(), 1 << 20);
}

#[test]
fn a_held_lock_says_who_is_in_the_way() {
    let (disk, dir) = disk();
    let _held = disk.lock(dir.path()).unwrap();
    let Err(error) = FileDisk::new(dir.path()).lock(dir.path()) else { panic!("locked twice") };
    let expected = format!("cannot lock {}/LOCK: another process or thread holds it", dir.path().display());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_disk_for_looking_only_changes_no_file() {
    let (disk, dir) = disk();
    let path = dir.path().join("log");
    disk.create(&path).unwrap().write_all_at(b"kept", 0).unwrap();
    let looking = FileDisk::read_only(dir.path());
    let file = looking.open(&path).unwrap();
    assert!(file.write_all_at(b"gone", 0).is_err() && file.set_len(0).is_err());
    assert_eq!(looking.map(&path).unwrap().as_ref(), b"kept");
}

#[test]
fn a_lock_ends_with_its_holder_also_while_a_child_has_a_copy_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FileDisk::new(dir.path());
    drop(disk.lock(dir.path()).unwrap());
    let file = File::options().write(true).open(dir.path().join("LOCK")).unwrap();
    file.try_lock().unwrap();
    let _copy = file.try_clone().unwrap();
    let holder = Locked(file);
    assert!(disk.lock(dir.path()).is_err());
    drop(holder);
    disk.lock(dir.path()).map(drop).unwrap();
}
