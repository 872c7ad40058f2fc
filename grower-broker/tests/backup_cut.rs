//! Consistency of backups: a restored backup is consistent, whatever happens between its steps.
//!
//! Before each partition is held, a producer with an id of a new block writes a record, and its offset is committed.
//! In another order of steps the group would point past its log, or an id would be allocated twice.

mod support {
    pub mod raw;
}

use grower_broker::offline::{self, backups};
use grower_broker::{Broker, BrokerConfig};
use grower_protocol::batch::{BatchReader, ProducerStamp};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{GroupId, Offset, ProducerEpoch, ProducerId, Sequence, TopicId, TopicName};
use grower_protocol::message::*;
use grower_storage::disk::{Call, FaultDisk, FileDisk};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use support::raw::*;
use tokio::io::DuplexStream;
use tokio::runtime::Handle;

/// More ids than a block has.
const IDS: usize = 1_001;
const DOOMED: &str = "zz-doomed";

/// The load while the backup is made.
struct World {
    client: Raw<DuplexStream>,
    events: TopicId,
    steps: usize,
    /// Deletes a topic, once the groups are held.
    killer: Option<Raw<DuplexStream>>,
}

impl World {
    /// A record of a new producer, and a commit that says it was read.
    async fn step(&mut self, groups_are_held: bool) {
        self.steps += 1;
        let id = new_ids(&mut self.client).await.pop().unwrap();
        let stamp = ProducerStamp { id, epoch: ProducerEpoch::new(0), base_sequence: Some(Sequence::ZERO) };
        let produced = self.client.produce(self.events, Acks::All, &batch_of(Codec::None, &["x"], Some(stamp))).await;
        let offset = Offset::new(produced.unwrap().base_offset.value() + 1);
        let offset = OffsetToCommit {
            topic: self.events,
            partition: PARTITION,
            offset,
            leader_epoch: None,
            metadata: String::new(),
        };
        let commit = OffsetCommit {
            group: group(),
            committer: CommitterIdentity::Anonymous,
            sequence: 0,
            offsets: vec![offset],
        };
        let answer = self.client.ask(&Request::CommitOffsets(commit)).await;
        assert!(matches!(&answer, Response::CommitOffsets(parts) if parts[0].is_ok()), "{answer:?}");
        if groups_are_held && let Some(mut killer) = self.killer.take() {
            killer.send(&Request::DeleteTopic(TopicName::new(DOOMED).unwrap()), &[]).await;
            new_ids(&mut self.client).await; // Time enough, were it allowed to.
        }
    }
}

fn group() -> GroupId {
    GroupId::new("g").unwrap()
}

async fn new_ids(client: &mut Raw<DuplexStream>) -> Vec<ProducerId> {
    let mut ids = Vec::with_capacity(IDS);
    while ids.len() < IDS {
        match client.ask(&Request::InitProducer(InitProducer::default())).await {
            Response::InitProducer(identity) => ids.push(identity.id),
            other => panic!("{other:?}"),
        }
    }
    ids
}

async fn make_backup(client: &mut Raw<DuplexStream>) -> BackupMade {
    let mut asked = client.ask(&Request::BeginBackup { dir: "nightly".to_owned(), full: false }).await;
    loop {
        let Response::DescribeBackup(Some(backup)) = asked else { panic!("{asked:?}") };
        match backup.state {
            BackupState::Running => asked = client.ask(&Request::DescribeBackup).await,
            BackupState::Made(made) => return made,
            BackupState::Failed(failure) => panic!("{failure}"),
        }
    }
}

/// Makes a backup in the midst of it all. How many steps there were.
async fn backed_up(data: &Path, root: &Path) -> (BackupMade, usize) {
    let disk = FaultDisk::new(FileDisk::new(data));
    let faults = disk.faults();
    let config = BrokerConfig { backup_dir: Some(root.to_owned()), ..config_at(data) };
    let broker = Broker::builder(config).disk(Arc::new(disk)).start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let doomed = client.create_topic(DOOMED, 1, &[]).await;
    client.produce(doomed, Acks::All, &batch(&["doomed"])).await.unwrap();
    let events = client.create_topic("events", 1, &[]).await;
    let killer = Some(Raw::open(broker.connect()).await);
    let mut world = World { client, events, steps: 0, killer };
    world.step(false).await; // All directories are there.
    let world = Arc::new(Mutex::new(world));
    let (stepping, runtime, data) = (world.clone(), Handle::current(), data.to_owned());
    let looked_at = Mutex::new(BTreeSet::new());
    faults.rule(move |call, paths| {
        // The backup looks whether the partition has files, before it takes any lock of it.
        let partition = paths[0].strip_prefix(data.join("topics")).ok();
        if let Some(partition) = partition.filter(|_| call == Call::List && data.join("backup.unfinished").exists())
            && looked_at.lock().unwrap().insert(partition.to_owned())
        {
            let groups_are_held = !partition.starts_with("__consumer_offsets");
            runtime.block_on(stepping.lock().unwrap().step(groups_are_held));
        }
        None
    });
    let made = make_backup(&mut Raw::open(broker.connect()).await).await;
    faults.heal();
    let steps = world.lock().unwrap().steps;
    assert!(world.lock().unwrap().killer.is_none(), "the groups' topic was held before something else");
    broker.stop().await.unwrap();
    (made, steps)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_is_consistent_whatever_happens_between_its_steps() {
    let dir = tempfile::tempdir().unwrap();
    let (root, restored) = (dir.path().join("backups"), dir.path().join("restored"));
    let (made, steps) = backed_up(&dir.path().join("data"), &root).await;
    assert!(5 < steps, "{steps}: the backup looks at its partitions otherwise");
    backups::restore(made.path.as_ref(), &restored, |_| {}).unwrap();
    assert_eq!(offline::verify(&restored, |_| {}).unwrap().findings, []);

    let broker = Broker::start(config_at(&restored)).await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let topics = topics(&mut client).await;
    let stored: BTreeSet<String> = restored
        .join("topics")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(topics.iter().map(|topic| topic.name.to_string()).collect::<BTreeSet<_>>(), stored);
    let id = |name: &str| topics.iter().find(|topic| topic.name.as_str() == name).unwrap().id;
    assert_eq!(client.values(id(DOOMED), 0).await, ["doomed"], "no topic goes while the backup is made");

    let (parts, records) = client.fetch(fetch_from(id("events"), 0)).await;
    let end = parts[0].as_ref().unwrap().high_watermark;
    let committed = committed(&mut client).await;
    assert!(committed <= end, "{committed} is committed, {end} is the end");
    let producers: BTreeSet<ProducerId> =
        BatchReader::new(records).filter_map(|batch| Some(batch.unwrap().header().producer?.id)).collect();
    assert_eq!(producers.len() as u64, end.value());
    let again: Vec<_> = new_ids(&mut client).await.into_iter().filter(|id| producers.contains(id)).collect();
    assert_eq!(again, [], "no producer id is handed out twice");
    broker.stop().await.unwrap();
}

async fn topics(client: &mut Raw<DuplexStream>) -> Vec<TopicMetadata> {
    match client.ask(&Request::Metadata(Metadata { topics: None, create_missing: false })).await {
        Response::Metadata(answer) => answer.topics.into_iter().map(Result::unwrap).collect(),
        other => panic!("{other:?}"),
    }
}

async fn committed(client: &mut Raw<DuplexStream>) -> Offset {
    match client.ask(&Request::DescribeGroup(group())).await {
        Response::DescribeGroup(described) => described.offsets[0].offset,
        other => panic!("{other:?}"),
    }
}
