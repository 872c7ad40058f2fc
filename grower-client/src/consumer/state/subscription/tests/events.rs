//! Events, and readers that take them only at times.

use super::*;
use crate::consumer::state::partition::EventNumber;
use std::time::Duration;

/// The result of the next call for an event, in words.
fn next(shared: &SharedSubscription) -> String {
    let mut records = Vec::new();
    let event = shared.take_with_events(limits(9), Instant::now, Waker::noop(), &mut records).unwrap();
    let names = |names: Vec<TopicPartition>| names.iter().map(|name| format!(" {name}")).collect::<String>();
    match event {
        Some(SubscriptionEvent::Assigned(assigned)) => {
            let text = |assigned: AssignedPartition| format!(" {} at {}", assigned.topic_partition, assigned.position);
            format!("assigned{}", assigned.into_iter().map(text).collect::<String>())
        }
        Some(SubscriptionEvent::Revoking(_, revoking)) => format!("revoking{}", names(revoking)),
        Some(SubscriptionEvent::Lost(lost)) => format!("lost{}", names(lost)),
        None => format!("{} records", records.len()),
    }
}

fn revoke_all(shared: &SharedSubscription) {
    shared.lock().revoke_all_but(&BTreeMap::new(), Instant::now() + Duration::from_secs(60));
}

#[test]
fn an_assignment_comes_before_records_and_a_seek_after_it_decides_where_they_begin() {
    let shared = shared(&[3, 6], OnDamage::Fail);
    assert_eq!(next(&shared), "assigned t/0 at 0 t/1 at 0");
    shared.lock().seek(&topic_partition(1), Offset::new(3)).unwrap();
    deliver(&mut shared.lock(), 1, batches(3, 3));
    let mut records = Vec::new();
    shared.take_with_events(limits(9), Instant::now, Waker::noop(), &mut records).unwrap();
    let at = records.iter().map(|record| (record.partition.value(), record.offset.value())).collect::<Vec<_>>();
    assert_eq!(at, [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (1, 5)]);
}

#[test]
fn a_partition_is_announced_once_its_start_is_known_and_wakes_the_reader() {
    let shared = shared(&[], OnDamage::Fail);
    assert_eq!(next(&shared), "0 records");
    let version = shared.lock().add(topic_partition(0), TopicId::from_random([1; 16]));
    let woken = std::sync::Arc::new(Woken::default());
    let waker = std::task::Waker::from(woken.clone());
    shared.take_with_events(limits(9), Instant::now, &waker, &mut Vec::new()).unwrap();
    assert!(!woken.is_woken());
    change(&shared, |partition| partition.move_to(OffsetAndEpoch::of_unknown_epoch(Offset::new(7)), version));
    assert!(woken.is_woken());
    assert_eq!(next(&shared), "assigned t/0 at 7");
    assert_eq!(next(&shared), "0 records");
}

#[test]
fn a_partition_that_leaves_before_it_was_announced_causes_no_event() {
    let shared = shared(&[3], OnDamage::Fail);
    shared.lock().partitions.retain(|_, _| false);
    assert_eq!(next(&shared), "0 records");
    shared.lock().add(topic_partition(0), TopicId::from_random([1; 16]));
    shared.lock().seek(&topic_partition(0), Offset::ZERO).unwrap();
    revoke_all(&shared);
    assert_eq!(shared.lock().release_revoked(Instant::now()).all.len(), 1);
    assert_eq!(next(&shared), "0 records");
}

#[test]
fn a_revocation_waits_until_its_event_is_dropped() {
    let shared = shared(&[3, 3], OnDamage::Fail);
    assert_eq!(next(&shared), "assigned t/0 at 0 t/1 at 0");
    assert_eq!(next(&shared), "6 records");
    revoke_all(&shared);
    let is_released = || !shared.lock().release_revoked(Instant::now()).all.is_empty();
    assert!(!is_released());
    assert_eq!(next(&shared), "revoking t/0 t/1");
    assert_eq!(next(&shared), "0 records");
    assert!(!is_released(), "the reader still has the event");
    shared.lock().finish_revoking(EventNumber(1), false);
    assert!(is_released(), "the reader never commits, and is back");
    assert_eq!(next(&shared), "0 records");
}

#[test]
fn a_reader_that_is_done_gives_a_partition_up_although_it_has_not_come_back() {
    let shared = shared(&[3], OnDamage::Fail);
    shared.lock().commits = true;
    assert_eq!(next(&shared), "assigned t/0 at 0");
    assert_eq!(next(&shared), "3 records");
    revoke_all(&shared);
    assert_eq!(next(&shared), "revoking t/0");
    shared.lock().finish_revoking(EventNumber(1), true);
    let released = shared.lock().release_revoked(Instant::now());
    assert_eq!((released.all.len(), released.unfinished.len()), (1, 0));
    assert!(shared.lock().revoked_uncommitted.is_empty(), "the reader has committed what it wants");
}

