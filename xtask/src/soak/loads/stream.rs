//! Producers: bursts of records, each acknowledged before the next burst.

use super::WrittenTopic;
use crate::bench::bench_broker::BenchBroker;
use crate::bench::values::RecordIdentity;
use crate::soak::tally::Tally;
use crate::stop::Stop;
use anyhow::ensure;
use futures_util::future::try_join_all;
use grower_client::ids::PartitionId;
use grower_client::{Acks, Codec, Durability, Producer, Record, TopicSpec};
use std::time::Duration;

/// One producer and its topic.
#[derive(Clone, Copy, Debug)]
pub(in crate::soak) struct StreamLoad {
    pub(super) topic: &'static str,
    partitions: u32,
    size: usize,
    /// Records of a burst, in each partition.
    burst: u64,
    pause: Duration,
    acks: Acks,
    codec: Codec,
    /// Retention of the topic; none keeps all records, which are then checked at the end.
    keep: Option<&'static str>,
    /// Segment size; none for the default.
    segment: Option<&'static str>,
}

/// The topic that the group reads.
pub(super) const SHARED: &str = "shared";
/// The topic that the slow consumer reads.
pub(super) const BATCHED: &str = "batched";

const BASE: StreamLoad = StreamLoad {
    topic: BATCHED,
    partitions: 1,
    size: 1024,
    burst: 30,
    pause: Duration::from_millis(100),
    acks: Acks::All,
    codec: Codec::None,
    keep: None,
    segment: None,
};

pub(super) const STREAMS: [StreamLoad; 6] = [
    BASE,
    StreamLoad { topic: "single", size: 100, burst: 1, pause: Duration::from_millis(2), ..BASE },
    StreamLoad { topic: "written", size: 400, acks: Acks::Leader, ..BASE },
    StreamLoad { topic: "packed", size: 700, codec: Codec::Zstd, ..BASE },
    StreamLoad { topic: SHARED, partitions: 6, size: 200, burst: 10, ..BASE },
    StreamLoad {
        topic: "flood",
        size: 10_000,
        burst: 1000,
        segment: Some("16MiB"),
        pause: Duration::from_secs(1),
        keep: FLOOD_KEEPS,
        ..BASE
    },
];

const FLOOD_KEEPS: Option<&str> = Some("64MiB");

/// Soon has more segments than its broker may have open files.
pub(super) const SEGMENTED: StreamLoad = StreamLoad { topic: "segmented", segment: Some("64KiB"), ..BASE };

impl StreamLoad {
    pub(super) async fn create_topic(self, broker: &BenchBroker) -> anyhow::Result<()> {
        let mut spec = TopicSpec::partitions(self.partitions);
        if let Some(bytes) = self.keep {
            spec = spec.config("retention.bytes", bytes);
        }
        if let Some(bytes) = self.segment {
            spec = spec.config("segment.bytes", bytes);
        }
        broker.client().await?.admin().create_topic(self.topic, spec).await?;
        Ok(())
    }

    pub(super) async fn run(
        self,
        broker: &BenchBroker,
        mut stop: Stop,
        tally: &Tally,
    ) -> anyhow::Result<Option<WrittenTopic>> {
        let producer = broker.client().await?.producer().acks(self.acks).compression(self.codec).build().await?;
        let mut count = 0;
        loop {
            self.send(&producer, count).await?;
            count += self.burst;
            tally.acknowledged.add(self.burst * u64::from(self.partitions));
            if !stop.sleep(self.pause).await {
                break;
            }
        }
        producer.close().await?;
        let Self { topic, partitions, size, .. } = self;
        Ok(self.keep.is_none().then_some(WrittenTopic { topic, partitions, count, size }))
    }

    /// Sends the next burst and waits for all acks.
    async fn send(self, producer: &Producer, from: u64) -> anyhow::Result<()> {
        let mut in_flight = Vec::new();
        for number in from..from + self.burst {
            for partition in 0..self.partitions {
                let value = RecordIdentity { writer: 0, partition, number }.value(self.size);
                let record = Record::new(self.topic).partition(PartitionId::new(partition)).value(value);
                in_flight.push(producer.enqueue(record).await?);
            }
        }
        for ack in try_join_all(in_flight).await? {
            ensure!(self.acks != Acks::All || ack.durability == Durability::Fsynced, "an ack is not durable");
        }
        Ok(())
    }
}
