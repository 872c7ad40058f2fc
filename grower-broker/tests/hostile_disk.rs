//! Damaged data directories: the broker serves everything undamaged and reports the exact damage, or names the reason
//! and does not start. It deletes nothing.

mod support {
    pub(crate) mod raw;
    pub(crate) mod tampered;
}

use grower_broker::offline::verify;
use grower_client::TopicSpec;
use grower_client::ids::Offset;
use grower_protocol::message::{ReportDamage, Request, Response};
use std::fs;
use std::path::Path;
use support::raw::{PARTITION, Raw};
use support::tampered::{RECORDS, SMALL_FILES, Served, Tampered, all, all_but, edit};

/// Starts after the tampering: partition 0 reads as told, the rest is whole, nothing is deleted, and a second start
/// finds the same.
async fn check(world: &Tampered, partition_0: Vec<String>) {
    let tampered = world.files();
    for _ in 0..2 {
        let served = world.served().await;
        assert_eq!(served.read(0).await[..partition_0.len()], partition_0, "partition 0");
        served.broker.stop().await.unwrap();
    }
    let served = world.served().await;
    world.assert_nothing_deleted(&tampered);
    served.assert_the_rest_is_whole().await;
    served.broker.stop().await.unwrap();
}

type Change = fn(&mut Vec<u8>);

/// How files get damaged as a whole.
const WAYS: [(&str, Change); 4] = [
    ("zero-length", |bytes| bytes.clear()),
    ("truncated", |bytes| bytes.truncate(bytes.len() / 2)),
    ("oversized", |bytes| bytes.extend_from_slice(&[0xa5; 5_000])),
    ("overwritten", |bytes| bytes.fill(0x5a)),
];

#[tokio::test] // Hostile input 57.
async fn a_sealed_segment_of_zero_length_costs_its_own_records_only() {
    let world = Tampered::new().await;
    edit(&world.log(4), Vec::clear);
    check(&world, all_but(4..8)).await;
}

#[tokio::test] // Hostile input 57.
async fn a_sealed_segment_cut_short_costs_what_was_cut_off() {
    let world = Tampered::new().await;
    edit(&world.log(4), |bytes| bytes.truncate(bytes.len() - 10));
    check(&world, all_but(7..8)).await;
}

#[tokio::test] // Hostile input 57.
async fn a_sealed_segment_with_bytes_after_its_end_costs_nothing() {
    let world = Tampered::new().await;
    edit(&world.log(4), |bytes| bytes.extend_from_slice(&[0xa5; 5_000]));
    check(&world, all()).await;
}

#[tokio::test] // Hostile input 60.
async fn a_missing_segment_costs_its_own_records_only() {
    let world = Tampered::new().await;
    fs::remove_file(world.log(4)).unwrap();
    check(&world, all_but(4..8)).await;
}

#[tokio::test] // Hostile input 57.
async fn a_last_segment_shorter_than_its_durable_end_reuses_no_offset() {
    let world = Tampered::new().await;
    edit(&world.log(8), |bytes| bytes.truncate(bytes.len() - 10));
    check(&world, all_but(9..10)).await;
}

#[tokio::test] // Hostile input 57.
async fn an_empty_last_segment_reuses_no_offset() {
    let world = Tampered::new().await;
    edit(&world.log(8), Vec::clear);
    check(&world, all_but(8..10)).await;
}

#[tokio::test] // Hostile input 57.
async fn bytes_after_the_last_batch_are_cut_off_and_kept() {
    let world = Tampered::new().await;
    edit(&world.log(8), |bytes| bytes.extend_from_slice(&[0xa5; 5_000]));
    let served = world.served().await;
    assert_eq!(served.read(0).await, all());
    served.assert_the_rest_is_whole().await;
    let kept: Vec<_> = world.files().into_iter().filter(|(path, _)| path.starts_with(world.path("cut"))).collect();
    assert!(matches!(kept.as_slice(), [(_, bytes)] if *bytes == [0xa5; 5_000]), "{kept:?}");
}

#[tokio::test] // Hostile input 57.
async fn an_index_in_any_state_costs_no_record() {
    for (way, change) in WAYS {
        eprintln!("{way}");
        let world = Tampered::new().await;
        edit(&world.index(0), change);
        edit(&world.index(8), change);
        check(&world, all()).await;
    }
}

