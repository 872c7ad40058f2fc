//! A real broker in the test's process, a client, and common steps of tests.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use grower_broker::{Broker, BrokerBuilder, BrokerConfig, MemLogs};
use grower_client::ids::{PartitionId, TopicName};
use grower_client::{Client, Consumer, ConsumerBuilder, RebalanceEvent, Record, TopicPartition, TopicSpec, transport};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio::sync::{Notify, watch};

/// The timeout of a step; only a failing test waits this long.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) client: Client,
    broker: Broker,
    _dir: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::of(|builder| builder).await
    }

    /// Starts a broker with in-memory logs, which need no disk.
    pub(crate) async fn in_memory() -> Self {
        Self::of(|builder| builder.logs(Arc::new(MemLogs))).await
    }

    async fn of(made_of: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = BrokerConfig::at(dir.path());
        config.disk_reserve_bytes = Some(1 << 20);
        (config.listen, config.http) = (None, None);
        let broker = made_of(Broker::builder(config)).start().await.unwrap();
        let client = client(&broker).await;
        Self { client, broker, _dir: dir }
    }

    /// Returns a function that opens connections to the broker.
    pub(crate) fn connector(&self) -> impl Fn() -> DuplexStream + Clone + Send + Sync + 'static {
        self.broker.connector()
    }

    pub(crate) async fn topic(&self, name: &str, spec: TopicSpec) {
        self.client.admin().create_topic(name, spec).await.unwrap();
    }

    /// Sends `values` to partition 0 of `topic` and waits for the acks.
    pub(crate) async fn produce(&self, topic: &str, values: impl IntoIterator<Item = String>) {
        let producer = self.client.producer().build().await.unwrap();
        for value in values {
            drop(producer.enqueue(Record::new(topic).value(value).partition(0)).await.unwrap());
        }
        producer.flush().await.unwrap();
    }
}

pub(crate) async fn client(broker: &Broker) -> Client {
    let transport = transport::in_process(broker.connector());
    Client::builder().transport(transport).bootstrap(["in process"]).connect().await.unwrap()
}

pub(crate) fn numbered(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|number| format!("record {number}"))
}

/// Reads `count` records.
pub(crate) async fn read(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    let reading = async {
        while values.len() < count {
            let record = consumer.next().await.unwrap().unwrap();
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    };
    let in_time = tokio::time::timeout(LONG, reading).await;
    assert!(in_time.is_ok(), "{} of {count} records came: {values:?}", values.len());
    values
}

/// Polls `count` records; returns their partitions and offsets.
pub(crate) async fn poll(consumer: &mut Consumer, count: usize) -> Vec<(u32, u64)> {
    let mut read = Vec::new();
    let polling = async {
        while read.len() < count {
            let records = consumer.poll(Duration::from_millis(200)).await.unwrap();
            read.extend(records.into_iter().map(|record| (record.partition.value(), record.offset.value())));
        }
    };
    tokio::time::timeout(LONG, polling).await.expect("the records come");
    read
}

/// A consumer with a signal for each change of its assignment.
pub(crate) struct Member {
    pub(crate) consumer: Consumer,
    changed: Arc<Notify>,
}

impl Member {
    pub(crate) async fn join(builder: ConsumerBuilder) -> Self {
        Self::join_with(builder, |_| ()).await
    }

    pub(crate) async fn join_with(
        builder: ConsumerBuilder,
        on_rebalance: impl Fn(RebalanceEvent) + Send + Sync + 'static,
    ) -> Self {
        let changed = Arc::new(Notify::new());
        let signal = changed.clone();
        let told = move |event| {
            on_rebalance(event);
            signal.notify_one();
        };
        Self { consumer: builder.on_rebalance(told).build().await.unwrap(), changed }
    }

    /// Waits until the member owns exactly these partitions.
    pub(crate) async fn owns(&self, partitions: &[u32]) {
        let owned = || {
            self.consumer
                .assignment()
                .iter()
                .map(|topic_partition| topic_partition.partition.value())
                .collect::<Vec<_>>()
        };
        let waiting = async {
            while owned() != partitions {
                self.changed.notified().await;
            }
        };
        let in_time = tokio::time::timeout(LONG, waiting).await;
        assert!(in_time.is_ok(), "{partitions:?} should come, not {:?}", owned());
    }
}

/// A connection to the broker that can be closed and reopened: open connections break, and new ones fail.
#[derive(Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(crate) fn open() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn close(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn reopen(&self) {
        self.0.send_replace(false);
    }

    pub(crate) async fn client(&self, world: &World) -> Client {
        let (gate, connect) = (self.0.clone(), world.connector());
        let connect = move || {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            let (mut closed, connect) = (gate.subscribe(), connect.clone());
            tokio::spawn(async move {
                let mut broker = connect();
                tokio::select! {
                    _ = closed.wait_for(|closed| *closed) => {}
                    _ = tokio::io::copy_bidirectional(&mut far, &mut broker) => {}
                }
            });
            near
        };
        let builder = Client::builder().transport(transport::in_process(connect)).bootstrap(["through the gate"]);
        builder.connect().await.unwrap()
    }
}

pub(crate) fn topic_partition(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition { topic: TopicName::new(topic).unwrap(), partition: PartitionId::new(partition) }
}
