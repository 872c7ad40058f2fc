//! The promises of [`Disk`] and [`DiskFile`](crate::disk::DiskFile) that can be checked without cutting the power.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::disk::{DirEntry, Disk, DiskError, SharedFile};

/// Checks `disk` inside `dir`, which must exist and be empty.
///
/// # Panics
///
/// At the first promise that the disk breaks.
///
/// ```
/// let disk = grower_storage::disk::MemDisk::default();
/// grower_storage::contract::disk(&disk, "/".as_ref());
/// ```
pub fn disk(disk: &dyn Disk, dir: &Path) {
    for (name, promise) in PROMISES {
        let dir = dir.join(name);
        disk.create_dir_all(&dir).unwrap_or_else(|error| panic!("{name}: {error}"));
        promise(&TestDir { disk, dir });
    }
}

type DiskPromise = fn(&TestDir);

/// Each in a directory of its own.
const PROMISES: &[(&str, DiskPromise)] = &[
    ("create", create_makes_an_empty_file_and_never_takes_an_old_one),
    ("open", open_finds_what_was_created_and_nothing_else),
    ("write", a_write_is_seen_through_every_handle),
    ("gap", a_write_past_the_end_leaves_zeros_between),
    ("read", a_read_stops_at_the_end),
    ("set_len", set_len_cuts_and_extends_with_zeros),
    ("allocate", allocate_never_shortens_and_adds_only_zeros),
    ("map", a_map_holds_the_whole_file_and_outlives_its_name),
    ("list", a_list_is_sorted_and_knows_directories),
    ("create_dir_all", create_dir_all_makes_parents_and_may_be_repeated),
    ("rename", rename_replaces_a_file_and_moves_open_ones),
    ("rename_dir", rename_moves_a_directory_but_never_over_a_full_one),
    ("link", a_linked_file_is_one_file_with_two_names),
    ("remove_file", a_removed_file_is_readable_through_old_handles),
    ("in place", a_file_is_in_place_until_its_path_no_longer_leads_to_it),
    ("remove_dir_all", remove_dir_all_takes_the_whole_tree),
    ("sync", every_number_of_files_can_be_synced),
    ("parallel", writers_at_different_positions_do_not_disturb_each_other),
    ("space", there_is_never_more_free_than_the_volume_holds),
    ("lock", a_lock_is_exclusive_until_it_is_dropped),
    ("lock shared", readers_share_a_lock_and_keep_others_out),
];

fn a_file_is_in_place_until_its_path_no_longer_leads_to_it(at: &TestDir) {
    at.disk.create_dir_all(&at.path("dir/inner")).unwrap();
    let [removed, renamed, below] = ["removed", "renamed", "dir/inner/file"].map(|name| at.create(name, b"bytes"));
    for file in [&removed, &renamed, &below] {
        assert!(at.disk.is_in_place(file).unwrap(), "{}", file.path().display());
    }
    at.disk.remove_file(&at.path("removed")).unwrap();
    at.disk.rename(&at.path("renamed"), &at.path("other")).unwrap();
    at.disk.rename(&at.path("dir"), &at.path("away")).unwrap();
    for file in [&removed, &renamed, &below] {
        assert!(!at.disk.is_in_place(file).unwrap(), "{}", file.path().display());
    }
    at.disk.rename(&at.path("away"), &at.path("dir")).unwrap();
    assert!(at.disk.is_in_place(&below).unwrap(), "it is back");
}

fn create_makes_an_empty_file_and_never_takes_an_old_one(at: &TestDir) {
    let file = at.create("new", b"");
    assert_eq!(file.len().unwrap(), 0, "a new file is empty");
    assert_eq!(file.path(), at.path("new"), "a handle knows its path");
    file.write_all_at(b"kept", 0).unwrap();
    fails("create over a file", ErrorKind::AlreadyExists, at.disk.create(&at.path("new")));
    assert_eq!(at.bytes("new"), b"kept", "a refused create leaves the file alone");
    fails("create without a directory", ErrorKind::NotFound, at.disk.create(&at.path("none/new")));
}

