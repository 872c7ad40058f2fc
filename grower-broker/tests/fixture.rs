//! A data directory that the first version wrote: every later version opens it and finds the same in it.
//!
//! Topic `events` has two records of each codec in partition 0 (three records a segment) and one in partition 1;
//! topic `gone` was deleted; group `readers` has read everything. To make one for a new format, add a directory beside it.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, offline};
use grower_protocol::ids::{GroupId, TopicName};
use grower_protocol::message::*;
use std::fs;
use std::path::{Path, PathBuf};
use support::raw::*;

fn copied() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data-v1"), dir.path());
    dir
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn what_the_first_version_wrote_is_still_there() {
    let dir = copied();
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

#[tokio::test]
async fn it_can_be_written_to() {
    let dir = copied();
    let broker = Broker::start(config_at(dir.path())).await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let asked = Metadata { topics: Some(vec![TopicName::new("events").unwrap()]), create_missing: false };
    let Response::Metadata(metadata) = client.ask(&Request::Metadata(asked)).await else { panic!() };
    let topic = metadata.topics[0].clone().unwrap().id;
    let produced = client.produce(topic, Acks::All, &batch(&["new"])).await.unwrap();
    assert_eq!(produced.base_offset.value(), 10);
    broker.stop().await.unwrap();
}

#[test]
fn every_byte_of_it_is_sound() {
    let dir = copied();
    let verified = offline::verify(dir.path(), |_| {}).unwrap();
    assert!(verified.findings.is_empty(), "{:?}", verified.findings);
}
