//! Gaps: a reader gets all records before one first.

use super::*;

/// Returns the partition's records and gaps in the order in which a reader gets them one at a time.
fn read_with_gaps(shared: &SharedSubscription, gaps: &Mutex<Vec<Gap>>) -> Vec<String> {
    let mut story = Vec::new();
    loop {
        let mut records = Vec::new();
        shared.take(limits(1), Instant::now, Waker::noop(), &mut records).unwrap();
        story.extend(gaps.lock().drain(..).map(|gap| format!("{}..{} gone", gap.offsets.start, gap.offsets.end)));
        match records.pop() {
            Some(record) => story.push(record.offset.to_string()),
            None => return story,
        }
    }
}

fn shared_with_gaps(on_gap: OnGap) -> (SharedSubscription, std::sync::Arc<Mutex<Vec<Gap>>>) {
    let gaps = std::sync::Arc::new(Mutex::new(Vec::new()));
    let told = gaps.clone();
    let rule = move |gap: &Gap| {
        told.lock().push(gap.clone());
        on_gap
    };
    let shared = SharedSubscription::new(OnDamage::Fail, std::sync::Arc::new(rule), 16 << 20, Instant::now());
    let mut subscription = shared.lock();
    subscription.add(topic_partition(0), TopicId::from_random([1; 16]));
    subscription.seek(&topic_partition(0), Offset::ZERO).unwrap();
    deliver(&mut subscription, 0, batches(0, 3));
    drop(subscription);
    (shared, gaps)
}

#[test]
fn a_reader_overtaken_by_retention_gets_its_buffer_then_the_exact_gap() {
    let (shared, gaps) = shared_with_gaps(OnGap::Continue);
    {
        let mut subscription = shared.lock();
        let mut partition = subscription.partition(&topic_partition(0)).unwrap();
        partition.dropped_up_to(Offset::new(3), Offset::new(6));
        partition.dropped_up_to(Offset::new(6), Offset::new(9)); // Retention is faster than the next fetch.
        assert_eq!(partition.next_fetch().offset, Offset::new(9));
        drop(partition);
        deliver(&mut subscription, 0, batches(9, 3));
    }
    assert_eq!(read_with_gaps(&shared, &gaps), ["0", "1", "2", "3..9 gone", "9", "10", "11"]);
}

#[test]
fn a_poll_ends_before_a_gap_and_a_reported_gap_comes_alone_and_once() {
    let (shared, _gaps) = shared_with_gaps(OnGap::Report);
    change(&shared, |partition| partition.dropped_up_to(Offset::new(3), Offset::new(9)));
    deliver(&mut shared.lock(), 0, batches(9, 3));
    assert_eq!(take(&shared, 9), [(0, 0), (0, 1), (0, 2)]);
    let at =
        |shared: &SharedSubscription| shared.lock().partition(&topic_partition(0)).unwrap().position().offset.value();
    assert_eq!(at(&shared), 3, "a commit must not pass a gap that the reader does not know of");
    let error = shared.take(limits(9), Instant::now, Waker::noop(), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, ConsumeError::Gap(gap) if gap.offsets == (Offset::new(3)..Offset::new(9))));
    assert_eq!(take(&shared, 9), [(0, 9), (0, 10), (0, 11)]);
}

#[test]
fn buffered_records_of_a_deleted_topic_come_before_the_new_one() {
    let (shared, gaps) = shared_with_gaps(OnGap::Continue);
    let renewed = TopicId::from_random([2; 16]);
    {
        let mut subscription = shared.lock();
        let mut partition = subscription.partition(&topic_partition(0)).unwrap();
        partition.high_watermark = Some(Offset::new(5));
        partition.recreated_as(renewed);
        assert_eq!(
            (partition.topic, partition.topic_of_position()),
            (renewed, None),
            "nothing is committed of the old one"
        );
        drop(partition);
        deliver(&mut subscription, 0, batches(0, 3));
    }
    assert_eq!(read_with_gaps(&shared, &gaps), ["0", "1", "2", "3..5 gone", "0", "1", "2"]);
    assert_eq!(shared.lock().partition(&topic_partition(0)).unwrap().topic_of_position(), Some(renewed));
}

#[test]
fn a_truncated_log_moves_the_reader_back_and_drops_its_buffer() {
    let (shared, gaps) = shared_with_gaps(OnGap::Continue);
    assert_eq!(take(&shared, 2), [(0, 0), (0, 1)]);
    let cut_at = |end| Divergence { epoch: Some(LeaderEpoch::new(1)), end: Offset::new(end) };
    change(&shared, |partition| {
        assert_eq!(partition.next_fetch().epoch, Some(LeaderEpoch::new(1)));
        partition.diverged(Offset::new(3), &cut_at(2)); // The reader has had none of the lost records.
        assert_eq!((partition.next_fetch().offset.value(), partition.has_something()), (2, false));
        partition.diverged(Offset::new(2), &cut_at(1));
        assert_eq!(partition.next_fetch().offset.value(), 1);
    });
    deliver(&mut shared.lock(), 0, batches(1, 3));
    assert_eq!(read_with_gaps(&shared, &gaps), ["1..2 gone", "1", "2", "3"]);
}
