//! The load: the SDK as anybody would use it, every ack awaited, every record read back compared.

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use grower_client::ids::PartitionId;
use grower_client::{Acks, Client, Delivery, Durability, Record, StartFrom, TopicSpec};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records under way at once; their bytes are bounded by the producer.
const UNDER_WAY_MAX: usize = 32 << 10;

/// A client of the daemon.
pub(super) struct Load {
    client: Client,
}

/// One topic for each thing measured, new in each round.
pub(super) struct Topics {
    pub(super) large: String,
    pub(super) small: String,
    pub(super) single: String,
}

impl Load {
    pub(super) async fn connect(address: &str) -> anyhow::Result<Self> {
        Ok(Self { client: Client::connect(address).await? })
    }

    pub(super) async fn create_topics(&self, round: u32) -> anyhow::Result<Topics> {
        let topics = Topics {
            large: format!("large-{round}"),
            small: format!("small-{round}"),
            single: format!("single-{round}"),
        };
        for name in topics.names() {
            self.client.admin().create_topic(name, TopicSpec::partitions(1)).await?;
        }
        Ok(topics)
    }

    pub(super) async fn delete_topics(&self, topics: &Topics) -> anyhow::Result<()> {
        for name in topics.names() {
            self.client.admin().delete_topic(name).await?;
        }
        Ok(())
    }

    /// How long one producer takes until `count` records of `size` bytes are fsynced and acknowledged.
    pub(super) async fn produce(&self, topic: &str, count: u64, size: usize) -> anyhow::Result<Duration> {
        let producer = self.client.producer().acks(Acks::All).build().await?;
        let (topic, pattern): (Arc<str>, _) = (topic.into(), pattern(size));
        let mut under_way: VecDeque<Delivery> = VecDeque::new();
        let mut acknowledged = 0;
        let began = Instant::now();
        for number in 0..count {
            if under_way.len() == UNDER_WAY_MAX {
                acknowledged += settle(&mut under_way, UNDER_WAY_MAX / 2).await?;
            }
            let record = Record::new(topic.clone()).value(value(&pattern, number));
            under_way.push_back(producer.enqueue(record).await?);
        }
        producer.flush().await?;
        acknowledged += settle(&mut under_way, 0).await?;
        let took = began.elapsed();
        ensure!(acknowledged == count, "{acknowledged} of {count} records were acknowledged");
        Ok(took)
    }

    /// How long one consumer takes for all `count` records, each compared with what was written.
    pub(super) async fn consume(&self, topic: &str, count: u64, size: usize) -> anyhow::Result<Duration> {
        let assignment = [(topic, PartitionId::new(0))];
        let builder = self.client.consumer().assign(assignment).from(StartFrom::Beginning).max_poll_records(8192);
        let began = Instant::now();
        let mut consumer = builder.build().await?;
        let mut next = 0;
        let pattern = pattern(size);
        while next < count {
            let polled = consumer.poll(Duration::from_secs(10)).await?;
            ensure!(!polled.is_empty(), "{next} of {count} records came, then none for 10 s");
            for record in polled {
                let bytes = record.value.context("a record without value")?;
                let same = bytes.len() == size && bytes[..8] == next.to_be_bytes() && bytes[8..] == pattern[8..];
                ensure!(
                    same && record.offset.value() == next,
                    "offset {next} of {topic} holds something else than was written"
                );
                next += 1;
            }
        }
        let took = began.elapsed();
        consumer.close().await?;
        Ok(took)
    }

    /// The median time from sending one record of 1 KiB to its ack, with nothing else under way.
    pub(super) async fn single(&self, topic: &str, count: u32) -> anyhow::Result<Duration> {
        let producer = self.client.producer().acks(Acks::All).linger(Duration::ZERO).build().await?;
        let pattern = pattern(1024);
        let mut took = Vec::new();
        for number in 0..count {
            let record = Record::new(topic).value(value(&pattern, u64::from(number)));
            let began = Instant::now();
            let ack = producer.send(record).await?;
            took.push(began.elapsed());
            ensure!(ack.durability == Durability::Fsynced, "an ack that is not durable");
        }
        took.sort_unstable();
        took.get(took.len() / 2).copied().context("nothing was measured")
    }
}

impl Topics {
    fn names(&self) -> [&str; 3] {
        [&self.large, &self.small, &self.single]
    }
}

async fn settle(under_way: &mut VecDeque<Delivery>, left: usize) -> anyhow::Result<u64> {
    let mut settled = 0;
    while left < under_way.len() {
        let Some(delivery) = under_way.pop_front() else { break };
        let ack = delivery.await?;
        ensure!(ack.durability == Durability::Fsynced, "an ack that is not durable");
        settled += 1;
    }
    Ok(settled)
}

/// What every value of this size consists of, but for the first 8 bytes.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at as u8).wrapping_mul(151)).collect()
}

/// A value that says which record it is: its number, then the pattern.
fn value(pattern: &[u8], number: u64) -> Bytes {
    let mut value = BytesMut::from(pattern);
    value[..8].copy_from_slice(&number.to_be_bytes());
    value.freeze()
}
