//! Revoked partitions: what they wait for, and what is told of those that did not wait in vain.

use super::*;
use grower_protocol::batch::fillers;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Revokes partition 0 until a deadline in one second, and returns the partitions that leave after this time.
fn revoke_and_wait(shared: &SharedSubscription, wait: Duration) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
    let now = Instant::now();
    let mut subscription = shared.lock();
    let kept = subscription.partitions.iter().skip(1).map(|kept| (kept.topic_partition.clone(), kept.topic)).collect();
    subscription.revoke_all_but(&kept, now + SECOND);
    let released = subscription.release_revoked(now + wait);
    (released.all, released.unfinished)
}

fn commit(shared: &SharedSubscription, partition: u32, offset: u64) {
    let mut subscription = shared.lock();
    subscription.commits = true;
    subscription.note_commit(&topic_partition(partition), TopicId::from_random([1; 16]), Offset::new(offset));
}

#[test]
fn a_revoked_partition_without_handed_out_records_leaves_at_once() {
    let shared = shared(&[3, 3], OnDamage::Fail);
    commit(&shared, 1, 0);
    assert_eq!(revoke_and_wait(&shared, Duration::ZERO), (vec![topic_partition(0)], vec![]));
    assert_eq!(take(&shared, 9), [(1, 0), (1, 1), (1, 2)]);
}

#[test]
fn a_position_that_passed_offsets_without_records_holds_no_revocation_up() {
    let shared = shared(&[0, 0], OnDamage::Fail);
    let empty = fillers(Offset::ZERO..Offset::new(5), LeaderEpoch::new(1), Default::default());
    deliver(&mut shared.lock(), 0, empty.flat_map(|batch| batch.bytes().to_vec()).collect());
    assert_eq!(take(&shared, 9), []);
    assert_eq!(revoke_and_wait(&shared, Duration::ZERO).0, [topic_partition(0)]);
}

#[test]
fn a_revoked_partition_waits_for_a_commit_and_for_the_reader_but_not_beyond_the_deadline() {
    let shared = shared(&[9, 9], OnDamage::Fail);
    assert_eq!(take(&shared, 2).len(), 2);
    commit(&shared, 0, 1);
    assert_eq!(revoke_and_wait(&shared, Duration::ZERO).0, [], "a record is not committed");
    commit(&shared, 0, 2);
    assert_eq!(revoke_and_wait(&shared, Duration::ZERO).0, [], "the reader may still work on it");
    let unfinished = vec![topic_partition(0)];
    assert_eq!(revoke_and_wait(&shared, SECOND), (unfinished.clone(), unfinished));
    assert!(shared.lock().revoked_uncommitted.is_empty(), "all of it is committed");
}

#[test]
fn a_reader_that_seeks_while_it_works_on_records_holds_the_partition_until_it_is_back() {
    let shared = shared(&[9, 9], OnDamage::Fail);
    assert_eq!(take(&shared, 2).len(), 2);
    shared.lock().seek(&topic_partition(0), Offset::new(6)).unwrap();
    let consumed = |shared: &SharedSubscription| {
        shared.lock().partitions.get(&topic_partition(0)).unwrap().consumed().map(|consumed| consumed.offset.value())
    };
    assert_eq!(consumed(&shared), None, "an automatic commit would skip the records");
    assert_eq!(revoke_and_wait(&shared, Duration::ZERO).0, [], "the reader works on two records");
    take(&shared, 1);
    assert_eq!(consumed(&shared), Some(6));
    assert_eq!(revoke_and_wait(&shared, Duration::ZERO).0, [topic_partition(0)], "it never commits");
}

#[test]
fn a_revoked_partition_waits_for_the_commit_of_records_before_a_seek() {
    let shared = shared(&[9, 9], OnDamage::Fail);
    assert_eq!(take(&shared, 2).len(), 2);
    shared.lock().seek(&topic_partition(0), Offset::new(6)).unwrap();
    commit(&shared, 1, 0);
    take(&shared, 1);
    assert_eq!(revoke_and_wait(&shared, Duration::ZERO).0, [], "the records are not committed");
    assert_eq!(revoke_and_wait(&shared, SECOND).1, [topic_partition(0)]);
    assert_eq!(shared.lock().revoked_uncommitted, BTreeMap::from([(topic_partition(0), Offset::new(6))]));
}

#[test]
fn a_commit_can_name_what_was_taken_away_until_it_is_committed_after_all() {
    let shared = shared(&[9, 9], OnDamage::Fail);
    assert_eq!(take(&shared, 2).len(), 2);
    commit(&shared, 0, 1);
    assert_eq!(revoke_and_wait(&shared, SECOND).1, [topic_partition(0)]);
    assert_eq!(shared.lock().revoked_uncommitted, BTreeMap::from([(topic_partition(0), Offset::new(2))]));
    commit(&shared, 0, 2); // Its answer was late.
    assert!(shared.lock().revoked_uncommitted.is_empty());
}

#[tokio::test]
async fn a_commit_of_records_does_not_wait_for_the_start_of_another_partition() {
    let shared = shared(&[], OnDamage::Fail);
    shared.lock().add(topic_partition(1), TopicId::from_random([1; 16]));
    let waits = async || tokio::time::timeout(SECOND / 20, shared.until_commit_is_useful()).await.is_err();
    assert!(waits().await, "the start is all there is to commit");
    shared.lock().add(topic_partition(0), TopicId::from_random([1; 16]));
    shared.lock().seek(&topic_partition(0), Offset::ZERO).unwrap();
    assert!(!waits().await);
}

#[tokio::test]
async fn a_task_that_waits_for_a_release_learns_of_the_commit_and_of_the_reader() {
    let shared = std::sync::Arc::new(shared(&[9, 9], OnDamage::Fail));
    assert_eq!(take(&shared, 2).len(), 2);
    commit(&shared, 0, 1);
    assert_eq!(revoke_and_wait(&shared, Duration::ZERO).0, []);
    let waiting = tokio::spawn({
        let shared = shared.clone();
        async move { shared.until_can_release(false).await }
    });
    tokio::task::yield_now().await;
    take(&shared, 1);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    commit(&shared, 0, 2);
    tokio::time::timeout(SECOND * 5, waiting).await.unwrap().unwrap();
}
