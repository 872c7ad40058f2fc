//! A start on a disk that other programs filled: the broker serves reads, and accepts deletions that free space.

mod support {
    pub(crate) mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::TopicName;
use grower_protocol::message::*;
use grower_storage::disk::{Disk, MemDisk};
use std::path::Path;
use std::sync::Arc;
use support::raw::*;
use tokio::io::DuplexStream;

async fn start(disk: &MemDisk) -> (Broker, Raw<DuplexStream>) {
    let config = BrokerConfig { disk_reserve_bytes: Some(2 << 20), ..BrokerConfig::at("/grower") };
    let broker = Broker::builder(config).disk(Arc::new(disk.clone())).start().await.unwrap();
    let client = Raw::open(broker.connect()).await;
    (broker, client)
}

/// Lets no further file be made.
fn use_up_inodes(disk: &MemDisk) {
    disk.set_inodes(1 << 20);
    let inodes = disk.space().unwrap().inodes.unwrap();
    disk.set_inodes(inodes.total - inodes.free);
}

#[tokio::test]
async fn a_broker_starts_serves_and_deletes_on_a_file_system_without_a_free_inode() {
    let disk = MemDisk::default();
    let (broker, mut client) = start(&disk).await;
    let kept = client.create_topic("kept", 1, &[]).await;
    client.produce(kept, Acks::All, &batch(&["one"])).await.unwrap();
    let big = client.create_topic("big", 1, &[]).await;
    client.produce(big, Acks::All, &batch(&["one"])).await.unwrap();
    drop(client);
    broker.stop().await.unwrap();
    drop(start(&disk).await); // As if it had been killed.
    disk.crash();
    use_up_inodes(&disk);

    let (broker, mut client) = start(&disk).await;
    assert_eq!(client.values(kept, 0).await, ["one"]);
    client.produce(kept, Acks::All, &batch(&["two"])).await.unwrap(); // It needs no new file.
    assert_eq!(client.ask(&Request::DeleteTopic(TopicName::new("big").unwrap())).await, Response::Done);
    drop(client);
    broker.stop().await.unwrap();
    let (broker, mut client) = start(&disk).await;
    assert_eq!(client.values(kept, 0).await, ["one", "two"]);
    let new = client.create_topic("new", 1, &[]).await;
    while client.produce(new, Acks::All, &batch(&["one"])).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await; // Until the deleted files are gone.
    }
    drop(client);
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_without_a_free_inode_names_the_reason() {
    let disk = MemDisk::default();
    let (broker, client) = start(&disk).await;
    drop(client);
    broker.stop().await.unwrap();
    disk.remove_file(Path::new("/grower/reserve")).unwrap();
    use_up_inodes(&disk);
    let refused = Broker::builder(BrokerConfig::at("/grower")).disk(Arc::new(disk)).start().await;
    let why = refused.err().unwrap().to_string();
    assert!(why.contains("no inode left (see df -i)"), "{why}");
}

#[tokio::test]
async fn a_broker_starts_serves_and_deletes_on_a_disk_without_a_free_byte() {
    let disk = MemDisk::default();
    disk.set_capacity(32 << 20);
    let (broker, mut client) = start(&disk).await;
    let kept = client.create_topic("kept", 1, &[]).await;
    client.create_topic("big", 1, &[]).await;
    client.produce(kept, Acks::All, &batch(&["one"])).await.unwrap();
    drop((broker, client)); // As if it had been killed.
    disk.crash();
    let file = disk.create(Path::new("/other")).unwrap();
    let free = usize::try_from(disk.space().unwrap().free).unwrap();
    file.write_all_at(&vec![1; free], 0).unwrap();
    assert_eq!(disk.space().unwrap().free, 0);

    let (broker, mut client) = start(&disk).await;
    assert_eq!(client.values(kept, 0).await, ["one"]);
    let refused = client.produce(kept, Acks::All, &batch(&["no room"])).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DiskFull);
    assert_eq!(client.ask(&Request::DeleteTopic(TopicName::new("big").unwrap())).await, Response::Done);
    disk.remove_file(Path::new("/other")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    drop(file);
    while client.produce(kept, Acks::All, &batch(&["again"])).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    drop(client);
    broker.stop().await.unwrap();
}
