//! A small data directory with every kind of data on disk, made by the present broker.
//!
//! `events` was trimmed, `gone` deleted, `profiles` compacted, a damaged record of `worn` accepted as lost; a setting was changed;
//! group `readers` has committed, and the static member of `workers` is detached. There was a backup, a snapshot of the
//! metadata, and a trim and another setting after it. Most of it happens in memory, since the snapshot is due after a
//! thousand commands.

use crate::support::raw::config_at;
use grower_broker::metadata::{Command, LogMetadataStore, MetadataStore};
use grower_broker::offline::repair::{Acceptance, DirectoryRepair, survey};
use grower_broker::{Broker, BrokerConfig, Clock, SystemClock};
use grower_client::ids::{Offset, PartitionId};
use grower_client::{BackupState, Client, Record, TopicSpec, transport};
use grower_storage::disk::{Disk, MemDisk};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const DATA: &str = "/data";
/// The settings that were changed while the broker ran.
pub(crate) const SETTINGS: [(&str, &str); 2] = [("disk.flush_delay", "7ms"), ("disk.retention_check", "29s")];

/// Longer than anything takes on a busy machine; only a failure waits so long.
const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Run {
    pub(crate) broker: Broker,
    pub(crate) client: Client,
}

impl Run {
    /// On real files.
    pub(crate) async fn on(dir: &Path) -> Self {
        Self::of(Broker::start(config_at(dir)).await.unwrap()).await
    }

    async fn in_memory(disk: &MemDisk) -> Self {
        let config = BrokerConfig { backup_dir: Some("/backups".into()), ..config_at(Path::new(DATA)) };
        Self::of(Broker::builder(config).disk(Arc::new(disk.clone())).start().await.unwrap()).await
    }

    async fn of(broker: Broker) -> Self {
        let client = Client::builder().transport(transport::in_process(broker.connector())).bootstrap(["here"]);
        let client = client.connect().await.unwrap();
        Self { broker, client }
    }

    pub(crate) async fn stop(self) {
        drop(self.client);
        self.broker.stop().await.unwrap();
    }

    async fn create(&self, name: &str, partitions: u32, configs: &[(&str, &str)]) {
        let spec = TopicSpec::partitions(partitions).config("retention.ms", "-1");
        let spec = configs.iter().fold(spec, |spec, (key, value)| spec.config(*key, *value));
        self.client.admin().create_topic(name, spec).await.unwrap();
    }

    /// One batch a record, `key value` each.
    async fn produce(&self, topic: &str, records: impl Iterator<Item = (&str, u32)>) {
        let producer = self.client.producer().linger(Duration::ZERO).build().await.unwrap();
        for (key, value) in records {
            let record = Record::new(topic).key(key.to_owned()).value(format!("{key} {value}"));
            producer.send(record.partition(PartitionId::new(0))).await.unwrap();
        }
        producer.close().await.unwrap();
    }
}

/// Makes it in an empty directory.
pub(crate) async fn make(dir: &Path) {
    let disk = MemDisk::default();
    let run = Run::in_memory(&disk).await;
    fill_topics(&run).await;
    remember_groups(&run).await;
    run.stop().await;
    propose_up_to(&disk, 980).await;
    let run = Run::in_memory(&disk).await;
    back_up(&run).await; // It ends the metadata's segment, so that the snapshot can do without it.
    run.stop().await;
    propose_up_to(&disk, 1_000).await;
    copy_out(&disk, dir);
    accept_the_loss_of_a_record(dir);
    let run = Run::on(dir).await;
    change(&run, SETTINGS[1], 3).await;
    run.stop().await;
    fs::remove_file(dir.join("LOCK")).unwrap();
}

async fn fill_topics(run: &Run) {
    let admin = run.client.admin();
    run.create("events", 2, &[("segment.messages", "4")]).await;
    run.produce("events", (0..10).map(|number| ("event", number))).await;
    change(run, SETTINGS[0], 2).await;
    run.create("gone", 1, &[]).await;
    run.produce("gone", [("nothing", 1)].into_iter()).await;
    admin.delete_topic("gone").await.unwrap();
    run.create("worn", 1, &[("segment.messages", "3")]).await;
    run.produce("worn", (0..5).map(|number| ("record", number))).await;

    let compacted = [("cleanup.policy", "compact"), ("segment.messages", "4"), ("min.cleanable.dirty.ratio", "0.1")];
    run.create("profiles", 1, &compacted).await;
    run.produce("profiles", (0..14).map(|number| (["ann", "bob"][number as usize % 2], number))).await;
    let shrunk = async {
        while 4 <= admin.describe_topic("profiles", true).await.unwrap().partitions[0].segments.len() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, shrunk).await.expect("the topic is compacted");
}

/// Once for the snapshot to hold, and once for the log after it.
async fn change(run: &Run, (key, value): (&str, &str), trimmed: u64) {
    let admin = run.client.admin();
    admin.alter_settings([(key, Some(value.to_owned()))]).await.unwrap();
    admin.trim_topic("events", [(0, Offset::new(trimmed))]).await.unwrap();
}

async fn remember_groups(run: &Run) {
    run.client.admin().reset_group("readers", [("events", 0, Offset::new(7))]).await.unwrap();
    let member = run.client.consumer().group("workers").instance("first").subscribe(["events"]);
    let mut member = member.session_timeout(Duration::from_secs(1_800)).build().await.unwrap();
    assert!(!member.poll(LONG).await.unwrap().is_empty());
    member.close().await.unwrap(); // With a name of its own, it keeps its partitions.
}

async fn propose_up_to(disk: &MemDisk, version: u64) {
    let store = LogMetadataStore::open(Arc::new(disk.clone()), Path::new(DATA), Arc::new(SystemClock)).unwrap();
    while store.image().version() < version {
        store.propose(Command::AllocateProducerIds { count: 1 }).await.unwrap();
    }
}

async fn back_up(run: &Run) {
    let admin = run.client.admin();
    admin.begin_backup("nightly", false).await.unwrap();
    loop {
        match admin.describe_backup().await.unwrap().map(|backup| backup.state) {
            Some(BackupState::Made(_)) => return,
            Some(BackupState::Failed(failure)) => panic!("{failure}"),
            _ => tokio::task::yield_now().await,
        }
    }
}

fn copy_out(disk: &MemDisk, dir: &Path) {
    for path in disk.files() {
        let Ok(name) = path.strip_prefix(DATA) else { continue };
        let to = dir.join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, disk.map(&path).unwrap().as_ref()).unwrap();
    }
}

/// A byte of the second of three batches is not what it was; then its loss is accepted.
fn accept_the_loss_of_a_record(dir: &Path) {
    let log = dir.join("topics/worn/0/00000000000000000000.growerlog");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    let ranges: Vec<_> = survey(dir, |_| {}).unwrap().lost.into_iter().map(|(range, _)| range).collect();
    let acceptance = Acceptance { by: "the fixture".to_owned(), at: SystemClock.wall() };
    DirectoryRepair::open(dir).unwrap().accept_loss(&ranges, &acceptance).unwrap();
}