fn open_finds_what_was_created_and_nothing_else(at: &TestDir) {
    at.create("old", b"bytes");
    assert_eq!(read(&at.open("old"), 0, 9), b"bytes");
    fails("open without a file", ErrorKind::NotFound, at.disk.open(&at.path("none")));
    fails("open a directory", ErrorKind::IsADirectory, at.disk.open(&at.dir));
    let Err(error) = at.disk.open(&at.path("none")) else { panic!("opened nothing") };
    assert!(error.is_not_found() && error.path == at.path("none"), "an error names its path: {error}");
}

fn a_write_is_seen_through_every_handle(at: &TestDir) {
    let (writer, reader) = (at.create("log", b""), at.open("log"));
    writer.write_all_at(b"one two", 0).unwrap();
    writer.write_all_at(b"TWO three", 4).unwrap();
    writer.write_all_at(b"", 2).unwrap();
    assert_eq!(read(&reader, 0, 99), b"one TWO three");
    assert_eq!(read(&reader, 4, 3), b"TWO");
    assert_eq!(reader.len().unwrap(), 13);
}

fn a_write_past_the_end_leaves_zeros_between(at: &TestDir) {
    let file = at.create("log", b"ab");
    file.write_all_at(b"", 10).unwrap();
    assert_eq!(file.len().unwrap(), 2, "an empty write does not extend");
    file.write_all_at(b"z", 5).unwrap();
    assert_eq!(read(&file, 0, 99), b"ab\0\0\0z");
}

fn a_read_stops_at_the_end(at: &TestDir) {
    let file = at.create("log", b"bytes");
    assert_eq!(read(&file, 3, 99), b"es");
    assert_eq!(read(&file, 5, 99), b"");
    assert_eq!(read(&file, 1 << 40, 99), b"");
    assert_eq!(read(&file, 0, 0), b"");
}

fn set_len_cuts_and_extends_with_zeros(at: &TestDir) {
    let file = at.create("log", b"bytes");
    file.set_len(2).unwrap();
    assert_eq!(read(&file, 0, 99), b"by");
    file.set_len(4).unwrap();
    assert_eq!(read(&file, 0, 99), b"by\0\0", "what was cut does not come back");
}

fn allocate_never_shortens_and_adds_only_zeros(at: &TestDir) {
    let file = at.create("log", b"bytes");
    file.allocate(0).unwrap();
    file.allocate(3).unwrap();
    assert_eq!(read(&file, 0, 99), b"bytes");
    file.allocate(10_000).unwrap();
    let bytes = read(&file, 0, 20_000);
    assert!([5, 10_000].contains(&bytes.len()), "allocated {}", bytes.len());
    assert!(bytes.starts_with(b"bytes") && bytes[5..].iter().all(|byte| *byte == 0));
    file.write_all_at(b"more", 5).unwrap();
    assert_eq!(read(&file, 0, 9), b"bytesmore");
}

fn a_map_holds_the_whole_file_and_outlives_its_name(at: &TestDir) {
    at.create("empty", b"");
    assert_eq!(at.bytes("empty"), b"");
    at.create("index", b"entries");
    let map = at.disk.map(&at.path("index")).unwrap();
    at.disk.remove_file(&at.path("index")).unwrap();
    assert_eq!(map.as_ref(), b"entries");
    fails("map without a file", ErrorKind::NotFound, at.disk.map(&at.path("index")));
}

fn a_list_is_sorted_and_knows_directories(at: &TestDir) {
    assert!(at.list("").is_empty());
    for file in ["b", "c", "a"] {
        at.create(file, b"");
    }
    at.dir("bb/deeper");
    let entry = |name: &str, is_dir| DirEntry { name: name.to_owned(), is_dir };
    assert_eq!(at.list(""), [entry("a", false), entry("b", false), entry("bb", true), entry("c", false)]);
    fails("list no directory", ErrorKind::NotFound, at.disk.list(&at.path("none")));
    fails("list a file", ErrorKind::NotADirectory, at.disk.list(&at.path("a")));
}

