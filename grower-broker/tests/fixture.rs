//! Data directories of earlier versions: every later version opens them and finds the same data.
//!
//! In `data-v1` topic `events` has two records of each codec in partition 0 (three records a segment) and one in
//! partition 1; topic `gone` was deleted; group `readers` has read everything. The content of `data-v1-full-life` is
//! described in `full_life`, which made it, and makes it again for each run of these tests; `GROWER_FIXTURE=DIR cargo
//! test -p grower-broker --test fixture` makes one to keep. To make one for a new format, or for a new kind of file,
//! add another directory: none of them is ever replaced.

mod support {
    pub(crate) mod full_life;
    pub(crate) mod raw;
}

use grower_broker::{Broker, offline};
use grower_protocol::ids::{GroupId, TopicName};
use grower_protocol::message::*;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::full_life::{self, Run};
use support::raw::*;
use tempfile::TempDir;

const KEPT: [&str; 2] = ["data-v1", "data-v1-full-life"];

fn copied(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name), dir.path());
    dir
}

#[tokio::test]
async fn data_of_the_first_version_is_still_readable() {
    let dir = copied("data-v1");
    let broker = Broker::start(config_at(dir.path())).await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let Response::Metadata(metadata) = client.ask(&Request::Metadata(Metadata::default())).await else { panic!() };
    let topics: Vec<_> = metadata.topics.into_iter().map(Result::unwrap).collect();
    let names: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, ["__consumer_offsets", "events"]);
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    let lines: Vec<String> = codecs.iter().flat_map(|codec| [format!("{codec} 1"), format!("{codec} 2")]).collect();
    let mut found = Vec::new();
    while found.len() < lines.len() {
        found.extend(client.values(topics[1].id, found.len() as u64).await);
    }
    assert_eq!(found, lines);
    let wanted = Request::FetchOffsets { group: GroupId::new("readers").unwrap(), partitions: None };
    let Response::FetchOffsets(offsets) = client.ask(&wanted).await else { panic!() };
    let offsets: Vec<_> = offsets.iter().map(|o| (o.partition.value(), o.offset.value())).collect();
    assert_eq!(offsets, [(0, 10), (1, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_a_full_life_is_still_readable() {
    holds_a_full_life(copied("data-v1-full-life").path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_life_leaves_the_same_today() {
    let new = tempfile::tempdir().unwrap();
    full_life::make(new.path()).await;
    if let Some(kept) = std::env::var_os("GROWER_FIXTURE") {
        copy_dir(new.path(), Path::new(&kept));
    }
    holds_a_full_life(new.path()).await;
}

async fn holds_a_full_life(dir: &Path) {
    for file in ["metadata/image.snapshot", "topics/profiles/0/compaction", "topics/worn/0/accepted-losses"] {
        assert!(dir.join(file).exists(), "{file}");
    }
    let run = Run::on(dir).await;
    let admin = run.client.admin();
    assert!(admin.describe_topic("gone", false).await.is_err());
    let numbered = |key: &str, numbers: &[u64]| numbers.iter().map(|n| format!("{key} {n}")).collect::<Vec<_>>();
    assert_eq!(values(&run, "events").await, numbered("event", &[3, 4, 5, 6, 7, 8, 9]));
    assert_eq!(values(&run, "worn").await, numbered("record", &[0, 2, 3, 4]));
    let profiles = values(&run, "profiles").await;
    assert!(profiles.len() < 14 && profiles.ends_with(&["ann 12".to_owned(), "bob 13".to_owned()]), "{profiles:?}");

    let losses = admin.list_losses("worn").await.unwrap();
    let losses: Vec<_> = losses.iter().map(|loss| (loss.start.value(), loss.end.value(), loss.by.as_str())).collect();
    assert_eq!(losses, [(1, 2, "the fixture")]);
    let settings = admin.describe_settings().await.unwrap();
    for (key, value) in full_life::SETTINGS {
        assert!(settings.iter().any(|setting| setting.key == key && setting.value.as_deref() == Some(value)), "{key}");
    }
    let readers = admin.describe_group("readers").await.unwrap();
    assert_eq!(readers.offsets.iter().map(|of| of.offset.value()).collect::<Vec<_>>(), [7]);
    let workers = admin.describe_group("workers").await.unwrap();
    let instances: Vec<_> = workers.members.iter().map(|member| member.instance.as_deref()).collect();
    assert_eq!(instances, [Some("first")]);
    assert_eq!(workers.members[0].holds.len(), 2, "its partitions wait for it");
    run.stop().await;
}

/// All values of partition 0, of batches of one record.
async fn values(run: &Run, topic: &str) -> Vec<String> {
    let partition = run.client.admin().describe_topic(topic, false).await.unwrap().partitions.swap_remove(0);
    let mut consumer = run.client.consumer().assign([(topic, 0)]).build().await.unwrap();
    let (mut values, mut next) = (Vec::new(), partition.log_start);
    while next < partition.high_watermark {
        let records = consumer.poll(Duration::from_secs(60)).await.unwrap();
        next = records.last().expect("there are more").offset.saturating_add(1);
        values.extend(records.into_iter().map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
    }
    values
}

#[tokio::test]
async fn they_can_be_written_to() {
    for name in KEPT {
        let dir = copied(name);
        let broker = Broker::start(config_at(dir.path())).await.unwrap();
        let mut client = Raw::open(broker.connect()).await;
        let asked = Metadata { topics: Some(vec![TopicName::new("events").unwrap()]), create_missing: false };
        let Response::Metadata(metadata) = client.ask(&Request::Metadata(asked)).await else { panic!() };
        let topic = metadata.topics[0].clone().unwrap().id;
        let produced = client.produce(topic, Acks::All, &batch(&["new"])).await.unwrap();
        assert_eq!(produced.base_offset.value(), 10);
        broker.stop().await.unwrap();
    }
}

#[test]
fn every_byte_of_them_is_sound() {
    for name in KEPT {
        let verified = offline::verify(copied(name).path(), |_| {}).unwrap();
        assert!(verified.findings.is_empty(), "{name}: {:?}", verified.findings);
    }
}
