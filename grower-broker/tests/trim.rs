//! Trims: only the requested records are dropped, and they stay dropped after a power cut.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::{Offset, PartitionId, TopicId, TopicName};
use grower_protocol::message::*;
use grower_storage::disk::{Disk, FaultDisk, MemDisk};
use std::sync::Arc;
use support::raw::*;
use tokio::io::DuplexStream;

type Client = Raw<DuplexStream>;

async fn start(disk: impl Disk + 'static) -> Result<(Broker, Client), String> {
    let started = Broker::builder(BrokerConfig::at("/grower")).disk(Arc::new(disk)).start().await;
    let broker = started.map_err(|error| error.to_string())?;
    let client = Raw::open(broker.connect()).await;
    Ok((broker, client))
}

/// Six records, two in a segment.
async fn filled(disk: &MemDisk, configs: &[(&str, &str)]) -> TopicId {
    let (broker, mut client) = start(disk.clone()).await.unwrap();
    let topic = client.create_topic("events", 1, &[&[("segment.messages", "2")], configs].concat()).await;
    for value in ["0", "1", "2", "3", "4", "5"] {
        client.produce(topic, Acks::All, &batch(&[value])).await.unwrap();
    }
    broker.stop().await.unwrap();
    topic
}

async fn trim(client: &mut Client, partition: u32, before: u64) -> Response {
    let topic = TopicName::new("events").unwrap();
    client.ask(&Request::TrimTopic { topic, before: vec![(PartitionId::new(partition), Offset::new(before))] }).await
}

async fn refused(client: &mut Client, partition: u32, before: u64) -> String {
    match trim(client, partition, before).await {
        Response::Failed(failure) => format!("{:?}: {failure}", failure.code),
        other => panic!("{other:?}"),
    }
}

async fn log_start(client: &mut Client, topic: TopicId) -> u64 {
    client.list_offset(topic, OffsetSpec::Beginning).await.unwrap().offset.unwrap().value()
}

#[tokio::test]
async fn a_trim_drops_exactly_the_records_before_the_offset() {
    let disk = MemDisk::default();
    let topic = filled(&disk, &[]).await;
    let (broker, mut client) = start(disk.clone()).await.unwrap();
    assert_eq!(trim(&mut client, 0, 3).await, Response::Done);
    assert_eq!(client.values(topic, 3).await, ["3", "4", "5"]);
    let below = client.fetch(fetch_from(topic, 2)).await.0;
    assert_eq!(below[0].clone().unwrap_err().code, ErrorCode::OffsetOutOfRange);
    assert_eq!(trim(&mut client, 0, 1).await, Response::Done);
    assert_eq!(log_start(&mut client, topic).await, 3, "an earlier offset changes nothing");
    assert_eq!(trim(&mut client, 0, 6).await, Response::Done);
    client.produce(topic, Acks::All, &batch(&["6"])).await.unwrap();
    assert_eq!(client.values(topic, 6).await, ["6"], "offsets continue after all records were dropped");
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_trim_never_drops_uncommitted_records() {
    let disk = MemDisk::default();
    let topic = filled(&disk, &[]).await;
    let (_broker, mut client) = start(disk).await.unwrap();
    insta::assert_snapshot!(refused(&mut client, 0, 7).await, @"OffsetOutOfRange: events/0 cannot be trimmed up to offset 7: it is committed up to 6 only; nothing was changed");
    insta::assert_snapshot!(refused(&mut client, 1, 0).await, @"UnknownPartition: topic events has 1 partition, counted from 0, and no partition 1");
    assert_eq!(log_start(&mut client, topic).await, 0);
}

#[tokio::test]
async fn a_trim_of_a_repeated_partition_or_an_internal_topic_is_refused() {
    let disk = MemDisk::default();
    filled(&disk, &[]).await;
    let (_broker, mut client) = start(disk).await.unwrap();
    let zero = (PartitionId::new(0), Offset::ZERO);
    let request = Request::TrimTopic { topic: TopicName::new("events").unwrap(), before: vec![zero, zero] };
    let Response::Failed(failure) = client.ask(&request).await else { panic!() };
    assert_eq!(failure.code, ErrorCode::InvalidRequest);
    let request = Request::TrimTopic { topic: TopicName::new("nowhere").unwrap(), before: vec![zero] };
    let Response::Failed(failure) = client.ask(&request).await else { panic!() };
    assert_eq!(failure.code, ErrorCode::UnknownTopic);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_step_keeps_the_records_or_drops_them_for_good() {
    for (configs, step) in [(&[][..], 1), (&[("flush", "os")], 5)] {
        let mut done = false;
        for power in (0..300).step_by(step) {
            done = cut_after(power, configs).await;
            if done {
                break;
            }
        }
        assert!(done, "a trim with enough power is done");
    }
}

/// Cuts the power after this many changes of the disk since a start. Returns whether the trim was done by then.
async fn cut_after(power: u64, configs: &[(&str, &str)]) -> bool {
    let memory = MemDisk::default();
    let topic = filled(&memory, configs).await;
    let disk = FaultDisk::new(memory.clone());
    let faults = disk.faults();
    faults.lose_power_after(power);
    let mut done = false;
    if let Ok((broker, mut client)) = start(disk).await {
        done = trim(&mut client, 0, 3).await == Response::Done;
        faults.lose_power_after(0);
        let _ = broker.stop().await;
    }
    memory.crash_torn(power);
    check_after(&memory, topic, done).await;
    done
}

/// The log starts at one of the two offsets, for good, and loses nothing else.
async fn check_after(memory: &MemDisk, topic: TopicId, done: bool) {
    let (broker, mut client) = start(memory.clone()).await.unwrap();
    let start_then = log_start(&mut client, topic).await;
    assert!(start_then == 3 || start_then == 0 && !done, "{start_then}");
    client.produce(topic, Acks::All, &batch(&["6"])).await.unwrap();
    broker.stop().await.unwrap();
    let (broker, mut client) = start(memory.clone()).await.unwrap();
    assert_eq!(log_start(&mut client, topic).await, start_then);
    let kept = ["0", "1", "2", "3", "4", "5", "6"];
    assert_eq!(client.values(topic, start_then).await, kept[start_then as usize..]);
    broker.stop().await.unwrap();
}
