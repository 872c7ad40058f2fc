//! The metadata store on a disk that fails, and on files of other versions.

mod damage;

use super::*;
use crate::config::MetadataLimits;
use crate::metadata::{Uuid, contract};
use grower_protocol::ids::{NodeId, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::NewTopic;
use grower_storage::disk::{Call, Fault, FaultDisk, MemDisk};
use std::collections::BTreeSet;

struct Still;

impl Clock for Still {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    fn monotonic(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

fn dir() -> &'static Path {
    Path::new("/data")
}

/// Opens with a snapshot after each third command; two commands or so fit a batch.
fn open(disk: impl Disk + 'static) -> Result<LogMetadataStore, MetadataOpenError> {
    LogMetadataStore::open_with(Arc::new(disk), dir(), Arc::new(Still), 3, 100)
}

/// The first commands of a broker, then topics one after the other, one of them deleted.
fn commands() -> Vec<Command> {
    let register = || Command::RegisterBroker {
        node: NodeId::new(1),
        uuid: Uuid::from_random([2; 16]),
        address: "localhost:9092".to_owned(),
    };
    let create = |number: u8| {
        let mut image = Image::default();
        image.apply(register()).unwrap();
        let request = NewTopic {
            name: TopicName::new(&format!("topic-{number}")).unwrap(),
            partitions: Some(2),
            replication_factor: None,
            configs: vec![("retention.ms".to_owned(), "1d".to_owned())],
        };
        image
            .create_topic(&request, TopicId::from_random([number; 16]), Still.wall(), &MetadataLimits::default())
            .unwrap()
    };
    let delete = Command::DeleteTopic { id: TopicId::from_random([2; 16]) };
    let format = Command::FormatCluster { cluster: Uuid::from_random([1; 16]) };
    let ids = Command::AllocateProducerIds { count: 1000 };
    let settings = vec![("disk.flush_delay".to_owned(), Some("7ms".to_owned()))];
    let set = Command::AlterBroker { node: NodeId::new(1), settings };
    let (third, partition) = (TopicId::from_random([3; 16]), PartitionId::new(1));
    let trim = Command::TrimTopic { id: third, before: vec![(partition, Offset::new(7))] };
    let forget = Command::ForgetTrims { done: vec![(third, partition, Offset::new(7))] };
    vec![format, register(), create(1), create(2), delete, ids, create(3), register(), trim, forget, set]
}

/// The image after each number of commands.
fn images() -> Vec<Image> {
    let mut images = vec![Image::default()];
    for command in commands() {
        let mut next = images.last().unwrap().clone();
        next.apply(command).unwrap();
        images.push(next);
    }
    images
}

/// Proposes until something fails; how many succeeded.
fn propose_all(store: &LogMetadataStore) -> usize {
    commands().iter().take_while(|command| store.writer.lock().propose(command).is_ok()).count()
}

fn full() -> MemDisk {
    let disk = MemDisk::default();
    let store = open(disk.clone()).unwrap();
    assert_eq!(propose_all(&store), commands().len());
    disk
}

#[tokio::test]
async fn it_keeps_the_contract() {
    contract::metadata_store(|| open(MemDisk::default()).unwrap()).await;
}

#[test]
fn proposed_commands_survive_a_restart() {
    let disk = full();
    disk.crash();
    assert_eq!(*open(disk).unwrap().image(), *images().last().unwrap());
}

#[test]
fn a_crash_between_any_two_steps_keeps_acknowledged_commands() {
    let images = images();
    for power in 0..10_000 {
        let memory = MemDisk::default();
        let faulty = FaultDisk::new(memory.clone());
        faulty.faults().lose_power_after(power);
        let acknowledged = open(faulty).map_or(0, |store| propose_all(&store));
        memory.crash_torn(power);
        check_after_crash(&memory, &images, acknowledged, 1);
        if acknowledged == commands().len() {
            break;
        }
    }
}

#[test]
fn a_crash_during_several_commands_keeps_the_first_ones_without_a_gap() {
    let images = images();
    for power in 0..10_000 {
        let memory = MemDisk::default();
        let faulty = FaultDisk::new(memory.clone());
        faulty.faults().lose_power_after(power);
        let answers = open(faulty).map(|store| store.writer.lock().propose_all(&commands())).unwrap_or_default();
        let acknowledged = answers.iter().take_while(|answer| answer.is_ok()).count();
        assert!(answers[acknowledged..].iter().all(Result::is_err), "they take effect in their order");
        memory.crash_torn(power);
        check_after_crash(&memory, &images, acknowledged, 3);
        if acknowledged == commands().len() {
            break;
        }
    }
}

#[test]
fn a_thousand_commands_share_a_few_syncs() {
    let faulty = FaultDisk::new(MemDisk::default());
    let faults = faulty.faults();
    let store = LogMetadataStore::open(Arc::new(faulty), dir(), Arc::new(Still)).unwrap();
    let syncs = || faults.calls(Call::Sync) + faults.calls(Call::SyncDir);
    let one = |count| Command::AllocateProducerIds { count };
    store.writer.lock().propose(&one(1)).unwrap();
    let before = syncs();
    store.writer.lock().propose(&one(1)).unwrap();
    let alone = syncs() - before;
    let answers = store.writer.lock().propose_all(&(0..999).map(one).collect::<Vec<_>>());
    assert!(answers.iter().all(Result::is_ok));
    let together = syncs() - before - alone;
    assert!(together <= 2 * alone, "{together} syncs, {alone} for one"); // A snapshot takes some.
}

#[test]
fn a_command_that_does_not_fit_the_disk_does_not_affect_the_others() {
    let memory = MemDisk::default();
    let faulty = FaultDisk::new(memory.clone());
    let faults = faulty.faults();
    let store = open(faulty).unwrap();
    store.writer.lock().propose_all(&commands()[..2]);
    faults.inject(Fault::full(Call::Write, faults.calls(Call::Write)).after_bytes(7));
    let ids: Vec<_> = (0..100).map(|count| Command::AllocateProducerIds { count }).collect();
    let answers = store.writer.lock().propose_all(&ids);
    let full = answers.iter().take_while(|answer| matches!(answer, Err(ProposeError::Full { .. }))).count();
    assert!(0 < full && full < 100 && answers[full..].iter().all(Result::is_ok), "{answers:?}");
    let image = store.image();
    assert_eq!(image.version(), 2 + (100 - full) as u64);
    memory.crash();
    assert_eq!(*open(memory).unwrap().image(), *image);
}

/// Recovery itself is interrupted, too, at every step; what it finds in the end is what was acknowledged, and perhaps
/// the commands that were under way.
fn check_after_crash(memory: &MemDisk, images: &[Image], acknowledged: usize, under_way: usize) {
    let upto = images.len().min(acknowledged + under_way + 1);
    let allowed = &images[acknowledged..upto];
    let mut seen = BTreeSet::new();
    for power in 0..1_000 {
        let faulty = FaultDisk::new(memory.clone());
        faulty.faults().lose_power_after(power);
        let opened = open(faulty);
        if let Ok(store) = &opened {
            assert!(allowed.contains(&store.image()), "{acknowledged} were acknowledged");
            seen.insert(store.image().version());
        }
        memory.crash();
        if opened.is_ok() {
            break;
        }
    }
    let store = open(memory.clone()).unwrap();
    seen.insert(store.image().version());
    assert_eq!(seen.len(), 1, "what was read once stays");
    assert_eq!(propose_all_after(&store), Ok(()));
}

/// The store still works.
fn propose_all_after(store: &LogMetadataStore) -> Result<(), String> {
    let ids = Command::AllocateProducerIds { count: 1 };
    store.writer.lock().propose(&ids).map(drop).map_err(|error| error.to_string())
}

#[test]
fn after_a_failed_sync_nothing_is_accepted_any_more() {
    let memory = MemDisk::default();
    let store = open(memory.clone()).unwrap();
    let [first, second, ..] = &commands()[..] else { panic!() };
    store.writer.lock().propose(first).unwrap();
    memory.fail_next_sync();
    assert!(matches!(store.writer.lock().propose(second), Err(ProposeError::Failed { .. })));
    assert!(matches!(store.writer.lock().propose(second), Err(ProposeError::Failed { .. })));
    assert_eq!(*store.image(), images()[1]);
    memory.crash();
    assert_eq!(*open(memory).unwrap().image(), images()[1]);
}

#[test]
fn a_full_disk_refuses_commands_until_there_is_space() {
    let memory = MemDisk::default();
    let faulty = FaultDisk::new(memory.clone());
    let faults = faulty.faults();
    let store = open(faulty).unwrap();
    let commands = commands();
    store.writer.lock().propose(&commands[0]).unwrap();
    faults.inject(Fault::full(Call::Write, faults.calls(Call::Write)).after_bytes(7));
    assert!(matches!(store.writer.lock().propose(&commands[1]), Err(ProposeError::Full { .. })));
    assert_eq!(*store.image(), images()[1]);
    for command in &commands[1..] {
        store.writer.lock().propose(command).unwrap();
    }
    memory.crash();
    assert_eq!(*open(memory).unwrap().image(), *images().last().unwrap());
}

#[test]
fn a_command_refused_for_lack_of_descriptors_may_be_proposed_again() {
    for call in [Call::Create, Call::Open, Call::OpenDir, Call::Write, Call::Rename] {
        for nth in 0..40 {
            let memory = MemDisk::default();
            let faulty = FaultDisk::new(memory.clone());
            let faults = faulty.faults();
            let store = open(faulty).unwrap();
            faults.inject(Fault::no_descriptors(call, faults.calls(call) + nth));
            for command in commands() {
                let refused = store.writer.lock().propose(&command).err();
                if refused.is_some_and(|error| matches!(error, ProposeError::NotWritten { .. })) {
                    store.writer.lock().propose(&command).unwrap();
                }
            }
            assert_eq!(*store.image(), *images().last().unwrap(), "{call:?} {nth}");
            memory.crash();
            assert_eq!(*open(memory).unwrap().image(), *images().last().unwrap(), "{call:?} {nth}");
        }
    }
}

#[test]
fn a_failed_snapshot_loses_no_accepted_command() {
    let images = images();
    for nth in 0..6 {
        let memory = MemDisk::default();
        let faulty = FaultDisk::new(memory.clone());
        faulty.faults().inject(Fault::full(Call::Rename, nth).from_then_on());
        let acknowledged = open(faulty).map_or(0, |store| propose_all(&store));
        memory.crash();
        let found = open(memory).unwrap().image();
        assert!(images[acknowledged] == *found || images.get(acknowledged + 1) == Some(&found), "{nth}");
    }
}

#[test]
fn topics_without_metadata_are_not_taken_for_a_new_directory() {
    let disk = MemDisk::default();
    disk.create_dir_all(&dir().join("topics/events")).unwrap();
    let error = open(disk).err().unwrap();
    insta::assert_snapshot!(error, @"/data/topics holds topics (1), but there is no metadata; the broker does not start, since topics would be lost; restore the metadata directory from a copy");
}

#[test]
fn a_snapshot_keeps_the_log_short() {
    let disk = MemDisk::default();
    let store = open(disk).unwrap();
    propose_all(&store);
    for _ in 0..20 {
        propose_all_after(&store).unwrap();
    }
    let span = store.writer.lock().log.span();
    assert!(span.end.since(span.start) <= 3, "{span:?}");
}

#[test]
fn snapshots_keep_their_bytes() {
    let image = images().into_iter().nth(5).unwrap();
    let bytes = snapshot::encode(&image);
    let hex: Vec<String> = bytes.chunks(32).map(|line| line.iter().map(|b| format!("{b:02x}")).collect()).collect();
    insta::assert_snapshot!(hex.join("\n"), @"
    47576d7300010000000000a10000001400050101010101010141018101010101
    01010100000000210101020202020202420282020202020202020e6c6f63616c
    686f73743a39303932000000420207746f7069632d3101010101010141018101
    010101010101fd00d0ca9f17030000020101000101010101010001010101010c
    726574656e74696f6e2e6d730231640000001a03020202020202420282020202
    0202020207746f7069632d32023bea1000
    ");
    assert_eq!(snapshot::decode(&bytes), Ok(image));
}

#[test]
fn a_snapshot_of_a_later_version_is_named() {
    let mut bytes = snapshot::encode(&Image::default());
    bytes[5] = 2;
    let end = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_be_bytes());
    insta::assert_snapshot!(snapshot::decode(&bytes).unwrap_err(), @"it has format 2, this program knows up to 1: use a newer Grower");
}

#[test]
fn a_refused_stored_command_stops_the_start() {
    let disk = MemDisk::default();
    let store = open(disk.clone()).unwrap();
    let twice = commands().remove(0);
    for _ in 0..2 {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(&Record { value: Some(wire::encode(&twice).into()), ..Record::default() });
        store.writer.lock().append(batch).unwrap();
    }
    store.writer.lock().sync().unwrap();
    insta::assert_snapshot!(open(disk).err().unwrap(), @"the metadata command at offset 1 is refused: the data belongs to cluster 01010101-0101-4101-8101-010101010101 already; the broker does not start, since topics would be lost; restore the metadata directory from a copy");
}
