//! Turns of partitions, and what a reader gets.

mod events;
mod gaps;
mod model;
mod revocation;

use super::*;
use crate::consumer::settings::OnGap;
use crate::consumer::state::check_batches;
use bytes::Bytes;
use grower_protocol::batch::{BatchBuilder, HEADER_LENGTH, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LeaderEpoch, PartitionId};
use grower_protocol::message::{Divergence, ErrorCode, FetchSlot};
use parking_lot::Mutex;

pub(super) fn topic_partition(partition: u32) -> TopicPartition {
    TopicPartition { topic: TopicName::new("t").unwrap(), partition: PartitionId::new(partition) }
}

/// Creates partitions 0, 1, .. with the given numbers of records, three per batch.
pub(super) fn shared(records: &[u32], on_damage: OnDamage) -> SharedSubscription {
    let shared = SharedSubscription::new(on_damage, std::sync::Arc::new(|_| OnGap::Continue), 16 << 20, Instant::now());
    for (partition, count) in (0..).zip(records) {
        let mut subscription = shared.lock();
        subscription.add(topic_partition(partition), TopicId::from_random([1; 16]));
        subscription.seek(&topic_partition(partition), Offset::ZERO).unwrap();
        deliver(&mut subscription, partition, batches(0, *count));
    }
    shared
}

pub(super) fn batches(base: u32, count: u32) -> Vec<u8> {
    let batch = |base: u32| {
        let mut builder = BatchBuilder::new(Codec::None);
        (0..3).for_each(|_| builder.push(&Record::default()));
        let placed = UnplacedBatch::built(builder.build(None)).place(Offset::new(base.into()), LeaderEpoch::new(1));
        placed.bytes().to_vec()
    };
    (base..base + count).step_by(3).flat_map(batch).collect()
}

pub(super) fn deliver(subscription: &mut SubscriptionState, partition: u32, bytes: Vec<u8>) {
    let on_damage = subscription.on_damage;
    let mut partition = subscription.partition(&topic_partition(partition)).unwrap();
    let (wanted, gaps_allowed) = (partition.next_fetch().offset, partition.gaps_allowed);
    let _ = partition.accept(wanted, check_batches(Bytes::from(bytes), wanted, gaps_allowed), on_damage);
}

/// Changes partition 0 as the tasks do.
fn change(shared: &SharedSubscription, change: impl FnOnce(&mut PartitionFetchState)) {
    let version = shared.lock().partition(&topic_partition(0)).unwrap().version;
    shared.change_partition(&topic_partition(0), version, |partition, _| change(partition)).unwrap();
}

fn limits(records: usize) -> TakeLimits {
    TakeLimits { records, bytes: usize::MAX }
}

pub(super) fn take(shared: &SharedSubscription, max: usize) -> Vec<(u32, u64)> {
    let mut records = Vec::new();
    shared.take(limits(max), Instant::now, Waker::noop(), &mut records).unwrap();
    records.into_iter().map(|record| (record.partition.value(), record.offset.value())).collect()
}

#[test]
fn partitions_take_turns_and_keep_their_order() {
    let shared = shared(&[3, 0, 6], OnDamage::Fail);
    assert_eq!(take(&shared, 2), [(0, 0), (0, 1)]);
    assert_eq!(take(&shared, 5), [(0, 2), (2, 0), (2, 1), (2, 2), (2, 3)]);
    assert_eq!(take(&shared, 9), [(2, 4), (2, 5)]);
    assert_eq!(take(&shared, 9), []);
}

#[test]
fn the_work_of_a_call_follows_the_news_and_not_the_number_of_partitions() {
    let shared = shared(&[0; 2000], OnDamage::Fail);
    let mut subscription = shared.lock();
    while let Some(index) = subscription.partitions.next_to_plan(Instant::now()) {
        let mut partition = subscription.partitions.update_at(index).unwrap();
        let placement = FetchPlacement { version: partition.version, session: SessionKey(1), slot: FetchSlot(0) };
        partition.place(Some(placement));
    }
    let before = subscription.partitions.changes;
    deliver(&mut subscription, 1234, batches(0, 3));
    drop(subscription);
    assert_eq!(take(&shared, 9), [(1234, 0), (1234, 1), (1234, 2)]);
    assert_eq!(take(&shared, 9), []);
    let mut subscription = shared.lock();
    assert_eq!(subscription.partitions.changes - before, 3, "the delivery, the records, and their consumption");
    assert_eq!(subscription.partitions.next_to_plan(Instant::now()), None, "their slots read on");
    subscription.partitions.check();
}

