//! Files that were cut short, emptied, exchanged or removed.

use crate::log_kit::{self, DIR};
use crate::stopped::{Stopped, append_after, batch_at, findings, lost, open};
use grower_protocol::ids::{LeaderEpoch, Offset};
use grower_storage::disk::{Call, Fault, FaultDisk};
use grower_storage::log::Log;
use std::path::Path;
use std::sync::Arc;

#[test]
fn a_lost_short_or_damaged_index_costs_no_record() {
    let stopped = Stopped::new(log_kit::options());
    for at in 0..3 {
        let path = stopped.path("growerindex", at);
        let length = stopped.files.iter().find(|(found, _)| *found == path).unwrap().1.len();
        let mut disks = vec![stopped.without(&path), stopped.with_file(&path, |bytes| bytes.fill(0))];
        disks.extend((0..length).map(|cut| stopped.with_file(&path, |bytes| bytes.truncate(cut))));
        disks.push(stopped.with_file(&path, |bytes| bytes.extend_from_slice(&[7; 100])));
        let appended = disks.len() - 1;
        for (which, disk) in disks.into_iter().enumerate() {
            let sound = findings(&disk).is_empty();
            let (log, report) = log_kit::open(Arc::new(disk.clone()), &log_kit::options());
            // A crash may have left what follows the synced end of the last index.
            let by_a_crash = at == 2 && which == appended;
            assert!(report.is_empty() || by_a_crash || !sound, "what needs mending is found by a check");
            assert_eq!(log.span().end, stopped.end);
            log.reader().check(log.span()).unwrap();
            assert_eq!(lost(&log, &stopped), [0; 0]);
            drop(log);
            let report = log_kit::open(Arc::new(disk.clone()), &log_kit::options()).1;
            assert!(report.is_empty(), "it is rebuilt once: {report:?}");
            assert!(findings(&disk).is_empty());
        }
    }
}

#[test]
fn the_index_of_another_segment_costs_no_record() {
    let stopped = Stopped::new(log_kit::options());
    let (first, second) = (stopped.path("growerindex", 0), stopped.path("growerindex", 1));
    let foreign = stopped.files.iter().find(|(path, _)| *path == second).unwrap().1.clone();
    let disk = stopped.with_file(&first, |bytes| *bytes = foreign);
    assert!(!findings(&disk).is_empty());
    let log = open(&disk);
    assert_eq!(lost(&log, &stopped), [0; 0]);
}

#[test]
fn a_segment_cut_short_loses_what_it_held_and_nothing_else() {
    let stopped = Stopped::new(log_kit::options());
    for at in 0..3 {
        let path = stopped.path("growerlog", at);
        let bytes = stopped.files.iter().find(|(found, _)| *found == path).unwrap().1.clone();
        let held: Vec<u64> = (0..bytes.len()).map(|byte| batch_at(&bytes, byte)).collect();
        for cut in 0..bytes.len() {
            let disk = stopped.with_file(&path, |bytes| bytes.truncate(cut));
            assert!(findings(&disk).iter().any(|finding| finding.offsets.is_some()), "cut at {cut} is found");
            let mut log = open(&disk);
            assert_eq!(log.span().end, stopped.end, "offsets are never given out twice");
            let mut expected = held[cut..].to_vec();
            expected.dedup();
            assert_eq!(lost(&log, &stopped), expected, "cut at {cut}");
            append_after(&mut log, stopped.end);
        }
    }
}

#[test]
fn a_missing_segment_loses_exactly_its_offsets() {
    let stopped = Stopped::new(log_kit::options());
    for at in 0..3 {
        let path = stopped.path("growerlog", at);
        let bytes = stopped.files.iter().find(|(found, _)| *found == path).unwrap().1.clone();
        let mut held: Vec<u64> = (0..bytes.len()).map(|byte| batch_at(&bytes, byte)).collect();
        held.dedup();
        let disk = stopped.without(&path);
        assert!(!findings(&disk).is_empty());
        let mut log = open(&disk);
        assert_eq!(log.span(), Offset::ZERO..stopped.end);
        assert_eq!(lost(&log, &stopped), held);
        append_after(&mut log, stopped.end);
    }
}

#[test]
fn a_lost_state_file_costs_no_record() {
    let stopped = Stopped::new(log_kit::options());
    for name in ["partition.meta", "checkpoint", "leader-epochs", "producers.snapshot"] {
        let path = Path::new(DIR).join(name);
        for disk in [stopped.without(&path), stopped.with_file(&path, Vec::clear)] {
            let mut log = open(&disk);
            assert_eq!(log.span(), Offset::ZERO..stopped.end, "{name}");
            assert_eq!(lost(&log, &stopped), [0; 0]);
            // The next sync writes the checkpoint, and an interval of records the snapshot.
            let is_written_at_once = ["partition.meta", "leader-epochs"].contains(&name);
            assert!(
                !is_written_at_once || findings(&disk).is_empty(),
                "{name}: what a check calls damage is written again"
            );
            let last = stopped.batches.last().unwrap();
            let (records, length, sequence) = last.source;
            let again = log_kit::batch(records, length, sequence, 0);
            let again = log.append(again, LeaderEpoch::new(2), Default::default()).unwrap();
            assert!(again.duplicate, "producers are known again by the headers");
        }
    }
}

#[test]
fn the_end_is_known_by_an_index_that_has_lost_its_log() {
    let stopped = Stopped::new(log_kit::options());
    let (log, checkpoint) = (stopped.path("growerlog", 2), Path::new(DIR).join("checkpoint"));
    let disk = stopped.with(|files| files.retain(|(path, _)| *path != log && *path != checkpoint));
    let mut log = open(&disk);
    assert_eq!(log.span().end, stopped.end, "offsets are never given out twice");
    append_after(&mut log, stopped.end);
}

#[test]
fn a_full_disk_keeps_no_log_from_opening_without_its_state_files() {
    let stopped = Stopped::new(log_kit::options());
    for name in ["partition.meta", "leader-epochs"] {
        let disk = stopped.without(&Path::new(DIR).join(name));
        let full = FaultDisk::new(disk.clone());
        full.faults().inject(Fault::full(Call::Write, 0).from_then_on());
        let (log, report) = log_kit::open(Arc::new(full), &log_kit::options());
        assert_eq!(log.span(), Offset::ZERO..stopped.end, "{name}");
        assert!(!report.is_empty(), "{name}: it is said that the file is missing still");
        assert!(!findings(&disk).is_empty());
        drop(log);
        drop(open(&disk));
        assert!(findings(&disk).is_empty(), "{name}: the next opening writes it");
    }
}
