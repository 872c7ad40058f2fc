use std::path::Path;

use super::*;
use crate::contract;

fn create(disk: &MemDisk, path: &str, bytes: &[u8]) -> SharedFile {
    let file = disk.create(Path::new(path)).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

/// A file whose bytes and name are durable.
fn create_durable(disk: &MemDisk, path: &str, bytes: &[u8]) -> SharedFile {
    let file = create(disk, path, bytes);
    disk.sync_many(std::slice::from_ref(&file)).unwrap();
    disk.sync_dir(Path::new(path).parent().unwrap()).unwrap();
    file
}

fn bytes(disk: &MemDisk, path: &str) -> Vec<u8> {
    disk.map(Path::new(path)).unwrap().as_ref().to_vec()
}

fn files(disk: &MemDisk) -> Vec<String> {
    disk.files().iter().map(|path| path.display().to_string()).collect()
}

fn sync_dir(disk: &MemDisk, dir: &str) {
    disk.sync_dir(Path::new(dir)).unwrap();
}

fn dirs(names: &[&str]) -> MemDisk {
    let disk = MemDisk::default();
    for name in names {
        disk.create_dir_all(Path::new(name)).unwrap();
    }
    disk
}

#[test]
fn a_disk_in_memory_keeps_the_contract() {
    contract::disk(&MemDisk::default(), Path::new("/"));
}

#[test]
fn a_crash_takes_back_bytes_and_length_to_the_last_sync() {
    let disk = MemDisk::default();
    let log = create_durable(&disk, "/log", b"synced");
    log.write_all_at(b"SYN", 0).unwrap();
    log.set_len(2).unwrap();
    log.write_all_at(b"more", 100).unwrap();
    disk.crash();
    assert_eq!(bytes(&disk, "/log"), b"synced");
}

#[test]
fn a_cut_file_that_grew_again_keeps_nothing_of_its_old_tail() {
    let disk = MemDisk::default();
    let log = create_durable(&disk, "/log", b"old tail");
    log.set_len(3).unwrap();
    log.allocate(8).unwrap();
    log.sync().unwrap();
    disk.crash();
    assert_eq!(bytes(&disk, "/log"), b"old\0\0\0\0\0");
}

#[test]
fn a_created_file_is_lost_with_its_synced_bytes_until_its_directory_is_synced() {
    let disk = MemDisk::default();
    create(&disk, "/log", b"bytes").sync().unwrap();
    disk.crash();
    assert!(files(&disk).is_empty());
}

#[test]
fn a_removed_file_is_back_after_a_crash_until_its_directory_is_synced() {
    let disk = MemDisk::default();
    create_durable(&disk, "/log", b"bytes");
    disk.remove_file(Path::new("/log")).unwrap();
    disk.crash();
    assert_eq!(bytes(&disk, "/log"), b"bytes");

    disk.remove_file(Path::new("/log")).unwrap();
    sync_dir(&disk, "/");
    disk.crash();
    assert!(files(&disk).is_empty());
}

#[test]
fn a_rename_over_a_file_leaves_the_old_or_the_new_one() {
    let disk = MemDisk::default();
    create_durable(&disk, "/checkpoint", b"old");
    create(&disk, "/checkpoint.tmp", b"new").sync().unwrap();
    disk.rename(Path::new("/checkpoint.tmp"), Path::new("/checkpoint")).unwrap();
    for seed in 0..50 {
        disk.crash_torn(seed);
        assert!([&b"old"[..], b"new"].contains(&&*bytes(&disk, "/checkpoint")), "seed {seed}");
    }
}

#[test]
fn a_rename_without_a_sync_of_the_file_can_leave_an_empty_one() {
    let disk = MemDisk::default();
    create_durable(&disk, "/checkpoint", b"old");
    create(&disk, "/checkpoint.tmp", b"new");
    disk.rename(Path::new("/checkpoint.tmp"), Path::new("/checkpoint")).unwrap();
    sync_dir(&disk, "/");
    disk.crash();
    assert_eq!(bytes(&disk, "/checkpoint"), b"");
}

#[test]
fn a_move_between_directories_is_durable_after_both_are_synced() {
    for (synced, expected) in [(&["/a"][..], "/a/0/log"), (&["/b"], "/a/0/log"), (&["/a", "/b"], "/b/0/log")] {
        let disk = dirs(&["/a/0", "/b"]);
        create_durable(&disk, "/a/0/log", b"bytes");
        disk.rename(Path::new("/a/0"), Path::new("/b/0")).unwrap();
        synced.iter().for_each(|dir| sync_dir(&disk, dir));
        disk.crash();
        assert_eq!(files(&disk), [expected], "after syncing {synced:?}");
    }
}

#[test]
fn a_moved_file_survives_the_removal_of_its_old_directory() {
    let disk = dirs(&["/old", "/new"]);
    create_durable(&disk, "/old/log", b"bytes");
    disk.rename(Path::new("/old/log"), Path::new("/new/log")).unwrap();
    disk.remove_dir_all(Path::new("/old")).unwrap();
    sync_dir(&disk, "/");
    disk.crash();
    assert_eq!(files(&disk), ["/new/log"]);
    assert!(disk.list(Path::new("/old")).is_err());
}

#[test]
fn a_name_that_is_taken_again_never_costs_the_file_that_was_moved_away() {
    let disk = dirs(&["/a", "/b"]);
    create_durable(&disk, "/a/log", b"old");
    disk.rename(Path::new("/a/log"), Path::new("/b/log")).unwrap();
    create_durable(&disk, "/a/log", b"new");
    disk.crash();
    assert_eq!(bytes(&disk, "/a/log"), b"new");
    assert_eq!(bytes(&disk, "/b/log"), b"old");

    disk.rename(Path::new("/b/log"), Path::new("/b/log.1")).unwrap();
    create(&disk, "/b/log", b"").sync().unwrap();
    for seed in 0..50 {
        disk.crash_torn(seed);
        let old = disk.files().iter().filter(|path| bytes(&disk, path.to_str().unwrap()) == b"old").count();
        assert_eq!(old, 1, "seed {seed} left {:?}", files(&disk));
    }
}

#[test]
fn a_removed_tree_is_gone_after_its_parent_is_synced_and_back_before() {
    let disk = dirs(&["/topics/t/0"]);
    create_durable(&disk, "/topics/t/0/log", b"bytes");
    disk.remove_dir_all(Path::new("/topics/t")).unwrap();
    assert!(files(&disk).is_empty());
    disk.crash();
    assert_eq!(files(&disk), ["/topics/t/0/log"]);

    disk.remove_dir_all(Path::new("/topics/t")).unwrap();
    sync_dir(&disk, "/topics");
    disk.crash();
    assert!(disk.list(Path::new("/topics")).unwrap().is_empty());
}

#[test]
fn a_directory_made_where_one_was_removed_is_durable_and_empty() {
    let disk = dirs(&["/t"]);
    create_durable(&disk, "/t/old", b"");
    disk.remove_dir_all(Path::new("/t")).unwrap();
    disk.create_dir_all(Path::new("/t")).unwrap();
    disk.crash();
    assert!(disk.list(Path::new("/t")).unwrap().is_empty());
}

#[test]
fn a_handle_from_before_a_crash_can_do_nothing() {
    let disk = MemDisk::default();
    let old = create_durable(&disk, "/log", b"bytes");
    disk.crash();
    assert!(old.write_all_at(b"ghost", 0).is_err());
    assert!(old.read_at(&mut [0], 0).is_err());
    assert!(old.len().is_err());
    assert!(old.set_len(0).is_err());
    assert!(old.allocate(100).is_err());
    assert!(disk.sync_many(&[old]).is_err());
    assert_eq!(bytes(&disk, "/log"), b"bytes");
}

#[test]
fn a_failed_sync_loses_its_bytes_even_if_the_next_one_succeeds() {
    let disk = MemDisk::default();
    let log = create_durable(&disk, "/log", b"....");
    log.write_all_at(b"LOST", 0).unwrap();
    disk.fail_next_sync();
    assert!(disk.sync_many(std::slice::from_ref(&log)).is_err());
    assert_eq!(bytes(&disk, "/log"), b"LOST", "readers still see it");

    log.write_all_at(b"KEPT", 4).unwrap();
    disk.sync_many(&[log]).unwrap();
    disk.crash();
    assert_eq!(bytes(&disk, "/log"), b"....KEPT");
}

#[test]
fn bytes_written_again_after_a_failed_sync_reach_the_disk() {
    let disk = MemDisk::default();
    let log = create_durable(&disk, "/log", b"");
    log.write_all_at(b"again", 0).unwrap();
    disk.fail_next_sync();
    assert!(log.sync().is_err());
    log.write_all_at(b"again", 0).unwrap();
    log.sync().unwrap();
    disk.crash();
    assert_eq!(bytes(&disk, "/log"), b"again");
}

#[test]
fn a_full_disk_takes_what_fits_and_writes_again_after_room_was_made() {
    let disk = MemDisk::with_capacity(10);
    let old = create_durable(&disk, "/old", &[1; 6]);
    let log = create(&disk, "/log", b"");
    assert!(log.write_all_at(&[2; 6], 0).unwrap_err().is_full());
    assert_eq!(log.len().unwrap(), 4);
    assert!(log.write_all_at(&[3; 2], 8).unwrap_err().is_full());
    assert!(log.allocate(5).unwrap_err().is_full());
    assert_eq!(disk.space().unwrap(), Space { free: 0, total: 10, inodes: None });

    disk.remove_file(Path::new("/old")).unwrap();
    assert_eq!(disk.space().unwrap().free, 0, "a removed file holds its room while it is open");
    drop(old);
    sync_dir(&disk, "/");
    assert_eq!(disk.space().unwrap().free, 6);
    log.write_all_at(&[2; 6], 0).unwrap();
}

#[test]
fn a_smaller_limit_keeps_files_and_refuses_growth() {
    let disk = MemDisk::default();
    let log = create_durable(&disk, "/log", b"bytes");
    disk.set_capacity(3);
    log.write_all_at(b"BYTES", 0).unwrap();
    assert!(log.write_all_at(b"!", 5).unwrap_err().is_full());
    log.set_len(0).unwrap();
    log.write_all_at(b"!", 0).unwrap();
}

#[test]
fn an_edit_is_seen_at_once_and_survives() {
    let disk = MemDisk::default();
    let log = create_durable(&disk, "/log", b"bytes");
    disk.edit(Path::new("/log"), |bytes| bytes[0] ^= 0x20).unwrap();
    let mut seen = [0; 5];
    assert_eq!(log.read_at(&mut seen, 0).unwrap(), 5);
    assert_eq!(&seen, b"Bytes");
    disk.edit(Path::new("/log"), |bytes| bytes.truncate(1)).unwrap();
    disk.crash();
    assert_eq!(bytes(&disk, "/log"), b"B");
}

#[test]
fn a_crash_frees_locks() {
    let disk = dirs(&["/data"]);
    let _held = disk.lock(Path::new("/data")).unwrap();
    assert!(disk.lock(Path::new("/data")).is_err());
    disk.crash();
    let _again = disk.lock(Path::new("/data")).unwrap();
}

#[test]
fn a_torn_crash_leaves_every_mix_of_sectors_and_lengths_and_never_touches_what_was_synced() {
    let (mut lengths, mut mixes) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for seed in 0..200 {
        let disk = MemDisk::default();
        let log = create_durable(&disk, "/log", &[b'o'; 512]);
        log.write_all_at(&[b'n'; 1024], 512).unwrap();
        disk.crash_torn(seed);
        let left = bytes(&disk, "/log");
        assert_eq!(left[..512], [b'o'; 512], "seed {seed}");
        lengths.insert(left.len());
        if left.len() == 1536 {
            assert!(left[512..].chunks(512).all(|sector| sector == [b'n'; 512] || sector == [0; 512]));
            mixes.insert([left[512], left[1024]]);
        }
    }
    assert!(lengths.len() > 10 && lengths.contains(&512), "{lengths:?}");
    assert_eq!(mixes.len(), 4, "both, either and none");
}

#[test]
fn equal_seeds_tear_equally() {
    let torn = |seed| {
        let disk = dirs(&["/a"]);
        for file in ["/a/0", "/a/1", "/a/2", "/a/3"] {
            create(&disk, file, &[7; 3000]);
        }
        disk.crash_torn(seed);
        disk.files().into_iter().map(|path| (bytes(&disk, path.to_str().unwrap()), path)).collect::<Vec<_>>()
    };
    assert_eq!(torn(7), torn(7));
    assert_ne!(torn(7), torn(8));
}