fn create_dir_all_makes_parents_and_may_be_repeated(at: &TestDir) {
    at.dir("a/b/c");
    at.create("a/b/c/file", b"kept");
    at.dir("a/b/c");
    assert_eq!(at.bytes("a/b/c/file"), b"kept");
    fails("a directory over a file", ErrorKind::NotADirectory, at.disk.create_dir_all(&at.path("a/b/c/file")));
    fails("a directory below a file", ErrorKind::NotADirectory, at.disk.create_dir_all(&at.path("a/b/c/file/d")));
    assert_eq!(at.bytes("a/b/c/file"), b"kept");
}

fn rename_replaces_a_file_and_moves_open_ones(at: &TestDir) {
    let (old, new) = (at.create("checkpoint", b"old"), at.create("checkpoint.tmp", b"new"));
    at.rename("checkpoint.tmp", "checkpoint").unwrap();
    assert_eq!(at.bytes("checkpoint"), b"new");
    assert_eq!(at.list("").len(), 1);
    assert_eq!(read(&old, 0, 9), b"old", "the replaced file is still open");
    new.write_all_at(b"est", 3).unwrap();
    assert_eq!(at.bytes("checkpoint"), b"newest", "the moved handle writes under the new name");

    at.rename("checkpoint", "checkpoint").unwrap();
    assert_eq!(at.bytes("checkpoint"), b"newest");
    fails("rename nothing", ErrorKind::NotFound, at.rename("none", "checkpoint"));
    fails("rename to nowhere", ErrorKind::NotFound, at.rename("checkpoint", "none/checkpoint"));
    assert_eq!(at.bytes("checkpoint"), b"newest");
}

fn rename_moves_a_directory_but_never_over_a_full_one(at: &TestDir) {
    at.dir("topics/t");
    at.dir("deleted/full");
    let log = at.create("topics/t/log", b"bytes");
    at.create("deleted/full/log", b"other");
    fails("rename over a full directory", ErrorKind::DirectoryNotEmpty, at.rename("topics/t", "deleted/full"));
    fails("rename over a file", ErrorKind::NotADirectory, at.rename("topics/t", "deleted/full/log"));
    fails("rename a file over a directory", ErrorKind::IsADirectory, at.rename("topics/t/log", "deleted"));
    fails("rename into itself", ErrorKind::InvalidInput, at.rename("topics", "topics/t/topics"));
    at.rename("topics/t", "deleted/t").unwrap();
    assert_eq!(at.bytes("deleted/t/log"), b"bytes");
    assert!(at.list("topics").is_empty());
    log.write_all_at(b"BYTES", 0).unwrap();
    assert_eq!(at.bytes("deleted/t/log"), b"BYTES");
}

fn a_linked_file_is_one_file_with_two_names(at: &TestDir) {
    let file = at.create("one", b"bytes");
    at.disk.link(&at.path("one"), &at.path("two")).unwrap();
    file.write_all_at(b"BY", 0).unwrap();
    assert_eq!(at.bytes("two"), b"BYtes");
    fails("link over a file", ErrorKind::AlreadyExists, at.disk.link(&at.path("one"), &at.path("two")));
    fails("link nothing", ErrorKind::NotFound, at.disk.link(&at.path("none"), &at.path("three")));
    at.disk.remove_file(&at.path("one")).unwrap();
    assert_eq!(at.bytes("two"), b"BYtes", "a name is not the file");
}

fn a_removed_file_is_readable_through_old_handles(at: &TestDir) {
    let file = at.create("segment", b"bytes");
    at.disk.remove_file(&at.path("segment")).unwrap();
    assert_eq!(read(&file, 0, 9), b"bytes");
    assert!(at.list("").is_empty());
    at.create("segment", b"another");
    assert_eq!(read(&file, 0, 9), b"bytes");
    fails("remove nothing", ErrorKind::NotFound, at.disk.remove_file(&at.path("none")));
    fails("remove a directory as a file", ErrorKind::IsADirectory, at.disk.remove_file(&at.dir));
}

fn remove_dir_all_takes_the_whole_tree(at: &TestDir) {
    at.dir("t/0/deeper");
    let file = at.create("t/0/segment", b"bytes");
    at.create("t/0/deeper/file", b"");
    at.disk.remove_dir_all(&at.path("t")).unwrap();
    assert!(at.list("").is_empty());
    assert_eq!(read(&file, 0, 9), b"bytes");
    fails("remove no directory", ErrorKind::NotFound, at.disk.remove_dir_all(&at.path("t")));
}