/// Tells whether a reader was woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl Woken {
    fn is_woken(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl std::task::Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn a_resumed_partition_wakes_the_reader_for_what_it_holds() {
    let shared = shared(&[3], OnDamage::Fail);
    shared.lock().partition(&topic_partition(0)).unwrap().paused = true;
    let woken = std::sync::Arc::new(Woken::default());
    let waker = std::task::Waker::from(woken.clone());
    shared.take(limits(9), Instant::now, &waker, &mut Vec::new()).unwrap();
    assert!(!woken.is_woken());
    shared.lock().partition(&topic_partition(0)).unwrap().paused = false;
    assert!(woken.is_woken());
    assert_eq!(take(&shared, 9).len(), 3);
}

#[test]
fn a_turn_of_a_partition_ends_after_its_share() {
    let shared = shared(&[TURN as u32 * 2, 3], OnDamage::Fail);
    let taken = take(&shared, TURN + 1);
    assert_eq!(taken.last(), Some(&(1, 0)));
}

#[test]
fn records_are_consumed_when_the_reader_polls_again() {
    let shared = shared(&[6], OnDamage::Fail);
    take(&shared, 2);
    let at = |shared: &SharedSubscription| {
        let mut subscription = shared.lock();
        let partition = subscription.partition(&topic_partition(0)).unwrap();
        (partition.consumed().unwrap().offset.value(), partition.position().offset.value())
    };
    assert_eq!(at(&shared), (0, 2));
    take(&shared, 1);
    assert_eq!(at(&shared), (2, 3));
}

#[test]
fn an_error_comes_after_the_records_before_it_and_alone() {
    let shared = shared(&[3, 3], OnDamage::Fail);
    let mut damaged = batches(3, 3);
    *damaged.last_mut().unwrap() ^= 1;
    for _ in 0..2 {
        deliver(&mut shared.lock(), 0, damaged.clone()); // The first time, it would be investigated.
    }
    assert_eq!(take(&shared, 4), [(0, 0), (0, 1), (0, 2), (1, 0)]);
    assert_eq!(take(&shared, 4), [(1, 1), (1, 2)]);
    let error = shared.take(limits(4), Instant::now, Waker::noop(), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, ConsumeError::Damaged { offsets, .. } if offsets == (Offset::new(3)..Offset::new(6))));
    assert_eq!(take(&shared, 4), []);
}

#[test]
fn records_behind_damage_are_discarded() {
    let shared = shared(&[0], OnDamage::Fail);
    let mut damaged = batches(0, 6);
    *damaged.last_mut().unwrap() ^= 1;
    let version = shared.lock().partition(&topic_partition(0)).unwrap().version;
    deliver(&mut shared.lock(), 0, damaged.clone());
    let mut subscription = shared.lock();
    assert!(
        subscription.current(&topic_partition(0), version).is_none(),
        "what comes from offset 6 on is not wanted any more"
    );
    let partition = subscription.partition(&topic_partition(0)).unwrap();
    assert_eq!((partition.next_fetch().offset.value(), partition.held().total()), (3, damaged.len() / 2));
    assert_eq!(partition.wanted_version(), None, "the damage is investigated first");
    drop(partition);
    drop(subscription);
    assert_eq!(take(&shared, 9), [(0, 0), (0, 1), (0, 2)]);
}

#[test]
fn a_fetch_from_before_a_seek_is_discarded() {
    let shared = shared(&[3], OnDamage::Fail);
    let version = shared.lock().partition(&topic_partition(0)).unwrap().version;
    shared.lock().seek(&topic_partition(0), Offset::new(30)).unwrap();
    assert_eq!(take(&shared, 9), []);
    assert!(shared.change_partition(&topic_partition(0), version, |_, _| ()).is_none());
    deliver(&mut shared.lock(), 0, batches(30, 3));
    assert_eq!(take(&shared, 1), [(0, 30)]);
}

#[test]
fn a_poll_ends_at_its_memory_limit() {
    let shared = shared(&[9], OnDamage::Fail);
    let bytes = batches(0, 3).len() - HEADER_LENGTH + 1; // More than the memory of one batch, less than two.
    let mut records = Vec::new();
    shared.take(TakeLimits { records: 9, bytes }, Instant::now, Waker::noop(), &mut records).unwrap();
    assert_eq!(
        records.len(),
        6,
        "the second batch is kept as soon as one of its records is, so that it is handed out whole"
    );
    records.clear();
    shared.take(TakeLimits { records: 9, bytes: 0 }, Instant::now, Waker::noop(), &mut records).unwrap();
    assert_eq!(records.len(), 3, "a poll always gets on, by a batch");
}

/// Builds a batch of records that compress to nearly nothing.
fn inflating_batch(base: u64, records: u32, value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::Zstd);
    let value = Some(Bytes::from(vec![b'a'; value_bytes]));
    (0..records).for_each(|_| builder.push(&Record { value: value.clone(), ..Record::default() }));
    UnplacedBatch::built(builder.build(None)).place(Offset::new(base), LeaderEpoch::new(1)).bytes().to_vec()
}