#[tokio::test] // Hostile input 61.
async fn an_index_that_points_past_its_file_costs_no_record() {
    let world = Tampered::new().await;
    let entry = entry_at(3, u32::MAX - 9);
    edit(&world.index(0), |bytes| bytes.extend_from_slice(&entry));
    edit(&world.index(8), |bytes| bytes.extend_from_slice(&entry));
    check(&world, all()).await;
}

/// A sound index entry, of an offset and a position.
fn entry_at(relative_offset: u32, position: u32) -> [u8; 32] {
    let entry = grower_index::IndexEntry {
        relative_offset,
        position,
        max_timestamp: i64::MAX,
        durable_end: 0,
        header_checksum: 0,
        checksummed: false,
        uniform: grower_index::Uniform::default(),
    };
    entry.encode()
}

#[tokio::test] // Hostile input 59.
async fn the_index_of_another_segment_costs_no_record() {
    let world = Tampered::new().await;
    fs::copy(world.index(4), world.index(0)).unwrap();
    check(&world, all()).await;
}

#[tokio::test] // Hostile input 57.
async fn the_small_files_of_a_partition_in_any_state_cost_no_record() {
    for name in SMALL_FILES {
        for (way, change) in WAYS {
            eprintln!("{name} {way}");
            let world = Tampered::with(name).await;
            let path = world.path(&format!("topics/events/0/{name}"));
            edit(&path, change);
            let findings = verify(world.dir.path(), |_| {}).unwrap().findings;
            assert!(findings.iter().any(|finding| finding.path == path), "{name} {way}: {findings:?}");
            check(&world, world.whole.clone()).await;
        }
    }
}

#[tokio::test] // Hostile input 57.
async fn a_damaged_identity_of_the_directory_is_refused_with_its_file() {
    for (way, change) in WAYS {
        let world = Tampered::new().await;
        edit(&world.path("meta"), change);
        let tampered = world.files();
        let reason = world.refused().await;
        assert!(reason.contains("/meta is damaged"), "{way}: {reason}");
        world.assert_nothing_deleted(&tampered);
    }
}

#[tokio::test] // Hostile input 57.
async fn damaged_metadata_is_refused_and_no_topic_is_moved_or_deleted() {
    for (way, change) in WAYS {
        let world = Tampered::new().await;
        let logs = world.files().into_keys().filter(|path| path.starts_with(world.path("metadata")));
        for log in logs.filter(|path| path.extension().is_some_and(|extension| extension == "growerlog")) {
            edit(&log, change);
        }
        let tampered = world.files();
        if way == "oversized" {
            let served = world.served().await;
            assert_eq!(served.read(0).await, all(), "a torn tail of the metadata");
            continue;
        }
        let reason = world.refused().await;
        assert!(reason.contains("metadata"), "{way}: {reason}");
        world.assert_nothing_deleted(&tampered);
    }
}

#[tokio::test] // Hostile input 59.
async fn a_block_from_elsewhere_in_the_log_is_reported_as_damage() {
    let world = Tampered::new().await;
    let (from, to) = (world.batch(4), world.batch(5));
    edit(&world.log(4), |bytes| bytes.copy_within(from, to.start));
    let served = world.served().await;
    assert_eq!(served.read(0).await, all_but(5..6));
}

#[tokio::test] // Hostile input 59.
async fn a_block_of_another_partition_fails_the_header_checksum() {
    let world = Tampered::new().await;
    let other = fs::read(world.path("topics/events/1/00000000000000000004.growerlog")).unwrap();
    let place = world.batch(5);
    edit(&world.log(4), |bytes| bytes[place.clone()].copy_from_slice(&other[place]));
    let served = world.served().await;
    report_damage(&served, 5..6).await;
    // Everything else in the batch is right, so the damaged batch of the interval cannot be told.
    assert_eq!(served.read(0).await, all_but(4..6));
}

#[tokio::test] // Hostile input 59.
async fn a_segment_of_another_partition_fails_the_header_checksum() {
    let world = Tampered::new().await;
    fs::copy(world.path("topics/events/1/00000000000000000004.growerlog"), world.log(4)).unwrap();
    let served = world.served().await;
    report_damage(&served, 4..8).await;
    let read = served.read(0).await;
    assert!(read.iter().all(|line| !line.starts_with("partition 1")), "{read:?}");
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test] // Hostile input 62.
async fn leftover_temporary_files_are_harmless() {
    let world = Tampered::new().await;
    let places = ["", "topics/events/0/", "metadata/"];
    for name in ["checkpoint.tmp", "producers.snapshot.tmp", "meta.tmp", "snapshot.tmp"] {
        for place in places {
            fs::write(world.path(&format!("{place}{name}")), b"half a fi").unwrap();
        }
    }
    let served = world.served().await;
    assert_eq!(served.read(0).await, all());
    served.assert_the_rest_is_whole().await;
    served.broker.stop().await.unwrap();
}

