//! Unsettled records stay reachable: for a producer with little memory and a topic that is deleted and recreated all
//! the time, and for failures during a flush.

use super::*;
use crate::admin::TopicSpec;
use crate::deadline::Deadline;
use crate::error::RequestError;
use crate::{Client, transport};
use accumulator::BatchSettings;
use grower_broker::{Broker, BrokerConfig, MemLogs};
use grower_protocol::batch;
use grower_protocol::compression::Codec;
use grower_protocol::ids::{PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::{ErrorCode, Failure};
use in_flight::{BatchId, ReleasedRecords};
use queue::{PartitionQueue, SendStep};
use sequence_window::WindowSettings;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use topic::{ProducerPartition, ProducerTopic};
use unobserved::UnobservedFailures;

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(2);

impl ProducerEngine {
    /// The memory of all records that the timer and a flush can reach.
    fn reachable(&self) -> usize {
        let partitions = self.topics().into_iter().flat_map(|topic| topic.partitions());
        partitions.map(|partition| partition.lock().queue.reserved()).sum()
    }
}

/// Sends until `stop` is set. The sender drops every fifth record after a moment.
async fn send(producer: Producer, stop: Arc<AtomicBool>, number: u32) {
    for count in number.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let mut record = Record::new("events").key(count.to_string()).value(vec![b'x'; 4_000]);
        if count % 3 == 0 {
            record = record.partition(PartitionId::new(count % 2));
        }
        let sending = producer.send(record);
        if count % 5 == 0 {
            drop(timeout(Duration::from_millis(1), sending).await);
        } else if timeout(4 * DELIVERY_TIMEOUT, sending).await.expect("a send ends").is_err() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsettled_records_stay_reachable_while_topics_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::at(dir.path());
    (config.disk_reserve_bytes, config.listen, config.http) = (Some(1 << 20), None, None);
    let broker = Broker::builder(config).logs(Arc::new(MemLogs)).start().await.unwrap();
    let builder = Client::builder().transport(transport::in_process(broker.connector())).bootstrap(["in process"]);
    let client = builder.connect().await.unwrap();
    let admin = client.admin();
    let builder = client.producer().memory(16 << 10).delivery_timeout(DELIVERY_TIMEOUT);
    let producer = builder.linger(Duration::from_millis(1)).build().await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..16).map(|n| tokio::spawn(send(producer.clone(), stop.clone(), n))).collect();
    for round in 0..60 {
        admin.create_topic("events", TopicSpec::partitions(1 + round % 3)).await.unwrap();
        sleep(Duration::from_millis(u64::from(round % 5))).await;
        admin.delete_topic("events").await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    drop(timeout(4 * DELIVERY_TIMEOUT, producer.flush()).await.expect("a flush ends"));
    let engine = &producer.handle.engine;
    assert_eq!((engine.memory.used(), engine.reachable()), (0, 0), "reserved bytes, and bytes that a flush finds");
}

/// Creates a topic with one partition.
fn topic(unobserved: &Arc<UnobservedFailures>) -> ProducerTopic {
    let topic = ProducerTopic::new(TopicName::new("t").unwrap(), 0);
    let batches = BatchSettings { codec: Codec::None, bytes: 1 << 20, records: 1, linger: Duration::ZERO };
    let retry_wait = |_: &RequestError, _| Duration::ZERO;
    let window = WindowSettings { codec: Codec::None, in_flight_max: 5, is_named: false, retry_wait };
    let queue = |number| {
        let topic_partition = topic.topic_partition(number);
        PartitionQueue::new(topic_partition, batches, window, TopicId::from_random([7; 16]), None)
            .reporting_to(unobserved.clone())
    };
    assert!(topic.update(TopicId::from_random([7; 16]), 1, queue).is_empty());
    topic
}

/// Sends the batch of a partition.
fn sent(partition: &ProducerPartition) -> BatchId {
    let mut state = partition.lock();
    let Some(SendStep::Build(numbered)) = state.queue.next(Instant::now()) else { panic!("nothing to build") };
    state.selector.add_in_flight(1);
    let attempt = state.built(numbered.id, numbered.builder.build(numbered.stamp).freeze());
    state.queue.end_step();
    attempt.unwrap().id
}

#[test]
fn a_settled_failure_is_recorded_before_a_flush_can_miss_it() {
    let refusal = || RequestError::from(Failure::new(ErrorCode::InvalidRecord, "as the test wants"));
    type Failing<'a> = &'a dyn Fn(&ProducerTopic, &ProducerPartition) -> Vec<ReleasedRecords>;
    let ways: [(&str, Failing<'_>); 4] = [
        ("refused", &|_, partition| partition.answered(sent(partition), Err(refusal()), Instant::now).0),
        ("too old", &|_, partition| partition.expire(Instant::now() + DELIVERY_TIMEOUT)),
        ("topic deleted", &|topic, _| topic.close(&refusal())),
        ("partition gone", &|topic, _| topic.update(TopicId::from_random([7; 16]), 0, |_| unreachable!("none is new"))),
    ];
    for (name, fail) in ways {
        let unobserved = Arc::new(UnobservedFailures::default());
        let topic = topic(&unobserved);
        let partition = topic.partitions().remove(0);
        let deliver = |promise: &DeliveryPromise, index| drop(promise.delivery(index, Timestamp::default()));
        let deadline = Deadline::ending(Instant::now() + DELIVERY_TIMEOUT, DELIVERY_TIMEOUT);
        partition.lock().queue.push((&batch::Record::default()).into(), 1, deadline, Instant::now, deliver);
        let released = fail(&topic, &partition);
        assert!(partition.lock().queue.flush().is_empty(), "{name}");
        assert_eq!(unobserved.take().count, 1, "{name}");
        assert_eq!(released.iter().map(|released| released.reserved).sum::<usize>(), 1, "{name}");
    }
}