#[test]
fn open_batches_of_many_partitions_use_bounded_memory() {
    const RECORDS: u32 = TURN as u32 * 2;
    let max = 1 << 20;
    let shared = SharedSubscription::new(OnDamage::Fail, std::sync::Arc::new(|_| OnGap::Continue), max, Instant::now());
    let batch = inflating_batch(0, RECORDS, 400); // More than 400 KB, from a few hundred bytes.
    for partition in 0..20 {
        let mut subscription = shared.lock();
        subscription.add(topic_partition(partition), TopicId::from_random([1; 16]));
        subscription.seek(&topic_partition(partition), Offset::ZERO).unwrap();
        deliver(&mut subscription, partition, batch.clone());
    }
    let mut taken = 0;
    while !take(&shared, 100).is_empty() {
        taken += 100;
        let subscription = shared.lock();
        subscription.partitions.check();
        let open = subscription.partitions.held().open;
        assert!(open <= max + (RECORDS as usize) * 410, "{open} bytes are open");
    }
    assert_eq!(taken, 20 * RECORDS);
}

#[test]
fn an_offline_partition_is_reported_once_until_it_is_served_again() {
    let shared = shared(&[3, 3], OnDamage::Fail);
    take(&shared, 6);
    let goes_offline = || {
        let mut subscription = shared.lock();
        let failure = grower_protocol::message::Failure::new(ErrorCode::PartitionOffline, "its files are gone");
        subscription.partition(&topic_partition(1)).unwrap().fail(failure.into(), Instant::now());
    };
    let told =
        || shared.take(limits(9), Instant::now, Waker::noop(), &mut Vec::new()).err().map(|error| error.to_string());
    for served_up_to in [3, 6] {
        goes_offline();
        assert_eq!(told().as_deref(), Some("t/1: its files are gone"));
        goes_offline();
        assert_eq!(told(), None, "it is known");
        deliver(&mut shared.lock(), 0, batches(served_up_to, 3));
        deliver(&mut shared.lock(), 1, batches(served_up_to, 3));
        assert_eq!(take(&shared, 9).len(), 6, "the others are read on, and so is this one once it is served");
    }
}

#[test]
fn a_partition_reported_offline_before_its_start_can_still_start() {
    let shared = shared(&[], OnDamage::Fail);
    let version = shared.lock().add(topic_partition(0), TopicId::from_random([1; 16]));
    let failure = grower_protocol::message::Failure::new(ErrorCode::PartitionOffline, "its files are gone");
    change(&shared, |partition| partition.fail(failure.into(), Instant::now()));
    assert!(shared.take(limits(9), Instant::now, Waker::noop(), &mut Vec::new()).is_err());
    shared
        .change_partition(&topic_partition(0), version, |partition, _| partition.move_to(OffsetAndEpoch::ZERO, version))
        .expect("it is the same still");
    deliver(&mut shared.lock(), 0, batches(0, 3));
    assert_eq!(take(&shared, 9).len(), 3);
}

#[test]
fn a_reader_that_waits_is_woken_by_the_next_delivery() {
    let shared = SharedSubscription::new(OnDamage::Fail, std::sync::Arc::new(|_| OnGap::Continue), 1, Instant::now());
    for partition in 0..2 {
        let mut subscription = shared.lock();
        subscription.add(topic_partition(partition), TopicId::from_random([1; 16]));
        subscription.seek(&topic_partition(partition), Offset::ZERO).unwrap();
    }
    // A turn ends within a large open batch, and its partition is revoked. The next one has only fillers.
    deliver(&mut shared.lock(), 0, inflating_batch(0, TURN as u32 + 5, 1));
    assert_eq!(take(&shared, TURN).len(), TURN);
    shared.lock().partitions.retain(|revoked, _| revoked.partition != PartitionId::new(0));
    let fillers =
        grower_protocol::batch::fillers(Offset::ZERO..Offset::new(5), LeaderEpoch::new(1), Default::default());
    deliver(&mut shared.lock(), 1, fillers.flat_map(|batch| batch.bytes().to_vec()).collect());
    let woken = std::sync::Arc::new(Woken::default());
    let (waker, mut records) = (Waker::from(woken.clone()), Vec::new());
    shared.take(limits(9), Instant::now, &waker, &mut records).unwrap();
    assert!(records.is_empty() && !woken.is_woken(), "the reader waits");
    deliver(&mut shared.lock(), 1, batches(5, 3));
    assert!(woken.is_woken());
    assert_eq!(take(&shared, 9).len(), 3);
}

#[test]
fn an_error_of_a_paused_partition_does_not_overtake_records_that_were_dropped_for_their_memory() {
    let shared = shared(&[6], OnDamage::Fail);
    change(&shared, |partition| {
        partition.damaged(Offset::new(6)..Offset::new(7), "as the test wants".into(), OnDamage::Fail);
        partition.discard_fetched();
    });
    assert_eq!(take(&shared, 9), [], "the error stands behind the records, which are fetched again");
    deliver(&mut shared.lock(), 0, batches(0, 6));
    assert_eq!(take(&shared, 9).len(), 6);
}
