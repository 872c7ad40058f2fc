//! Outcomes of the records of one batch.

use super::*;
use crate::deadline::Deadline;
use crate::producer::promise::DeliveryPromise;
use grower_protocol::ids::{PartitionId, TopicName};
use std::time::Duration;
use tokio::time::Instant;

fn promise(unobserved: &Arc<UnobservedFailures>) -> DeliveryPromise {
    let topic_partition = TopicPartition { topic: TopicName::new("t").unwrap(), partition: PartitionId::new(0) };
    DeliveryPromise::new(topic_partition, unobserved.clone())
}

fn deliver(promise: &mut DeliveryPromise) -> Delivery {
    let limit = Duration::from_secs(1);
    let index = promise.extend(Deadline::ending(Instant::now() + limit, limit));
    promise.delivery(index, Timestamp::default())
}

fn poll(delivery: &mut Delivery) -> Poll<Result<Ack, ProduceError>> {
    Pin::new(delivery).poll(&mut Context::from_waker(Waker::noop()))
}

fn offset(delivery: &mut Delivery) -> u64 {
    let Poll::Ready(Ok(ack)) = poll(delivery) else { panic!("not acknowledged") };
    ack.offset.unwrap().value()
}

fn at(offset: u64) -> DeliveryOutcome {
    Ok(BatchAck { base_offset: Some(Offset::new(offset)), durability: Durability::Fsynced })
}

#[test]
fn each_record_of_a_batch_gets_its_own_offset() {
    let mut promise = promise(&Arc::default());
    let mut deliveries: Vec<Delivery> = (0..3).map(|_| deliver(&mut promise)).collect();
    assert!(poll(&mut deliveries[1]).is_pending());
    promise.resolve(&at(40));
    let offsets: Vec<u64> = deliveries.iter_mut().map(offset).collect();
    assert_eq!(offsets, [40, 41, 42]);
}

#[test]
fn the_parts_of_a_split_batch_have_their_own_outcomes() {
    let mut head = promise(&Arc::default());
    let mut deliveries: Vec<Delivery> = (0..5).map(|_| deliver(&mut head)).collect();
    let tail = head.split_off(2);
    tail.resolve(&at(9));
    assert!(poll(&mut deliveries[1]).is_pending());
    head.resolve(&Err(ProduceError::Closed));
    assert!(matches!(poll(&mut deliveries[1]), Poll::Ready(Err(ProduceError::Closed))));
    assert_eq!(offset(&mut deliveries[4]), 11);
}

#[test]
fn an_unobserved_failure_is_counted_once() {
    let unobserved = Arc::new(UnobservedFailures::default());
    for (failed, dropped_before, looked_at, expected) in [
        (true, true, false, 1),
        (true, false, false, 1),
        (true, false, true, 0),
        (false, true, false, 0),
        (false, false, false, 0),
    ] {
        let mut promise = promise(&unobserved);
        let mut delivery = Some(deliver(&mut promise));
        if dropped_before {
            delivery = None;
        }
        promise.resolve(&if failed { Err(ProduceError::Closed) } else { at(1) });
        if looked_at && let Some(delivery) = &mut delivery {
            assert!(poll(delivery).is_ready());
        }
        drop(delivery);
        let case = (failed, dropped_before, looked_at);
        assert_eq!((unobserved.take().count, unobserved.take().count), (expected, 0), "{case:?}");
    }
}

#[test]
fn a_flush_counts_each_failed_record_of_a_batch_once() {
    let unobserved = Arc::new(UnobservedFailures::default());
    let mut promise = promise(&unobserved);
    let mut deliveries: Vec<Delivery> = (0..6).map(|_| deliver(&mut promise)).collect();
    drop(deliveries.remove(4));
    drop(deliveries.remove(1));
    let completion = promise.completion();
    promise.split_off(5).resolve(&at(7));
    promise.resolve(&Err(ProduceError::Closed));
    drop(deliveries.remove(0));
    let failed = completion.report();
    assert_eq!((failed.dropped.count, failed.held.count, unobserved.take().count), (3, 2, 3));
    drop(deliveries);
    assert_eq!(unobserved.take().count, 0, "the flush has reported them");
}

#[test]
fn a_dropped_promise_says_that_the_outcome_is_unknown() {
    let mut promise = promise(&Arc::default());
    let mut delivery = deliver(&mut promise);
    drop(promise);
    assert!(matches!(poll(&mut delivery), Poll::Ready(Err(ProduceError::Dropped))));
}
