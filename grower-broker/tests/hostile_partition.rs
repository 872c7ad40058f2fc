//! A partition with unusable files is offline: its files stay, requests get the reason, and all others are served.

mod support {
    pub(crate) mod raw;
    pub(crate) mod tampered;
}

use grower_client::ids::Offset;
use grower_protocol::message::*;
use std::fs;
use std::path::Path;
use support::raw::{PARTITION, Raw, batch, fetch_from};
use support::tampered::{SMALL_FILES, Served, Tampered, all, edit};

/// Starts after the tampering: partition 0 answers with the reason, partition 1 and the group are whole, no file of
/// partition 0 changes, and it is whole again once the tampering is undone.
async fn check_offline(world: &Tampered, reason: &str, undo: impl FnOnce(&Tampered)) {
    let dir = world.path("topics/events/0");
    let files = || world.files().into_iter().filter(|(path, _)| path.starts_with(&dir)).collect::<Vec<_>>();
    let tampered = files();
    let served = world.served().await;
    for refused in refusals(&served).await {
        assert_eq!(refused.code, ErrorCode::PartitionOffline, "{refused}");
        assert!(refused.detail.contains("partition 0 of topic events") && refused.detail.contains(reason), "{refused}");
    }
    assert_eq!(served.read(1).await, all());
    let described = served.client.admin().describe_topic("events", true).await.unwrap();
    let leaders: Vec<_> = described.partitions.iter().map(|partition| partition.leader.is_some()).collect();
    assert_eq!(leaders, [false, true], "an offline partition has no leader");
    served.client.admin().grow_topic("events", 3).await.unwrap();
    served.broker.stop().await.unwrap();
    assert_eq!(files(), tampered);
    undo(world);
    let served = world.served().await;
    assert_eq!(served.read(0).await, world.whole);
    served.assert_the_rest_is_whole().await;
    served.broker.stop().await.unwrap();
}

/// The results of producing, fetching, listing offsets and reporting damage in partition 0.
async fn refusals(served: &Served) -> Vec<Failure> {
    let topic = served.client.admin().describe_topic("events", false).await.unwrap().id;
    let mut client = Raw::open(served.broker.connect()).await;
    let produced = client.produce(topic, Acks::All, &batch(&["x"])).await.unwrap_err();
    let fetched = client.fetch(fetch_from(topic, 0)).await.0[0].clone().unwrap_err();
    let listed = client.list_offset(topic, OffsetSpec::End).await.unwrap_err();
    let report = ReportDamage { topic, partition: PARTITION, start: Offset::new(0), end: Offset::new(1) };
    let Response::Failed(reported) = client.ask(&Request::ReportDamage(report)).await else { panic!("it is offline") };
    vec![produced, fetched, listed, reported]
}

#[tokio::test] // Hostile input 62.
async fn a_partition_with_a_file_of_a_newer_format_is_offline_and_the_rest_is_served() {
    for name in SMALL_FILES {
        let world = Tampered::with(name).await;
        let path = world.path(&format!("topics/events/0/{name}"));
        let before = fs::read(&path).unwrap();
        edit(&path, |bytes| {
            bytes[4..6].copy_from_slice(&900u16.to_be_bytes());
            let end = bytes.len() - 4;
            let crc = crc32fast::hash(&bytes[..end]);
            bytes[end..].copy_from_slice(&crc.to_be_bytes());
        });
        check_offline(&world, "format 900", |_| fs::write(&path, before).unwrap()).await;
    }
}

#[tokio::test] // Hostile input 59.
async fn a_directory_of_another_partition_is_offline_and_the_rest_is_served() {
    let world = Tampered::new().await;
    let (dir, elsewhere) = (world.path("topics/events/0"), world.path("elsewhere"));
    fs::rename(&dir, &elsewhere).unwrap();
    copy_dir(&world.path("topics/events/1"), &dir);
    check_offline(&world, "partition.meta", |_| {
        fs::remove_dir_all(&dir).unwrap();
        fs::rename(&elsewhere, &dir).unwrap();
    })
    .await;
}

#[tokio::test] // Hostile input 63.
async fn a_file_in_place_of_a_partitions_directory_takes_only_that_partition_offline() {
    let world = Tampered::new().await;
    let (dir, elsewhere) = (world.path("topics/events/0"), world.path("elsewhere"));
    fs::rename(&dir, &elsewhere).unwrap();
    fs::write(&dir, b"a file").unwrap();
    check_offline(&world, "topics/events/0", |_| {
        fs::remove_file(&dir).unwrap();
        fs::rename(&elsewhere, &dir).unwrap();
    })
    .await;
}

#[tokio::test] // Hostile input 63.
async fn a_directory_in_place_of_a_small_file_takes_only_that_partition_offline() {
    for name in SMALL_FILES {
        let world = Tampered::with(name).await;
        let path = world.path(&format!("topics/events/0/{name}"));
        let before = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        check_offline(&world, name, |_| {
            fs::remove_dir(&path).unwrap();
            fs::write(&path, before).unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn a_topic_with_an_offline_partition_can_be_deleted_and_its_foreign_files_stay() {
    let world = Tampered::new().await;
    let dir = world.path("topics/events/0");
    fs::rename(&dir, world.path("elsewhere")).unwrap();
    fs::write(&dir, b"a file").unwrap();
    let served = world.served().await;
    served.client.admin().delete_topic("events").await.unwrap();
    served.broker.stop().await.unwrap();
    let served = world.served().await;
    assert_eq!(fs::read(world.path("quarantine/events-0/0")).unwrap(), b"a file");
    served.broker.stop().await.unwrap();
}

#[tokio::test]
async fn an_offline_internal_partition_does_not_affect_the_others() {
    let world = Tampered::new().await;
    let topics = world.path("topics/__consumer_offsets");
    let dir = fs::read_dir(&topics).unwrap().map(|entry| entry.unwrap().path()).next().unwrap();
    fs::rename(&dir, world.path("elsewhere")).unwrap();
    fs::write(&dir, b"a file").unwrap();
    let served = world.served().await;
    assert_eq!(served.read(0).await, world.whole);
    served.broker.stop().await.unwrap();
    assert_eq!(fs::read(&dir).unwrap(), b"a file", "it is left as it is");
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
