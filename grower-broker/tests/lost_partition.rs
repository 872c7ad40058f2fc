//! A begun partition that lost its files is not served as an empty one, since its offsets were used.

mod support {
    pub(crate) mod raw;
}

use grower_broker::offline::{self, backups, repair};
use grower_broker::{Broker, BrokerConfig, offline::repair::Acceptance};
use grower_protocol::ids::{GroupId, Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::*;
use std::fs;
use std::path::Path;
use std::time::Duration;
use support::raw::*;
use tokio::io::DuplexStream;

async fn start(dir: &Path) -> (Broker, Raw<DuplexStream>) {
    let broker = Broker::start(config_at(dir)).await.unwrap();
    let client = Raw::open(broker.connect()).await;
    (broker, client)
}

/// A directory with records in partition 0 of `events` and of `others`, and none in partition 1.
async fn with_records(dir: &Path) -> (TopicId, TopicId) {
    let (broker, mut client) = start(dir).await;
    let (events, others) = (client.create_topic("events", 2, &[]).await, client.create_topic("others", 1, &[]).await);
    client.produce(events, Acks::All, &batch(&["one"])).await.unwrap();
    client.produce(others, Acks::Leader, &batch(&["two"])).await.unwrap();
    broker.stop().await.unwrap();
    (events, others)
}

async fn check_offline(dir: &Path, events: TopicId, others: TopicId) {
    let (broker, mut client) = start(dir).await;
    let produced = client.produce(events, Acks::All, &batch(&["again"])).await.unwrap_err();
    let fetched = client.fetch(fetch_from(events, 0)).await.0[0].clone().unwrap_err();
    for refused in [produced, fetched] {
        assert_eq!(refused.code, ErrorCode::PartitionOffline, "{refused}");
        assert!(refused.detail.contains("its files are gone"), "{refused}");
    }
    let asked = Request::DescribeTopics { topics: Some(vec![TopicName::new("events").unwrap()]), segments: false };
    let Response::DescribeTopics(described) = client.ask(&asked).await else { panic!("no description") };
    let leaders: Vec<_> =
        described[0].clone().unwrap().partitions.iter().map(|partition| partition.leader.is_some()).collect();
    assert_eq!(leaders, [false, true], "a partition that never had records is served");
    assert_eq!(client.values(others, 0).await, ["two"]);
    broker.stop().await.unwrap();
}

fn lose(dir: &Path, what: &str) {
    match what {
        "the partition" => fs::remove_dir_all(dir.join("topics/events/0")).unwrap(),
        "the topic" => fs::remove_dir_all(dir.join("topics/events")).unwrap(),
        "its files" => {
            fs::remove_dir_all(dir.join("topics/events/0")).unwrap();
            fs::create_dir(dir.join("topics/events/0")).unwrap();
        }
        "what its link leads to" => {
            fs::remove_dir_all(dir.join("topics/events/0")).unwrap();
            std::os::unix::fs::symlink(dir.join("not mounted"), dir.join("topics/events/0")).unwrap();
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_partition_that_lost_its_files_is_offline_and_a_check_says_so() {
    for what in ["the partition", "the topic", "its files", "what its link leads to"] {
        let dir = tempfile::tempdir().unwrap();
        let (events, others) = with_records(dir.path()).await;
        assert_eq!(offline::verify(dir.path(), |_| {}).unwrap().findings, []);
        lose(dir.path(), what);
        for _ in 0..2 {
            let findings = offline::verify(dir.path(), |_| {}).unwrap().findings;
            assert!(findings.len() == 1 && findings[0].path.ends_with("topics/events/0"), "{what}: {findings:?}");
            check_offline(dir.path(), events, others).await;
        }
    }
}

#[tokio::test]
async fn a_partition_with_returned_files_is_served_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (events, others) = with_records(dir.path()).await;
    let away = dir.path().join("away");
    fs::rename(dir.path().join("topics/events/0"), &away).unwrap();
    check_offline(dir.path(), events, others).await;
    fs::rename(&away, dir.path().join("topics/events/0")).unwrap();
    let (broker, mut client) = start(dir.path()).await;
    assert_eq!(client.values(events, 0).await, ["one"]);
    let produced = client.produce(events, Acks::All, &batch(&["more"])).await.unwrap();
    assert_eq!(produced.base_offset.value(), 1);
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_partition_with_returned_files_is_served_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (events, _) = with_records(dir.path()).await;
    let away = dir.path().join("away");
    fs::rename(dir.path().join("topics/events/0"), &away).unwrap();
    let config = BrokerConfig { retention_check: Duration::from_millis(20), ..config_at(dir.path()) };
    let broker = Broker::start(config).await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let fetch = fetch_from(events, 0);
    assert_eq!(client.fetch(fetch.clone()).await.0[0].as_ref().unwrap_err().code, ErrorCode::PartitionOffline);
    fs::rename(&away, dir.path().join("topics/events/0")).unwrap();
    let served = async {
        while client.fetch(fetch.clone()).await.0[0].is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), served).await.expect("it is served without a restart");
    assert_eq!(client.values(events, 0).await, ["one"]);
    let produced = client.produce(events, Acks::All, &batch(&["more"])).await.unwrap();
    assert_eq!(produced.base_offset.value(), 1);
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_of_an_earlier_version_gets_a_list_of_begun_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let (events, others) = with_records(dir.path()).await;
    fs::remove_file(dir.path().join("begun")).unwrap();
    let (broker, mut client) = start(dir.path()).await;
    assert_eq!(client.values(events, 0).await, ["one"]);
    broker.stop().await.unwrap();
    lose(dir.path(), "the partition");
    check_offline(dir.path(), events, others).await;
}

/// Takes away what a partition is written to; the ways to do it.
fn take_away(dir: &Path, what: &str) {
    let partition = dir.join("topics/events/0");
    match what {
        "moved" => fs::rename(&partition, dir.join("away")).unwrap(),
        "its topic moved" => fs::rename(dir.join("topics/events"), dir.join("away")).unwrap(),
        "moved, and an empty one in its place" => {
            fs::rename(&partition, dir.join("away")).unwrap();
            fs::create_dir(&partition).unwrap();
        }
        "a segment removed" => {
            let files = fs::read_dir(&partition).unwrap().map(|entry| entry.unwrap().path());
            let log = files.filter(|path| path.extension().is_some_and(|kind| kind == "growerlog")).max();
            fs::remove_file(log.unwrap()).unwrap();
        }
        other => lose(dir, other),
    }
}

#[tokio::test]
async fn a_record_is_not_called_fsynced_in_a_file_that_is_gone_and_the_rest_is_served() {
    let ways = ["the partition", "its files", "moved", "its topic moved", "moved, and an empty one in its place"];
    for what in ways.into_iter().chain(["a segment removed"]) {
        let dir = tempfile::tempdir().unwrap();
        let (events, others) = with_records(dir.path()).await;
        let (broker, mut client) = start(dir.path()).await;
        client.produce(events, Acks::All, &batch(&["before"])).await.unwrap();
        take_away(dir.path(), what);
        let refused = client.produce(events, Acks::All, &batch(&["after"])).await.unwrap_err();
        assert!(refused.detail.contains("removed, moved or replaced"), "{what}: {refused}");
        let fetched = client.fetch(fetch_from(events, 0)).await.0[0].clone().unwrap_err();
        let produced = client.produce(events, Acks::Leader, &batch(&["again"])).await.unwrap_err();
        for refused in [fetched, produced] {
            assert_eq!(refused.code, ErrorCode::PartitionOffline, "{what}: {refused}");
            assert!(refused.detail.contains("removed, moved or replaced"), "{what}: {refused}");
        }
        client.produce(others, Acks::All, &batch(&["more"])).await.unwrap();
        assert_eq!(client.values(others, 0).await, ["two", "more"], "{what}");
        broker.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_partition_with_moved_files_goes_offline_without_a_write() {
    let dir = tempfile::tempdir().unwrap();
    let (events, _) = with_records(dir.path()).await;
    let config = BrokerConfig { retention_check: Duration::from_millis(20), ..config_at(dir.path()) };
    let broker = Broker::start(config).await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let is_served = async |client: &mut Raw<DuplexStream>| client.fetch(fetch_from(events, 0)).await.0[0].is_ok();
    assert!(is_served(&mut client).await);
    for served in [false, true] {
        let (from, to) = (dir.path().join("topics/events/0"), dir.path().join("away"));
        let (from, to) = if served { (to, from) } else { (from, to) };
        fs::rename(from, to).unwrap();
        let noticed = async {
            while is_served(&mut client).await != served {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), noticed).await.unwrap_or_else(|_| panic!("not served: {served}"));
    }
    assert_eq!(client.values(events, 0).await, ["one"]);
    broker.stop().await.unwrap();
}

fn group(number: usize) -> GroupId {
    GroupId::new(&format!("group-{number}")).unwrap()
}

async fn commit(client: &mut Raw<DuplexStream>, group: GroupId, topic: TopicId) -> Part<()> {
    let (partition, offset) = (PartitionId::new(0), Offset::new(1));
    let offsets = vec![OffsetToCommit { topic, partition, offset, leader_epoch: None, metadata: String::new() }];
    match client
        .ask(&Request::CommitOffsets(OffsetCommit {
            group,
            committer: CommitterIdentity::Anonymous,
            sequence: 0,
            offsets,
        }))
        .await
    {
        Response::CommitOffsets(parts) => parts[0].clone(),
        Response::Failed(failure) => Err(failure),
        other => panic!("{other:?}"),
    }
}

/// How many offsets the broker knows of a group.
async fn committed(client: &mut Raw<DuplexStream>, group: GroupId) -> Part<usize> {
    match client.ask(&Request::DescribeGroup(group)).await {
        Response::DescribeGroup(described) => Ok(described.offsets.len()),
        Response::Failed(failure) => Err(failure),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn groups_with_lost_offsets_are_refused_and_all_others_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let (events, _) = with_records(dir.path()).await;
    let (broker, mut client) = start(dir.path()).await;
    for number in 0..8 {
        commit(&mut client, group(number), events).await.unwrap();
    }
    broker.stop().await.unwrap();
    let offsets = fs::read_dir(dir.path().join("topics/__consumer_offsets")).unwrap();
    let lost = offsets.map(|entry| entry.unwrap().path()).next().unwrap();
    let away = dir.path().join("away");
    fs::rename(&lost, &away).unwrap();

    let (broker, mut client) = start(dir.path()).await;
    assert_eq!(client.values(events, 0).await, ["one"]);
    let (mut known, mut unknown) = (0, 0);
    for number in 0..8 {
        match committed(&mut client, group(number)).await {
            Ok(offsets) => {
                assert_eq!(offsets, 1);
                commit(&mut client, group(number), events).await.unwrap();
                known += 1;
            }
            Err(told) => {
                let refused = commit(&mut client, group(number), events).await.unwrap_err();
                for failure in [told, refused] {
                    assert!(failure.code.is_retriable(), "{failure}");
                    assert!(failure.detail.contains("its files are gone"), "{failure}");
                    assert!(failure.detail.contains("log repair"), "{failure}");
                }
                unknown += 1;
            }
        }
    }
    assert!(0 < known && 0 < unknown, "{known} known, {unknown} unknown");
    broker.stop().await.unwrap();

    fs::rename(&away, &lost).unwrap();
    let (broker, mut client) = start(dir.path()).await;
    for number in 0..8 {
        assert_eq!(committed(&mut client, group(number)).await, Ok(1));
    }
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_commit_is_not_acknowledged_in_a_file_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (events, _) = with_records(dir.path()).await;
    let (broker, mut client) = start(dir.path()).await;
    commit(&mut client, group(0), events).await.unwrap();
    fs::rename(dir.path().join("topics/__consumer_offsets"), dir.path().join("away")).unwrap();
    for _ in 0..2 {
        let refused = commit(&mut client, group(0), events).await.unwrap_err();
        assert!(refused.detail.contains("removed, moved or replaced"), "{refused}");
    }
    let told = committed(&mut client, group(0)).await.unwrap_err();
    assert!(told.code.is_retriable() && told.detail.contains("removed, moved or replaced"), "{told}");
    assert_eq!(client.values(events, 0).await, ["one"]);
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_backup_of_a_lost_partition_restores_no_empty_one() {
    let root = tempfile::tempdir().unwrap();
    let (data, saved, restored) = (root.path().join("data"), root.path().join("backups"), root.path().join("restored"));
    let (events, others) = with_records(&data).await;
    lose(&data, "the partition");
    backups::backup(&data, &saved, false, |_| true).unwrap();
    backups::restore(&saved, &restored, |_| {}).unwrap();
    check_offline(&restored, events, others).await;
}

#[tokio::test]
async fn an_accepted_loss_of_a_partition_is_recorded_and_the_partition_starts_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (events, _) = with_records(dir.path()).await;
    lose(dir.path(), "the partition");
    let lost = repair::survey(dir.path(), |_| {}).unwrap().lost_partitions;
    assert_eq!(lost.iter().map(ToString::to_string).collect::<Vec<_>>(), ["events/0"]);
    let directory = repair::DirectoryRepair::open(dir.path()).unwrap();
    let acceptance = Acceptance { by: "an operator".to_owned(), at: Timestamp::default() };
    let never_begun = repair::PartitionName { topic: "events".to_owned(), partition: 1 };
    assert!(directory.accept_lost_partitions(&[never_begun], &acceptance).is_err(), "it lost nothing");
    let records = directory.accept_lost_partitions(&lost, &acceptance).unwrap();
    assert!(fs::read_to_string(&records[0]).unwrap().contains("an operator"));
    drop(directory);
    assert_eq!(offline::verify(dir.path(), |_| {}).unwrap().findings, []);
    let (broker, mut client) = start(dir.path()).await;
    client.produce(events, Acks::All, &batch(&["again"])).await.unwrap();
    assert_eq!(client.values(events, 0).await, ["again"]);
    broker.stop().await.unwrap();
}
