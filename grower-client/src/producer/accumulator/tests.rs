//! Batches of one partition, and the times at which they leave or expire.

use super::*;
use bytes::Bytes;
use grower_protocol::batch::Record;
use grower_protocol::ids::{PartitionId, TopicName};

const LINGER: Duration = Duration::from_millis(5);
const LIMIT: Duration = Duration::from_secs(1);

fn accumulator(bytes: usize, records: u32) -> Accumulator {
    let topic_partition = TopicPartition { topic: TopicName::new("t").unwrap(), partition: PartitionId::new(0) };
    Accumulator::new(topic_partition, BatchSettings { codec: Codec::None, bytes, records, linger: LINGER })
}

fn push(accumulator: &mut Accumulator, length: usize, now: Instant) {
    push_until(accumulator, length, now, now + LIMIT);
}

fn push_until(accumulator: &mut Accumulator, length: usize, now: Instant, at: Instant) -> bool {
    let record = Record { value: Some(Bytes::from(vec![b'x'; length])), ..Record::default() };
    let deadline = Deadline::ending(at, at - now);
    let pushed = accumulator.push((&record).into(), length, deadline, || now, |_, _| ());
    pushed.needs_attention()
}

fn counts(accumulator: &mut Accumulator, idle: bool, now: Instant) -> Vec<u32> {
    std::iter::from_fn(|| accumulator.take(idle, now)).map(|batch| batch.builder.count()).collect()
}

#[test]
fn a_full_batch_leaves_at_once_and_a_partial_one_lingers() {
    let now = Instant::now();
    let mut accumulator = accumulator(1 << 20, 3);
    (0..7).for_each(|_| push(&mut accumulator, 10, now));
    assert_eq!(counts(&mut accumulator, true, now), [3, 3]);
    assert_eq!(accumulator.due(), Some(now + LINGER));
    assert_eq!(counts(&mut accumulator, true, now + LINGER), [1]);
}

#[test]
fn only_starting_or_filling_a_batch_needs_attention() {
    let now = Instant::now();
    let mut accumulator = accumulator(1 << 20, 3);
    let mut needs_attention = || push_until(&mut accumulator, 1, now, now + LIMIT);
    let pushed = [needs_attention(), needs_attention(), needs_attention(), needs_attention()];
    assert_eq!(pushed, [true, false, true, true]);
}

#[test]
fn a_partial_batch_waits_while_a_request_is_in_flight() {
    let now = Instant::now();
    let mut accumulator = accumulator(1 << 20, 100);
    push(&mut accumulator, 10, now);
    let later = now + LINGER * 9;
    assert!(accumulator.take(false, later).is_none());
    push(&mut accumulator, 10, later);
    assert_eq!(counts(&mut accumulator, true, later), [2]);
}

#[test]
fn only_a_single_record_may_exceed_the_batch_limit() {
    let now = Instant::now();
    let mut accumulator = accumulator(300, u32::MAX);
    for length in [100, 100, 100, 5_000, 10] {
        push(&mut accumulator, length, now);
    }
    accumulator.seal();
    let sizes: Vec<(u32, bool)> = std::iter::from_fn(|| accumulator.take(true, now))
        .map(|batch| (batch.builder.count(), batch.builder.size() <= 300))
        .collect();
    assert_eq!(sizes, [(2, true), (1, true), (1, false), (1, true)]);
}

#[test]
fn batches_only_get_smaller_until_their_size_is_restored() {
    let now = Instant::now();
    let mut accumulator = accumulator(1 << 20, u32::MAX);
    (0..4).for_each(|_| push(&mut accumulator, 100, now));
    accumulator.shrink(300);
    accumulator.shrink(900); // From a batch that was sent before.
    (0..4).for_each(|_| push(&mut accumulator, 100, now));
    assert_eq!(counts(&mut accumulator, true, now), [4, 2], "the open batch keeps its size");
    accumulator.restore_size();
    (0..4).for_each(|_| push(&mut accumulator, 100, now));
    accumulator.seal();
    assert_eq!(counts(&mut accumulator, true, now), [6]);
}

#[test]
fn a_shorter_deadline_than_all_others_needs_attention() {
    let now = Instant::now();
    let mut accumulator = accumulator(1 << 20, 100);
    let limits = [5, 9, 3, 4].map(Duration::from_secs);
    assert_eq!(limits.map(|limit| push_until(&mut accumulator, 1, now, now + limit)), [true, false, true, false]);
    assert_eq!(accumulator.next_expiry(), Some(now + limits[2]));
}

#[test]
fn only_expired_records_leave_a_batch() {
    let now = Instant::now();
    let mut accumulator = accumulator(1 << 20, 4);
    for limit in [1, 3, 3, 3, 1, 1, 1, 3, 1, 1] {
        push_until(&mut accumulator, 100, now, now + LIMIT * limit);
    }
    let (expired, released) = accumulator.expire(now + LIMIT);
    assert_eq!(expired.iter().map(|expired| expired.promise.count()).collect::<Vec<_>>(), [1, 3, 2]);
    assert!((450..550).contains(&released), "{released}: most of the second batch, and the third");
    drop(expired);
    assert_eq!(accumulator.next_expiry(), Some(now + LIMIT * 3));
    assert_eq!(counts(&mut accumulator, true, now), [3, 1], "the first batch leaves without the expired record");
    assert_eq!(accumulator.next_expiry(), None);
}

#[test]
fn a_batch_that_records_expire_from_for_long_is_sealed() {
    let now = Instant::now();
    let mut accumulator = accumulator(1 << 20, u32::MAX);
    push(&mut accumulator, 1, now);
    for millis in 1..=10 {
        let then = now + Duration::from_millis(millis);
        for _ in 0..EXPIRING_RECORDS_MAX / 4 {
            push_until(&mut accumulator, 1, now, then);
        }
        accumulator.expire(now + Duration::from_millis(millis) + EXPIRY_PAUSE * 20);
    }
    assert!(accumulator.open.is_none() && accumulator.sealed.len() == 1, "{accumulator:?}");
}

#[test]
fn a_check_for_expired_records_comes_after_a_pause() {
    let now = Instant::now();
    let mut accumulator = accumulator(1 << 20, 1);
    for millis in 0..100 {
        push_until(&mut accumulator, 1, now, now + Duration::from_millis(millis));
    }
    let (mut checks, mut expired) = (0, 0);
    while let Some(next) = accumulator.next_expiry() {
        expired += accumulator.expire(next).0.len();
        checks += 1;
    }
    assert_eq!((checks, expired), (5, 100));
}