#[tokio::test] // Hostile input 63.
async fn a_file_in_place_of_a_directory_of_the_brokers_is_named() {
    for name in ["topics", "metadata"] {
        let world = Tampered::new().await;
        fs::rename(world.path(name), world.path("elsewhere")).unwrap();
        fs::write(world.path(name), b"a file").unwrap();
        let tampered = world.files();
        let reason = world.refused().await;
        assert!(reason.contains(name), "{name}: {reason}");
        world.assert_nothing_deleted(&tampered);
    }
}

#[tokio::test] // Hostile input 63.
async fn a_directory_in_place_of_a_segment_file_costs_that_segment_only() {
    let world = Tampered::new().await;
    fs::rename(world.log(4), world.path("elsewhere")).unwrap();
    fs::create_dir(world.log(4)).unwrap();
    check(&world, all_but(4..8)).await;
}

#[tokio::test] // Hostile input 62.
async fn a_directory_of_an_unknown_topic_is_moved_to_quarantine() {
    let world = Tampered::new().await;
    fs::create_dir(world.path("topics/stranger")).unwrap();
    copy_dir(&world.path("topics/events/1"), &world.path("topics/stranger/0"));
    let before = files_under(&world.path("topics/stranger"));
    let served = world.served().await;
    assert!(!world.path("topics/stranger").exists());
    assert_eq!(files_under(&world.path("quarantine/stranger-0")), before);
    served.assert_the_rest_is_whole().await;
    let created = served.client.admin().create_topic("stranger", TopicSpec::partitions(1)).await;
    created.expect("the name is free");
}

fn files_under(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir.join("0")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.map(|path| (path.file_name().unwrap().to_string_lossy().into(), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

#[tokio::test] // Hostile input 58.
async fn corruption_of_a_record_at_run_time_is_reported_for_exactly_that_record() {
    let world = Tampered::new().await;
    let served = world.served().await;
    let place = world.batch(5);
    edit_in_place(&world.log(4), place.start + 100, 0x40);
    assert_eq!(served.read(0).await, all_but(5..6), "the client finds out and reports it, the broker looks and tells");
    served.assert_the_rest_is_whole().await;
}

#[tokio::test] // Hostile input 58.
async fn corruption_of_a_header_at_run_time_is_reported_for_exactly_that_batch() {
    for (field, at) in [("length", 10), ("magic", 16), ("base offset", 7), ("last offset delta", 26)] {
        let world = Tampered::new().await;
        let served = world.served().await;
        edit_in_place(&world.log(4), world.batch(5).start + at, 0x08);
        assert_eq!(served.read(0).await, all_but(5..6), "{field}");
    }
}

#[tokio::test] // Hostile input 58.
async fn reported_corruption_is_reported_to_every_later_reader() {
    let world = Tampered::new().await;
    let served = world.served().await;
    edit_in_place(&world.log(0), world.batch(2).start + 80, 0x01);
    report_damage(&served, 2..3).await;
    assert_eq!(served.read(0).await, all_but(2..3));
    report_damage(&served, 0..RECORDS).await;
    assert_eq!(served.read(0).await, all_but(2..3), "a report of sound records changes nothing");
}

/// In the file as it is, so that the broker's open file is the one that changes.
fn edit_in_place(path: &Path, at: usize, flip: u8) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ flip], at as u64).unwrap();
}

/// Tells the broker that these records of partition 0 arrived damaged.
async fn report_damage(served: &Served, offsets: std::ops::Range<u64>) {
    let topic = served.client.admin().describe_topic("events", false).await.unwrap().id;
    let (start, end) = (Offset::new(offsets.start), Offset::new(offsets.end));
    let report = ReportDamage { topic, partition: PARTITION, start, end };
    let answer = Raw::open(served.broker.connect()).await.ask(&Request::ReportDamage(report)).await;
    assert!(matches!(answer, Response::Done), "{answer:?}");
}
