use super::*;
use crate::logs::{Logs, PartitionIdentity};
use grower_protocol::batch::{BatchBuilder, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LeaderEpoch, PartitionId, Timestamp};
use grower_storage::disk::{Call, Disk, Fault, FaultDisk, Faults, MemDisk};
use grower_storage::log::{Log, LogOptions};
use std::sync::Arc;

const PARTITIONS: u32 = 2;

struct World {
    memory: MemDisk,
    faults: Faults,
    logs: DiskLogs,
    name: TopicName,
}

impl World {
    fn new() -> Self {
        let memory = MemDisk::default();
        memory.create_dir_all(Path::new("/data/topics")).unwrap();
        memory.sync_dir(Path::new("/data")).unwrap();
        let faulty = FaultDisk::new(memory.clone());
        let faults = faulty.faults();
        let logs = DiskLogs::new(Arc::new(faulty), "/data".into()).unwrap();
        logs.opened(&BTreeSet::new()).unwrap();
        Self { memory, faults, logs, name: TopicName::new("events").unwrap() }
    }

    /// A record in each partition.
    fn fill(&self) {
        for partition in (0..PARTITIONS).map(PartitionId::new) {
            let mut log = self.open(partition);
            log.append(record(), LeaderEpoch::new(1), Timestamp::default()).unwrap();
            log.checkpoint(Timestamp::default()).unwrap();
        }
    }

    fn open(&self, partition: PartitionId) -> Box<dyn Log> {
        let partition = PartitionIdentity { topic: topic(), name: self.name.clone(), partition };
        self.logs.open(&partition, LogOptions::tiny(), Timestamp::default()).unwrap()
    }

    /// One look of the reconcile loop; whether the metadata may forget the topic.
    fn look(&self, name_is_free: bool) -> bool {
        let deleted = DeletedLogs { topic: topic(), name: &self.name, partitions: PARTITIONS, name_is_free };
        let moved = self.logs.move_deleted(&deleted).is_ok();
        self.logs.purge_deleted(&|_| false).is_ok_and(|left| moved && !left.contains(&topic()))
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let entries = self.memory.list(Path::new(dir)).unwrap_or_default();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    /// All files, apart from the list of partitions that have had records.
    fn files(&self) -> Vec<String> {
        let files = self.memory.files().into_iter().map(|path| path.display().to_string());
        files.filter(|path| !path.starts_with("/data/begun")).collect()
    }
}

fn topic() -> TopicId {
    TopicId::from_random([7; 16])
}

fn record() -> UnplacedBatch {
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(&Record { value: Some("x".into()), ..Record::default() });
    UnplacedBatch::built(batch.build(None))
}

#[test]
fn a_finished_deletion_stays_done_after_a_crash_and_temporary_errors() {
    for name_is_free in [false, true] {
        for call in [Call::OpenDir, Call::Rename, Call::Remove, Call::List, Call::CreateDir] {
            let mut failed = 0;
            for nth in 0..12 {
                let world = World::new();
                world.fill();
                world.faults.inject(Fault::no_descriptors(call, world.faults.calls(call) + nth));
                let looks = (1..10).find(|_| world.look(name_is_free)).expect("it comes to an end");
                failed += usize::from(1 < looks);
                world.memory.crash();
                assert_eq!(world.files(), [""; 0], "{call:?} {nth}, name free: {name_is_free}");
            }
            assert!(0 < failed || call == Call::CreateDir, "{call:?} fails a look");
        }
    }
}

#[test]
fn a_partition_with_an_interrupted_first_append_leaves_no_files() {
    for call in [Call::Create, Call::Write, Call::Rename] {
        let world = World::new();
        let mut log = world.open(PartitionId::new(1));
        world.faults.inject(Fault::full(call, world.faults.calls(call)).from_then_on());
        log.append(record(), LeaderEpoch::new(1), Timestamp::default()).unwrap_err();
        world.faults.heal();
        assert_eq!(world.names("/data/topics/events"), ["1"], "{call:?}");
        assert!(world.look(true));
        assert_eq!((world.names("/data/quarantine"), world.names("/data/topics")), (vec![], vec![]), "{call:?}");
    }
}

#[test]
fn a_partition_without_identity_is_moved_to_quarantine() {
    let world = World::new();
    world.fill();
    world.memory.remove_file(Path::new("/data/topics/events/1/partition.meta")).unwrap();
    assert!(world.look(true));
    assert_eq!(world.names("/data/quarantine"), ["events-1-0"]);
    assert!(world.names("/data/quarantine/events-1-0").iter().any(|name| name.ends_with(".growerlog")));
}
