mod hanging;
mod running;
mod scan;

use super::series::newest_below;
use super::sums::compare_all;
use super::*;
use crate::clock::SystemClock;
use crate::logs::{DiskLogs, Logs, PartitionIdentity};
use crate::metadata::{Command, LogMetadataStore, META, MetadataStore, NodeIdentity, Uuid};
use grower_protocol::batch::{BatchBuilder, BatchReader, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LeaderEpoch, NodeId, Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_storage::disk::{Call, Disk, Fault, FaultDisk, Faults, MemDisk};
use grower_storage::log::{Log, LogOptions};
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;

const DATA: &str = "/data";
const BACKUPS: &str = "/backups";
const RESTORED: &str = "/restored";
const NODE: NodeId = NodeId::new(1);

fn uuid(byte: u8) -> Uuid {
    Uuid::from_random([byte; 16])
}

fn partition() -> PartitionIdentity {
    let (topic, name) = (TopicId::from_random([7; 16]), TopicName::new("events").unwrap());
    PartitionIdentity { topic, name, partition: PartitionId::new(0) }
}

/// The disk again, to be shared: a clone of it holds the same files.
fn shared(disk: &MemDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn open_log(disk: &MemDisk, dir: &str) -> Box<dyn Log> {
    let logs = DiskLogs::new(shared(disk), dir.into()).unwrap();
    logs.open(&partition(), LogOptions::tiny(), Timestamp::default()).unwrap()
}

/// Appends records and stops as a kill would, once everything is durable.
fn append(disk: &MemDisk, dir: &str, values: std::ops::Range<u32>) {
    let mut log = open_log(disk, dir);
    for value in values {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(&Record { value: Some(format!("value {value}").repeat(5).into()), ..Record::default() });
        let batch = UnplacedBatch::built(batch.build(None));
        log.append(batch, LeaderEpoch::new(1), Timestamp::default()).unwrap();
    }
    let point = log.flush_point();
    disk.sync_many(&point.files).unwrap();
    log.flushed(&point, Ok(())).unwrap();
}

fn values(disk: &MemDisk, dir: &str) -> Vec<u32> {
    let log = open_log(disk, dir);
    let (mut at, mut values) = (Offset::ZERO, Vec::new());
    while at < log.span().end {
        for slice in log.reader().read(at, 500, Offset::MAX).unwrap() {
            for batch in BatchReader::new(slice.read().unwrap()).map(Result::unwrap) {
                at = batch.header().next_offset();
                for record in batch.records(1 << 20).unwrap().map(Result::unwrap) {
                    let text = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                    values.push(text.split("value ").nth(1).unwrap().parse().unwrap());
                }
            }
        }
    }
    values
}

/// A data directory with a topic of ten records in several segments.
async fn data() -> MemDisk {
    let disk = MemDisk::default();
    disk.create_dir_all(Path::new(DATA)).unwrap();
    let mut ids = [uuid(1), uuid(2)].into_iter();
    NodeIdentity::open(&disk, Path::new(DATA), NODE, || ids.next().unwrap()).unwrap();
    let store = LogMetadataStore::open(shared(&disk), Path::new(DATA), Arc::new(SystemClock)).unwrap();
    let (name, id) = (partition().name, partition().topic);
    store.propose(Command::FormatCluster { cluster: uuid(1) }).await.unwrap();
    store.propose(Command::RegisterBroker { node: NODE, uuid: uuid(2), address: String::new() }).await.unwrap();
    let configs = vec![("retention.ms".to_owned(), "-1".to_owned())];
    let at = Timestamp::from_millis(1);
    store.propose(Command::CreateTopic { name, id, replicas: vec![vec![NODE]], configs, at }).await.unwrap();
    append(&disk, DATA, 0..10);
    disk
}

fn back_up(disk: &MemDisk) -> Result<BackedUp, BackupError> {
    back_up_through(&shared(disk))
}

fn back_up_through(disk: &Arc<dyn Disk>) -> Result<BackedUp, BackupError> {
    back_up_to((disk, BACKUPS), disk, |_| true)
}

fn back_up_to(
    (disk, dir): (&Arc<dyn Disk>, &str),
    source: &Arc<dyn Disk>,
    keep_going: impl FnMut(u64) -> bool,
) -> Result<BackedUp, BackupError> {
    backup((source, Path::new(DATA)), (disk, Path::new(dir)), false, Timestamp::from_millis(5), keep_going)
}

fn restore_into(disk: &Arc<dyn Disk>, dir: &str) -> Result<Restored, RestoreError> {
    restore((&**disk, Path::new(BACKUPS)), disk, Path::new(dir), uuid(3), Arc::new(SystemClock), |_| {})
}

/// Every finished backup is as its manifest says.
fn check_finished(disk: &MemDisk) -> usize {
    let listed = list(disk, Path::new(BACKUPS)).unwrap_or_default();
    for listed in &listed {
        assert_eq!(compare_all(disk, &listed.path, listed.manifest.as_ref().unwrap(), |_| {}).unwrap(), []);
    }
    listed.len()
}

#[tokio::test]
async fn a_restore_gives_the_data_of_the_backup_whatever_was_written_later() {
    let disk = data().await;
    let first = back_up(&disk).unwrap();
    assert_eq!(first.path, Path::new("/backups/backup-000001"));
    append(&disk, DATA, 10..15);
    let second = back_up(&disk).unwrap();
    assert!(second.new_bytes < first.new_bytes, "{second:?} after {first:?}");
    append(&disk, DATA, 15..30);
    assert_eq!(check_finished(&disk), 2, "what the log does later changes no backup");
    let source = FaultDisk::new(disk.clone());
    let from = (&source as &dyn Disk, first.path.as_path());
    let restored = restore(from, &shared(&disk), Path::new("/old"), uuid(4), Arc::new(SystemClock), |_| {});
    assert_eq!(source.faults().mutations(), 0, "where the backup lies, nothing needs to be written");
    assert_eq!(restored.unwrap().manifest.files.len() as u64, first.files);
    assert_eq!(values(&disk, "/old"), (0..10).collect::<Vec<_>>());
    restore_into(&shared(&disk), RESTORED).unwrap();
    assert_eq!(values(&disk, RESTORED), (0..15).collect::<Vec<_>>());
    append(&disk, RESTORED, 15..20);
    assert_eq!(values(&disk, RESTORED), (0..20).collect::<Vec<_>>(), "it can be written to");
    disk.remove_dir_all(&first.path).unwrap();
    assert_eq!(check_finished(&disk), 1, "each is whole without the others");
}

#[tokio::test]
async fn a_restored_node_has_the_same_cluster_and_a_new_identity() {
    let disk = data().await;
    back_up(&disk).unwrap();
    restore_into(&shared(&disk), RESTORED).unwrap();
    let identity = NodeIdentity::open(&disk, Path::new(RESTORED), NODE, || uuid(9)).unwrap();
    assert_eq!((identity.cluster, identity.node, identity.uuid), (uuid(1), NODE, uuid(3)));
    let store = LogMetadataStore::open(shared(&disk), Path::new(RESTORED), Arc::new(SystemClock)).unwrap();
    let image = store.image();
    identity.check(Path::new(RESTORED), &image).unwrap();
    let topic = image.topic(&partition().name).unwrap();
    assert_eq!(topic.configs.get("retention.ms").map(String::as_str), Some("-1"));
    let error = restore_into(&shared(&disk), RESTORED).unwrap_err();
    insta::assert_snapshot!(error, @"/restored is not empty: restore into a new directory");
}

#[tokio::test]
async fn without_links_everything_is_copied() {
    let disk = data().await;
    let faulty = FaultDisk::new(disk.clone());
    faulty.faults().inject(Fault::other_volume(0).from_then_on());
    let backed_up = back_up_through(&(Arc::new(faulty) as Arc<dyn Disk>)).unwrap();
    assert_eq!(backed_up.copied_bytes, backed_up.bytes);
    restore_into(&shared(&disk), RESTORED).unwrap();
    assert_eq!(values(&disk, RESTORED), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_name_that_a_manifest_cannot_hold_is_refused() {
    let disk = data().await;
    let foreign = Path::new(DATA).join("topics/a\nb/0");
    disk.create_dir_all(&foreign).unwrap();
    disk.create(&foreign.join("00000000000000000000.growerlog")).unwrap();
    let error = back_up(&disk).unwrap_err();
    assert!(error.to_string().contains("a\nb/0"), "{error}");
    disk.remove_dir_all(&foreign).unwrap();
    back_up(&disk).unwrap();
    assert_eq!(check_finished(&disk), 1);
}

/// Refuses whatever changes a disk, and has a lock for those who only read.
fn read_only(disk: &MemDisk) -> (Arc<dyn Disk>, Faults) {
    let source = FaultDisk::new(disk.clone());
    let faults = source.faults();
    faults.rule(|call, _| (call == Call::Lock || Call::MUTATIONS.contains(&call)).then_some(Errno::ROFS));
    (Arc::new(source), faults)
}

#[tokio::test]
async fn a_backup_of_a_read_only_directory_writes_nothing_to_it() {
    let disk = data().await;
    let (source, faults) = read_only(&disk);
    let target = FaultDisk::new(disk.clone());
    target.faults().inject(Fault::other_volume(0).from_then_on());
    let target: Arc<dyn Disk> = Arc::new(target);
    let broker = disk.lock(Path::new(DATA)).unwrap();
    let refused = back_up_to((&target, BACKUPS), &source, |_| true);
    assert!(matches!(refused, Err(BackupError::InUse { .. })), "a broker may have it elsewhere: {refused:?}");
    drop(broker);
    back_up_to((&target, BACKUPS), &source, |_| true).unwrap();
    assert_eq!(faults.mutations(), 0);
    restore_into(&shared(&disk), RESTORED).unwrap();
    assert_eq!(values(&disk, RESTORED), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_backup_interrupted_anywhere_is_ignored_and_the_next_is_complete() {
    for power in (0..500).step_by(3) {
        let disk = data().await;
        let before = back_up(&disk).unwrap();
        append(&disk, DATA, 10..12);
        let faulty = FaultDisk::new(disk.clone());
        faulty.faults().lose_power_after(power);
        let done = back_up_through(&(Arc::new(faulty) as Arc<dyn Disk>)).is_ok();
        disk.crash_torn(power);
        let finished = check_finished(&disk);
        assert!(finished == 2 || !done && finished == 1, "{finished}");
        assert!(list(&disk, Path::new(BACKUPS)).unwrap().iter().any(|listed| listed.path == before.path));
        back_up(&disk).unwrap();
        assert_eq!(check_finished(&disk), finished + 1);
        assert_eq!(disk.list(Path::new(BACKUPS)).unwrap().iter().filter(|entry| entry.is_dir).count(), finished + 1);
        restore_into(&shared(&disk), RESTORED).unwrap();
        assert_eq!(values(&disk, RESTORED), (0..12).collect::<Vec<_>>());
        assert_eq!(values(&disk, DATA), (0..12).collect::<Vec<_>>());
        if done {
            return;
        }
    }
    panic!("it never ends");
}

#[tokio::test]
async fn no_broker_starts_on_an_interrupted_restore_and_the_same_command_repeats_it() {
    for power in (0..500).step_by(3) {
        let disk = data().await;
        back_up(&disk).unwrap();
        let faulty = FaultDisk::new(disk.clone());
        faulty.faults().lose_power_after(power);
        let done = restore_into(&(Arc::new(faulty) as Arc<dyn Disk>), RESTORED).is_ok();
        disk.crash_torn(power);
        let has_meta = disk.open(&Path::new(RESTORED).join(META)).is_ok();
        assert!(has_meta || !done);
        if !has_meta {
            restore_into(&shared(&disk), RESTORED).unwrap();
        }
        assert_eq!(values(&disk, RESTORED), (0..10).collect::<Vec<_>>(), "with its identity it is whole");
        let identity = NodeIdentity::open(&disk, Path::new(RESTORED), NODE, || uuid(9)).unwrap();
        assert_eq!(identity.uuid, uuid(3));
        if done {
            return;
        }
    }
    panic!("it never ends");
}

#[tokio::test]
async fn a_damaged_backup_is_found_and_not_restored() {
    let disk = data().await;
    let backed_up = back_up(&disk).unwrap();
    let log = backed_up.path.join("topics/events/0/00000000000000000000.growerlog");
    disk.edit(&log, |bytes| bytes[70] ^= 1).unwrap();
    let listed = list(&disk, Path::new(BACKUPS)).unwrap();
    let findings = compare_all(&disk, &backed_up.path, listed[0].manifest.as_ref().unwrap(), |_| {}).unwrap();
    assert_eq!(findings.iter().map(|finding| finding.path.clone()).collect::<Vec<_>>(), std::slice::from_ref(&log));
    let error = restore_into(&shared(&disk), RESTORED).unwrap_err();
    assert!(matches!(&error, RestoreError::Damaged { path, .. } if *path == log), "{error}");
}

#[tokio::test]
async fn data_in_use_and_backups_within_the_data_are_refused() {
    let disk = data().await;
    let lock = disk.lock(Path::new(DATA)).unwrap();
    assert!(matches!(back_up(&disk), Err(BackupError::InUse { .. })));
    drop(lock);
    let same = shared(&disk);
    let inside = back_up_to((&same, "/data/backups"), &same, |_| true);
    assert!(matches!(inside, Err(BackupError::Inside { .. })));
    let told = back_up_to((&same, BACKUPS), &same, |_| false);
    assert!(matches!(told, Err(BackupError::Stopped)));
    assert_eq!(check_finished(&disk), 0);
}
