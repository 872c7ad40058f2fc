//! A data directory with known content that a test damages between two runs of a broker.
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

use grower_broker::{Broker, BrokerConfig};
use grower_client::ids::{Offset, PartitionId, Timestamp};
use grower_client::{Client, ConsumeError, OffsetSpec, Record, StartFrom, TopicSpec, transport};
use grower_storage::compaction::{Compaction, CompactionPolicy};
use grower_storage::disk::FileDisk;
use grower_storage::log::{DirectoryOwner, DiskLog, Log, LogFiles, LogLocation, LogOptions};
use grower_storage::repair::{Acceptance, accept_loss};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Longer than anything takes here; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(30);

/// All small files that a partition may have.
pub(crate) const SMALL_FILES: [&str; 7] = [
    "checkpoint",
    "producers.snapshot",
    "producers.snapshot.previous",
    "leader-epochs",
    "partition.meta",
    "compaction",
    "accepted-losses",
];

/// Records in each partition; three segments.
pub(crate) const RECORDS: u64 = 10;

pub(crate) const GROUP: &str = "readers";

/// Two partitions of `RECORDS` batches of one record, in segments of four, and a group that has committed 3 in each.
pub(crate) struct Tampered {
    pub(crate) dir: TempDir,
    /// The records of partition 0 before any damage.
    pub(crate) whole: Vec<String>,
    /// All files as the clean stop left them.
    before: BTreeMap<PathBuf, Vec<u8>>,
}

pub(crate) struct Served {
    pub(crate) broker: Broker,
    pub(crate) client: Client,
}

impl Tampered {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let served = Served::start(dir.path()).await.unwrap();
        let spec = TopicSpec::partitions(2).config("segment.messages", "4").config("index.interval.bytes", "1KiB");
        served.client.admin().create_topic("events", spec).await.unwrap();
        let producer = served.client.producer().build().await.unwrap();
        for partition in 0..2 {
            for number in 0..RECORDS {
                let record = Record::new("events").value(line(partition, number)).partition(partition);
                producer.send(record).await.unwrap();
            }
        }
        let committed = [("events", 0, Offset::new(3)), ("events", 1, Offset::new(3))];
        served.client.admin().reset_group(GROUP, committed).await.unwrap();
        served.broker.stop().await.unwrap();
        let before = files(dir.path());
        Self { dir, whole: all(), before }
    }

    /// The same, but partition 0 was compacted, and its record 5 is an accepted loss: it has every small file there is.
    pub(crate) async fn with_a_past() -> Self {
        let world = Self::new().await;
        let disk = Arc::new(FileDisk::new(world.dir.path()));
        let dir = world.path("topics/events/0");
        let DirectoryOwner::Topic(topic_id) = DiskLog::owner(&*disk, &dir).unwrap() else { panic!("it is a topic's") };
        let place = LogLocation { dir: dir.clone(), topic_id, partition: PartitionId::new(0), cut_dir: None };
        let options = LogOptions { segment_bytes: 4_000, ..LogOptions::default() }; // No segment takes two of them.
        let (mut log, _) = DiskLog::open(disk.clone(), place, options, Timestamp::default()).unwrap();
        let policy =
            CompactionPolicy { min_dirty_permille: 0, min_lag_ms: 0, delete_retention_ms: 0, keys_bytes: 1 << 20 };
        let pass = Compaction::due(&log, &policy, Offset::MAX, Timestamp::MAX).expect("a pass is due");
        let mut pass = pass.survey(&|_| true).unwrap();
        while let Some(done) = pass.step(&|_| true).unwrap() {
            assert!(log.publish(done).unwrap());
        }
        log.checkpoint(Timestamp::default()).unwrap();
        drop(log);
        edit(&world.log(4), |bytes| bytes[world.batch(5).end - 1] ^= 1);
        let acceptance = Acceptance { by: "ada".into(), at: Timestamp::default() };
        let lost = Offset::new(5)..Offset::new(6);
        let losses = accept_loss(&*disk, &dir, &world.path("cut"), &[lost], &acceptance).unwrap();
        assert_eq!(losses.len(), 1);
        let whole = all().into_iter().filter(|offset| offset != "5").collect();
        let before = files(world.dir.path());
        Self { before, whole, ..world }
    }

    /// One that has a small file of this name.
    pub(crate) async fn with(name: &str) -> Self {
        if matches!(name, "compaction" | "accepted-losses") { Self::with_a_past().await } else { Self::new().await }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of partition 0.
    pub(crate) fn log(&self, base: u64) -> PathBuf {
        self.path(&format!("topics/events/0/{base:020}.growerlog"))
    }

    pub(crate) fn index(&self, base: u64) -> PathBuf {
        self.path(&format!("topics/events/0/{base:020}.growerindex"))
    }

    /// Where the batch of a record of partition 0 lies in its file.
    pub(crate) fn batch(&self, offset: u64) -> std::ops::Range<usize> {
        let bytes = &self.before[&self.log(offset / 4 * 4)];
        let mut at = 0;
        for _ in 0..offset % 4 {
            at += length(&bytes[at..]);
        }
        at..at + length(&bytes[at..])
    }

    /// Starts the broker again, which must go well.
    pub(crate) async fn served(&self) -> Served {
        Served::start(self.dir.path()).await.unwrap()
    }

    /// Starts the broker again, which must not go well, and returns the reason.
    pub(crate) async fn refused(&self) -> String {
        let started = Served::start(self.dir.path()).await;
        started.err().expect("the broker does not start")
    }

    /// Existing files keep their content: new files may come, temporary files and indexes may change, but no record
    /// is removed.
    pub(crate) fn assert_nothing_deleted(&self, tampered: &BTreeMap<PathBuf, Vec<u8>>) {
        let after = files(self.dir.path());
        for (path, bytes) in tampered {
            let name = path.strip_prefix(self.dir.path()).unwrap().display();
            let found = after.get(path).unwrap_or_else(|| panic!("{name} is gone"));
            if path.extension().is_some_and(|extension| extension == "growerlog") {
                assert!(found.starts_with(bytes), "{name} was changed");
            }
        }
    }

    /// All files as they are now.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(self.dir.path())
    }
}