/// Assigns a partition that starts at an offset.
fn come_back(shared: &SharedSubscription, partition: u32, start: u64) {
    let mut subscription = shared.lock();
    let version = subscription.add(topic_partition(partition), TopicId::from_random([1; 16]));
    let mut partition = subscription.partition(&topic_partition(partition)).unwrap();
    partition.move_to(OffsetAndEpoch::of_unknown_epoch(Offset::new(start)), version);
}

#[test]
fn partitions_that_come_and_are_lost_while_events_are_not_read_are_told_in_order() {
    let shared = shared(&[3, 3], OnDamage::Fail);
    assert_eq!(next(&shared), "assigned t/0 at 0 t/1 at 0");
    for _ in 0..3 {
        assert_eq!(shared.lock().lose_all().len(), 2);
        for partition in 0..2 {
            come_back(&shared, partition, 5);
        }
    }
    assert_eq!(next(&shared), "lost t/0 t/1");
    assert_eq!(next(&shared), "assigned t/0 at 5 t/1 at 5");
    assert_eq!(next(&shared), "0 records");
}

#[test]
fn a_seek_in_a_partition_that_was_lost_meanwhile_is_no_error_until_the_reader_knows() {
    let shared = shared(&[3], OnDamage::Fail);
    assert_eq!(next(&shared), "assigned t/0 at 0");
    shared.lock().lose_all();
    let seek = || shared.lock().seek(&topic_partition(0), Offset::new(1)).is_ok();
    assert!(seek());
    assert_eq!(next(&shared), "lost t/0");
    assert!(!seek());
}

#[test]
fn a_reader_that_does_not_know_of_a_loss_changes_nothing_in_the_partition_that_came_back() {
    let shared = shared(&[3], OnDamage::Fail);
    let is_back_untold = || shared.lock().is_back_untold(&topic_partition(0));
    assert_eq!(next(&shared), "assigned t/0 at 0");
    assert_eq!(next(&shared), "3 records");
    assert!(!is_back_untold());
    shared.lock().lose_all();
    come_back(&shared, 0, 20);
    assert!(is_back_untold(), "it commits records of before");
    shared.lock().seek(&topic_partition(0), Offset::new(1)).unwrap();
    assert_eq!(next(&shared), "lost t/0");
    assert!(!is_back_untold());
    assert_eq!(next(&shared), "assigned t/0 at 20");
}

#[test]
fn a_reader_of_records_may_commit_in_a_partition_that_came_back_once_it_reads_there() {
    let shared = shared(&[3], OnDamage::Fail);
    assert_eq!(take(&shared, 2).len(), 2);
    shared.lock().lose_all();
    come_back(&shared, 0, 0);
    assert!(shared.lock().is_back_untold(&topic_partition(0)));
    deliver(&mut shared.lock(), 0, batches(0, 3));
    assert_eq!(take(&shared, 1).len(), 1);
    assert!(!shared.lock().is_back_untold(&topic_partition(0)));
}

#[test]
fn a_reader_of_records_handles_events_by_itself() {
    let shared = shared(&[3, 3], OnDamage::Fail);
    assert_eq!(take(&shared, 4).len(), 4);
    assert_eq!(next(&shared), "2 records", "what it reads already is not announced");
    shared.lock().add(topic_partition(2), TopicId::from_random([1; 16]));
    shared.lock().seek(&topic_partition(2), Offset::new(4)).unwrap();
    assert_eq!(take(&shared, 9), [], "this reader needs no announcement");
    revoke_all(&shared);
    assert_eq!(shared.lock().release_revoked(Instant::now()).all.len(), 3, "nor an event of the revocation");
    assert_eq!(next(&shared), "0 records");
}

#[test]
fn a_reader_that_takes_records_for_a_while_handles_revocations_and_is_told_the_rest_later() {
    let shared = shared(&[3], OnDamage::Fail);
    assert_eq!(next(&shared), "assigned t/0 at 0");
    revoke_all(&shared);
    assert_eq!(take(&shared, 9), []);
    assert_eq!(shared.lock().release_revoked(Instant::now()).all.len(), 1, "no event of it is due any more");
    for (partition, start) in [(1, 5), (2, 6)] {
        shared.lock().add(topic_partition(partition), TopicId::from_random([1; 16]));
        shared.lock().seek(&topic_partition(partition), Offset::new(start)).unwrap();
    }
    deliver(&mut shared.lock(), 2, batches(6, 3));
    assert_eq!(take(&shared, 9).len(), 3);
    assert_eq!(next(&shared), "assigned t/1 at 5", "the other one is being read");
    assert_eq!(take(&shared, 9), []);
    shared.lock().lose_all();
    assert_eq!(take(&shared, 9), []);
    assert_eq!(next(&shared), "lost t/1 t/2");
}