fn every_number_of_files_can_be_synced(at: &TestDir) {
    let files: Vec<_> = (0..40).map(|n| at.create(&format!("{n}"), b"bytes")).collect();
    for many in [0, 1, 2, 17, 40] {
        at.disk.sync_many(&files[..many]).unwrap();
    }
    at.disk.sync_many(&[files[0].clone(), files[0].clone()]).unwrap();
    files[0].sync().unwrap();
    at.disk.remove_file(&at.path("0")).unwrap();
    files[0].sync().unwrap();
    at.disk.sync_dir(&at.dir).unwrap();
    fails("sync no directory", ErrorKind::NotFound, at.disk.sync_dir(&at.path("none")));
}

fn writers_at_different_positions_do_not_disturb_each_other(at: &TestDir) {
    let file = at.create("log", b"");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let file = &file;
            scope.spawn(move || {
                for round in 0..16 {
                    file.write_all_at(&[writer; 100], (round * 4 + u64::from(writer)) * 100).unwrap();
                }
            });
        }
    });
    let expected: Vec<u8> = (0..6400).map(|at| (at / 100 % 4) as u8).collect();
    assert_eq!(at.bytes("log"), expected);
}

fn there_is_never_more_free_than_the_volume_holds(at: &TestDir) {
    let space = at.disk.space().unwrap();
    assert!(0 < space.total && space.free <= space.total, "{space:?}");
}

fn a_lock_is_exclusive_until_it_is_dropped(at: &TestDir) {
    at.dir("a");
    at.dir("b");
    let held = at.disk.lock(&at.path("a")).unwrap();
    fails("lock twice", ErrorKind::WouldBlock, at.disk.lock(&at.path("a")));
    let _other = at.disk.lock(&at.path("b")).unwrap();
    drop(held);
    let _again = at.disk.lock(&at.path("a")).unwrap();
    fails("lock no directory", ErrorKind::NotFound, at.disk.lock(&at.path("none")));
}

fn readers_share_a_lock_and_keep_others_out(at: &TestDir) {
    at.dir("a");
    drop(at.disk.lock(&at.path("a")).unwrap());
    let first = at.disk.lock_shared(&at.path("a")).unwrap();
    let second = at.disk.lock_shared(&at.path("a")).unwrap();
    drop(first);
    fails("lock what is read", ErrorKind::WouldBlock, at.disk.lock(&at.path("a")));
    drop(second);
    let alone = at.disk.lock(&at.path("a")).unwrap();
    fails("read what is locked", ErrorKind::WouldBlock, at.disk.lock_shared(&at.path("a")));
    drop(alone);
    fails("read no directory", ErrorKind::NotFound, at.disk.lock_shared(&at.path("none")));
}

/// The directory that one promise has for itself.
struct TestDir<'a> {
    disk: &'a dyn Disk,
    dir: PathBuf,
}

impl TestDir<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> SharedFile {
        let file = self.disk.create(&self.path(name)).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn open(&self, name: &str) -> SharedFile {
        self.disk.open(&self.path(name)).unwrap()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.disk.map(&self.path(name)).unwrap().as_ref().to_vec()
    }

    fn dir(&self, name: &str) {
        self.disk.create_dir_all(&self.path(name)).unwrap();
    }

    fn list(&self, name: &str) -> Vec<DirEntry> {
        self.disk.list(&self.path(name)).unwrap()
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.disk.rename(&self.path(from), &self.path(to))
    }
}

fn read(file: &SharedFile, position: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xaa; length];
    let filled = file.read_at(&mut bytes, position).unwrap();
    bytes.truncate(filled);
    bytes
}

fn fails<T>(what: &str, expected: ErrorKind, done: Result<T, DiskError>) {
    match done {
        Ok(_) => panic!("{what}: no error, expected {expected:?}"),
        Err(error) => assert_eq!(error.kind(), expected, "{what}: {error}"),
    }
}