impl Served {
    async fn start(dir: &Path) -> Result<Self, String> {
        let config =
            BrokerConfig { listen: None, http: None, disk_reserve_bytes: Some(1 << 20), ..BrokerConfig::at(dir) };
        let broker = Broker::start(config).await.map_err(|error| error.to_string())?;
        let transport = transport::in_process(broker.connector());
        let client = Client::builder().transport(transport).bootstrap(["here"]).connect().await.unwrap();
        Ok(Self { broker, client })
    }

    /// The records of a partition as a consumer gets them: offsets as numbers, damage as ranges.
    pub(crate) async fn read(&self, partition: u32) -> Vec<String> {
        let end = self.end(partition).await;
        let (mut got, mut next) = (Vec::new(), 0);
        while next < end {
            let from = StartFrom::Offset(Offset::new(next));
            let builder = self.client.consumer().assign([("events", partition)]).from(from).max_poll_records(1);
            let mut consumer = builder.build().await.unwrap();
            match consumer.poll(LONG).await {
                Ok(records) => {
                    let [record] = records.as_slice() else { panic!("nothing comes at {next}") };
                    let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
                    next = record.offset.value() + 1;
                    got.push(if text == line(partition, next - 1) { (next - 1).to_string() } else { text });
                }
                Err(ConsumeError::Damaged { offsets, .. }) => {
                    got.push(format!("damaged {}..{}", offsets.start, offsets.end));
                    next = offsets.end.value();
                }
                Err(error) => panic!("{error}"),
            }
            consumer.close().await.unwrap();
        }
        got
    }

    pub(crate) async fn end(&self, partition: u32) -> u64 {
        let wanted = [("events", PartitionId::new(partition), OffsetSpec::End)];
        let listed = self.client.admin().list_offsets(wanted).await.unwrap();
        listed.into_iter().next().unwrap().unwrap().offset.unwrap().value()
    }

    /// Checks that the other partition and the group are unaffected, and that both partitions take appends.
    pub(crate) async fn assert_the_rest_is_whole(&self) {
        assert_eq!(self.read(1).await, all(), "partition 1");
        let group = self.client.admin().describe_group(GROUP).await.unwrap();
        assert!(group.offsets.iter().map(|stored| stored.offset.value()).eq([3, 3]), "{:?}", group.offsets);
        let producer = self.client.producer().build().await.unwrap();
        for partition in 0..2 {
            let end = self.end(partition).await;
            let record = Record::new("events").value(line(partition, end)).partition(partition);
            let ack = producer.send(record).await.unwrap();
            assert_eq!(ack.offset, Some(Offset::new(end)), "no offset is given twice");
        }
    }
}

/// The records of an undamaged partition.
pub(crate) fn all() -> Vec<String> {
    (0..RECORDS).map(|offset| offset.to_string()).collect()
}

/// The same, but for a stretch that is told as damaged.
pub(crate) fn all_but(damaged: std::ops::Range<u64>) -> Vec<String> {
    let before = (0..damaged.start).map(|offset| offset.to_string());
    let told = [format!("damaged {}..{}", damaged.start, damaged.end)];
    before.chain(told).chain((damaged.end..RECORDS).map(|offset| offset.to_string())).collect()
}

fn line(partition: u32, number: u64) -> String {
    let padding = ".".repeat(700 + number as usize);
    format!("partition {partition} line {number} {padding}")
}

/// The batch that begins here.
fn length(bytes: &[u8]) -> usize {
    12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Changes a file's bytes.
pub(crate) fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
