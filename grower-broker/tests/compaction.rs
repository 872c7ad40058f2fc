//! Compacted topics by the SDK: readers see the last value of each key, also after `kill -9` of the daemon while it
//! compacts.

mod support {
    pub(crate) mod chance;
    pub(crate) mod daemon;
}

use grower_broker::{Broker, BrokerConfig};
use grower_client::{Client, ProduceError, Producer, Record, TopicSpec};
use grower_protocol::ids::Offset;
use grower_storage::disk::FileDisk;
use grower_storage::verify::verify;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use support::chance::Chance;
use support::daemon::Daemon;

const TOPIC: &str = "profiles";
const KEYS: u64 = 40;
/// Longer than anything takes on a busy machine; only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(60);

fn spec() -> TopicSpec {
    let tiny = TopicSpec::partitions(1).config("segment.bytes", "8KiB").config("cleanup.policy", "compact");
    tiny.config("min.cleanable.dirty.ratio", "0.1").config("delete.retention.ms", "0")
}

/// The newest record of a key: where it is, and its value; a tombstone has none.
type Newest = BTreeMap<String, (u64, Option<String>)>;

/// Sends one record for each of some keys; what was acknowledged is noted.
async fn put(producer: &Producer, round: u64, acked: &mut Newest) -> Result<(), ProduceError> {
    let mut sent = Vec::new();
    for key in (0..KEYS).filter(|key| !(key + round).is_multiple_of(3)) {
        let (key, value) = (format!("k{key}"), !(key + round).is_multiple_of(7));
        let value = value.then(|| format!("{round} {}", "v".repeat(60)));
        let record = Record::new(TOPIC).key(key.clone());
        let record = value.clone().into_iter().fold(record, |record, value| record.value(value));
        sent.push((key, value, producer.enqueue(record).await?));
    }
    for (key, value, delivery) in sent {
        let offset = delivery.await?.offset.expect("acks say where").value();
        acked.insert(key, (offset, value));
    }
    Ok(())
}

/// Reads the topic from its beginning to where it ends now; the newest record of each key, and how many there were.
async fn read_all(client: &Client) -> (Newest, usize) {
    let end = client.admin().describe_topic(TOPIC, false).await.unwrap().partitions[0].high_watermark;
    let mut consumer = client.consumer().assign([(TOPIC, 0)]).build().await.unwrap();
    let (mut newest, mut count, mut next) = (Newest::new(), 0, Offset::ZERO);
    while next < end {
        let record = consumer.next().await.unwrap().unwrap();
        assert!(next <= record.offset, "offsets rise");
        next = record.offset.saturating_add(1);
        let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        newest.insert(record.key.map(text).unwrap(), (record.offset.value(), record.value.map(text)));
        count += 1;
    }
    (newest, count)
}

/// Nothing that was acknowledged is older than what is read, or missing; nothing that was deleted is back.
fn check(acked: &Newest, found: &Newest) {
    for (key, (offset, value)) in acked {
        match (found.get(key), value) {
            (Some((at, found)), value) if at == offset => assert_eq!(found, value, "{key}"),
            (Some((at, _)), _) => assert!(offset < at, "{key}: {at} is read, {offset} was acknowledged"),
            (None, None) => {}
            (None, Some(_)) => panic!("{key} is lost"),
        }
    }
}

async fn log_bytes(client: &Client) -> u64 {
    client.admin().describe_topic(TOPIC, false).await.unwrap().partitions[0].bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_the_last_value_of_each_key() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerConfig { disk_reserve_bytes: Some(1 << 20), ..BrokerConfig::at(dir.path()) })
        .await
        .unwrap();
    let client = Client::builder().transport(grower_client::transport::in_process(broker.connector()));
    let client = client.bootstrap(["here"]).connect().await.unwrap();
    client.admin().create_topic(TOPIC, spec()).await.unwrap();
    let producer = client.producer().linger(Duration::ZERO).build().await.unwrap();
    let error = producer.send(Record::new(TOPIC).value("without a key")).await.unwrap_err();
    assert!(error.to_string().contains("key"), "{error}");
    let (mut acked, mut written) = (Newest::new(), 0);
    for round in 0..30 {
        put(&producer, round, &mut acked).await.unwrap();
        written += 26;
    }
    // The last segment is never compacted; of the others little must be left.
    let shrunk = async {
        while 40_000 < log_bytes(&client).await {
            put(&producer, 30, &mut acked).await.unwrap();
        }
    };
    tokio::time::timeout(DEADLINE, shrunk).await.expect("the log shrinks");
    let (found, count) = read_all(&client).await;
    check(&acked, &found);
    assert!(count < written, "{count} of {written} records are left");
    producer.close().await.unwrap();
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_during_compaction_lose_nothing_and_restore_nothing() {
    let (dir, mut chance) = (tempfile::tempdir().unwrap(), Chance::new());
    let mut acked = Newest::new();
    for cycle in 0..12 {
        let daemon = Daemon::start(dir.path(), &[]);
        let client = Client::connect(daemon.listen.to_string()).await.unwrap();
        if cycle == 0 {
            client.admin().create_topic(TOPIC, spec()).await.unwrap();
        }
        check(&acked, &read_all(&client).await.0);
        let producer = client.producer().linger(Duration::ZERO).build().await.unwrap();
        for round in 0..chance.within(4..16) {
            put(&producer, cycle * 100 + round, &mut acked).await.unwrap();
        }
        tokio::time::sleep(chance.micros(0..20_000)).await; // Any moment of the compaction that the rolls began.
        daemon.kill9();
        let partition = dir.path().join("topics").join(TOPIC).join("0");
        let verified = verify(&FileDisk::new(dir.path()), Path::new(&partition), |_| {}).unwrap();
        assert!(verified.findings.is_empty(), "what a kill leaves is sound: {:?}", verified.findings);
    }
    let daemon = Daemon::start(dir.path(), &[]);
    let client = Client::connect(daemon.listen.to_string()).await.unwrap();
    check(&acked, &read_all(&client).await.0);
}
