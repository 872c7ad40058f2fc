//! Damaged, cut and missing files: no topic is lost silently.

use super::*;

#[test]
fn no_flipped_bit_loses_a_topic_silently() {
    let disk = full();
    let expected = images().pop().unwrap();
    let mut refused = 0;
    for path in disk.files() {
        let length = disk.map(&path).unwrap().as_ref().len();
        for bit in 0..length * 8 {
            let mut sound = Vec::new();
            disk.edit(&path, |bytes| {
                sound = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
            })
            .unwrap();
            let copy = copy_of(&disk);
            disk.edit(&path, |bytes| *bytes = sound).unwrap();
            match open(copy) {
                Ok(store) => assert_eq!(*store.image(), expected, "bit {bit} of {}", path.display()),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(0 < refused);
}

#[test] // Hostile input 57.
fn no_file_of_another_length_loses_a_topic_silently() {
    let disk = full();
    let expected = images().pop().unwrap();
    for path in disk.files() {
        let length = disk.map(&path).unwrap().as_ref().len();
        for changed in (0..length).chain([length + 1, length + 5_000]) {
            let copy = copy_of(&disk);
            copy.edit(&path, |bytes| bytes.resize(changed, 0xa5)).unwrap();
            match open(copy) {
                Ok(store) => assert_eq!(*store.image(), expected, "{} of {changed} bytes", path.display()),
                Err(_) => assert!(path.starts_with(dir().join(DIR))),
            }
        }
        if path.ends_with(SNAPSHOT) {
            let copy = copy_of(&disk);
            copy.edit(&path, Vec::clear).unwrap();
            let named = crate::metadata::check_files(&copy, dir()).unwrap();
            assert!(named.iter().any(|finding| finding.path == path), "{named:?}");
        }
    }
}

#[test]
fn no_missing_file_loses_a_topic_silently() {
    let disk = full();
    let expected = images().pop().unwrap();
    for path in disk.files() {
        let copy = copy_of(&disk);
        copy.remove_file(&path).unwrap();
        if let Ok(store) = open(copy) {
            assert_eq!(*store.image(), expected, "without {}", path.display());
        }
    }
}

#[test]
fn a_snapshot_without_its_log_stops_the_start() {
    let disk = full();
    for path in disk.files().iter().filter(|path| !path.ends_with(SNAPSHOT)) {
        disk.remove_file(path).unwrap();
    }
    insta::assert_snapshot!(open(disk).err().unwrap(), @"the metadata log holds 0..0, but command 9 is needed next; the broker does not start, since topics would be lost; restore the metadata directory from a copy");
}

/// Another disk with the same durable files.
fn copy_of(disk: &MemDisk) -> MemDisk {
    let copy = MemDisk::default();
    for path in disk.files() {
        copy.create_dir_all(path.parent().unwrap()).unwrap();
        let file = copy.create(&path).unwrap();
        file.write_all_at(disk.map(&path).unwrap().as_ref(), 0).unwrap();
        copy.sync_many(&[file]).unwrap();
        copy.sync_dir(path.parent().unwrap()).unwrap();
    }
    copy
}
