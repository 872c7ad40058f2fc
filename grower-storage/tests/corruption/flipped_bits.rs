//! Each bit is flipped in turn: it is found in its file, and costs no record but its own.

use crate::log_kit;
use crate::stopped::{Stopped, append_after, batch_at, findings, lost, open};
use grower_protocol::ids::Offset;
use grower_storage::disk::{Disk, MemDisk};
use grower_storage::log::Log;
use std::path::Path;

/// The state files that only some partitions have.
const OF_THE_PAST: [&str; 2] = ["compaction", "accepted-losses"];

#[test]
fn every_flipped_bit_is_found_and_costs_no_other_record() {
    let stopped = Stopped::new(log_kit::options());
    assert!(findings(&stopped.with(|_| {})).is_empty());
    assert_eq!(stopped.files.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "growerlog")).count(), 3);
    for (path, bytes) in &stopped.files {
        let is_log = path.extension().is_some_and(|extension| extension == "growerlog");
        for bit in 0..bytes.len() * 8 {
            let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
            let disk = stopped.with_file(path, flip);
            let found = findings(&disk);
            let context = || format!("bit {bit} of {}: {found:?}", path.display());
            assert!(found.iter().any(|finding| finding.path == *path), "{}", context());
            let others = found.iter().filter(|finding| finding.path != *path).count();
            assert_eq!(others, 0, "{}", context());

            let mut log = open(&disk);
            assert_eq!(log.span(), Offset::ZERO..stopped.end, "{}", context());
            let checked = log.reader().check(log.span());
            let allowed = if is_log { vec![batch_at(bytes, bit / 8)] } else { vec![] };
            assert_eq!(checked.is_err(), is_log, "{}", context());
            assert_eq!(lost(&log, &stopped), allowed, "{}", context());
            if is_log {
                assert_eq!(disk.map(path).unwrap().as_ref()[bit / 8], bytes[bit / 8] ^ (1 << (bit % 8)), "rot is kept");
            }
            append_after(&mut log, stopped.end);
        }
    }
}

#[test]
fn every_flipped_bit_in_files_of_compaction_and_repair_is_found_and_costs_no_record() {
    let stopped = Stopped::with_a_past();
    assert!(findings(&stopped.with(|_| {})).is_empty());
    for name in OF_THE_PAST {
        let path = stopped.path(name, 0);
        let length = stopped.with(|_| {}).map(&path).unwrap().as_ref().len();
        for bit in 0..length * 8 {
            let disk = stopped.with_file(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            check_costs_nothing(&disk, &stopped, &path, &format!("bit {bit} of {name}"));
        }
        for cut in 0..length {
            let disk = stopped.with_file(&path, |bytes| bytes.truncate(cut));
            check_costs_nothing(&disk, &stopped, &path, &format!("{name} cut at {cut}"));
        }
        let disk = stopped.with_file(&path, |bytes| bytes.extend_from_slice(&[0xa5; 100]));
        check_costs_nothing(&disk, &stopped, &path, &format!("{name} and more"));
    }
}

/// The check names this file and no other, and the log serves every record.
fn check_costs_nothing(disk: &MemDisk, stopped: &Stopped, path: &Path, what: &str) {
    let found = findings(disk);
    assert!(matches!(&found[..], [finding] if finding.path == path && finding.offsets.is_none()), "{what}: {found:?}");
    let mut log = open(disk);
    assert_eq!(log.span(), Offset::ZERO..stopped.end, "{what}");
    log.reader().check(log.span()).unwrap();
    assert_eq!(lost(&log, stopped), [0; 0], "{what}");
    append_after(&mut log, stopped.end);
}
