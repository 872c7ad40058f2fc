//! Backups of a broker under load: a backup has everything acknowledged before it began, and hardly slows producers.

mod support {
    pub(crate) mod ledger;
    pub(crate) mod workload;
}

use grower_broker::offline::{self, backups};
use grower_broker::{Broker, BrokerConfig};
use grower_client::ids::{Offset, PartitionId};
use grower_client::{BackupMade, BackupState, Client, Record, TopicSpec};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::ledger::{Audit, Ledger};
use support::workload::{BrokerAddress, GROUP, Workload};

async fn start(dir: &Path, backup_dir: &Path) -> Broker {
    let config = BrokerConfig {
        listen: Some((Ipv4Addr::LOCALHOST, 0).into()),
        backup_dir: Some(backup_dir.to_owned()),
        retention_check: Duration::from_millis(10),
        disk_reserve_bytes: Some(1 << 20),
        ..BrokerConfig::at(dir)
    };
    Broker::start(config).await.unwrap()
}

async fn back_up(client: &Client) -> BackupMade {
    let admin = client.admin();
    let begun = admin.begin_backup("nightly", false).await.unwrap();
    loop {
        let backup = admin.describe_backup().await.unwrap().unwrap();
        assert_eq!(backup.number, begun.number);
        match backup.state {
            BackupState::Made(made) => return made,
            BackupState::Failed(failure) => panic!("{failure}"),
            BackupState::Running => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_acknowledged_before_a_backup_is_in_it_and_no_group_points_past_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let (data, root) = (dir.path().join("data"), dir.path().join("backups"));
    let broker = start(&data, &root).await;
    let (door, ledger) = (BrokerAddress::default(), Ledger::new("events", 4));
    door.open(broker.listen_address().unwrap());
    let mut workload = Workload::start(&door, ledger.clone(), &[("segment.messages", "100")]).await;
    churn(&workload.client).await;
    let mut promised = Vec::new();
    for round in 1..=3 {
        workload.begin_passing_writer();
        ledger.wait_for(ledger.acks() + 1_000).await;
        let now = ledger.as_of_now();
        promised.push((back_up(&workload.client).await, now));
        assert_eq!(promised.len(), round);
        workload.check();
    }
    // The broker is unaffected.
    let client = workload.finish().await;
    let mut all = Audit::default();
    all.run(&client, &ledger).await;
    all.is_complete(&ledger);
    drop(client);
    broker.stop().await.unwrap();
    for (made, promised) in promised {
        let restored = dir.path().join("restored");
        backups::restore(made.path.as_ref(), &restored, |_| {}).unwrap();
        assert_eq!(offline::verify(&restored, |_| {}).unwrap().findings, []);
        check(&restored, &root, &promised).await;
        std::fs::remove_dir_all(&restored).unwrap();
    }
}

/// A topic whose segments and keys go while the backups are made: retention and compaction have work all the time.
async fn churn(client: &Client) {
    let spec = TopicSpec::partitions(2).config("segment.messages", "20").config("retention.messages", "50");
    client.admin().create_topic("short", spec).await.unwrap();
    let compact = TopicSpec::partitions(2).config("segment.messages", "20").config("cleanup.policy", "compact");
    client.admin().create_topic("keys", compact.config("min.cleanable.dirty.ratio", "0.1")).await.unwrap();
    let producer = client.producer().build().await.unwrap();
    tokio::spawn(async move {
        // Until the broker is gone.
        for number in 0.. {
            let (key, value) = (format!("key {}", number % 7), format!("value {number}"));
            let short = producer.send(Record::new("short").value(value.clone())).await;
            let keyed = producer.send(Record::new("keys").key(key).value(value)).await;
            if short.is_err() || keyed.is_err() {
                return;
            }
        }
    });
}

async fn check(restored: &Path, root: &Path, promised: &Ledger) {
    let broker = start(restored, root).await;
    let door = BrokerAddress::default();
    door.open(broker.listen_address().unwrap());
    let client = door.client().await;
    let read = Audit::default().run(&client, promised).await;
    assert!(promised.acks() <= read, "{} acks, {read} records", promised.acks());
    let topic = client.admin().describe_topic(promised.topic, false).await.unwrap();
    let group = client.admin().describe_group(GROUP).await.unwrap();
    for (number, partition) in topic.partitions.iter().enumerate() {
        let committed = group.offsets.iter().find(|offset| offset.partition == PartitionId::new(number as u32));
        let committed = committed.map_or(Offset::ZERO, |committed| committed.offset);
        assert!(committed <= partition.log_end, "{number}: {committed} is committed, {} is the end", partition.log_end);
        assert!(promised.committed(number as u32) <= committed.value(), "{number}: a commit is lost");
    }
    let producer = client.producer().build().await.unwrap();
    let ack = producer.send(Record::new(promised.topic).value("new").partition(0)).await.unwrap();
    assert_eq!(ack.offset, Some(topic.partitions[0].log_end));
    drop((producer, client));
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_can_be_cancelled_and_ends_with_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(&dir.path().join("data"), &dir.path().join("backups")).await;
    let door = BrokerAddress::default();
    door.open(broker.listen_address().unwrap());
    let client = door.client().await;
    let admin = client.admin();
    assert_eq!(admin.describe_backup().await.unwrap(), None);
    admin.cancel_backup().await.unwrap();
    admin.create_topic("wide", TopicSpec::partitions(200)).await.unwrap();
    let producer = Arc::new(client.producer().build().await.unwrap());
    let sends = (0..200).map(|number| {
        let producer = producer.clone();
        tokio::spawn(async move { producer.send(Record::new("wide").value("x").partition(number)).await.unwrap() })
    });
    for send in sends.collect::<Vec<_>>() {
        send.await.unwrap();
    }
    admin.begin_backup("nightly", false).await.unwrap();
    admin.cancel_backup().await.unwrap();
    let state = loop {
        match admin.describe_backup().await.unwrap().unwrap().state {
            BackupState::Running => tokio::time::sleep(Duration::from_millis(1)).await,
            ended => break ended,
        }
    };
    let BackupState::Failed(failure) = state else { panic!("{state:?}") };
    assert_eq!(failure.to_string(), "the backup was cancelled");
    admin.begin_backup("nightly", false).await.unwrap();
    drop((producer, admin, client));
    broker.stop().await.unwrap();
    assert_eq!(backups::list(&dir.path().join("backups/nightly")).unwrap().len(), 0);
}
