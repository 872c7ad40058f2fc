//! Single faults, each with its consequence.

use super::*;

#[test]
fn an_unknown_producer_sends_one_batch_at_a_time() {
    let mut world = World::new();
    world.apply(Event::Push(RECORDS_MAX * 4));
    assert_eq!(world.wire.len(), 1);
    world.apply(Event::Handle);
    world.apply(Event::Answer(0));
    assert_eq!(world.wire.len(), 3);
}

#[test]
fn a_cut_between_append_and_answer_writes_nothing_twice() {
    let mut world = with_in_flight(3);
    world.apply(Event::Cut(2));
    world.heal();
    assert_eq!(offsets(&mut world), (0..10).map(Some).collect::<Vec<_>>());
    assert_eq!(world.broker.log(), (0..10).collect::<Vec<_>>());
}

#[test]
fn batches_behind_a_refused_one_keep_the_producer_id() {
    let mut world = with_in_flight(3);
    world.apply(Event::Refuse(ErrorCode::NotAllowed));
    world.heal();
    assert_eq!(offsets(&mut world), [Some(0), None, None, None, Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)]);
    assert_eq!(world.ids, 1);
}

#[test]
fn a_timeout_behind_a_refused_batch_names_the_refusal() {
    let mut world = with_in_flight(2);
    for code in [ErrorCode::DiskFull, ErrorCode::OutOfOrderSequence] {
        world.apply(Event::Refuse(code));
        world.apply(Event::Answer(0));
    }
    world.apply(Event::TimeOut);
    for (_, outcome) in world.sent.drain(..).flat_map(SentRecords::outcomes).skip(1) {
        let Some(Err(ProduceError::TimedOut { last: Some(last), .. })) = outcome else { panic!("{outcome:?}") };
        assert_eq!(last.code(), Some(ErrorCode::DiskFull));
    }
}

#[test]
fn a_too_large_batch_is_split_until_it_fits() {
    let mut world = with_in_flight(2);
    world.broker.records_max = Some(1);
    for _ in 0..100 {
        world.apply(Event::Wait);
        world.apply(Event::Handle);
        world.apply(Event::Answer(0));
    }
    assert_eq!(offsets(&mut world), (0..7).map(Some).collect::<Vec<_>>());
}

#[test]
fn a_recreated_topic_gets_the_unacknowledged_records() {
    let mut world = with_in_flight(2);
    world.broker = MiniBroker::default();
    world.queue.set_topic_id(TopicId::from_random([8; 16]));
    while !world.wire.is_empty() {
        world.apply(Event::Refuse(ErrorCode::UnknownTopicId));
    }
    world.heal();
    assert_eq!(offsets(&mut world), [Some(0), Some(0), Some(1), Some(2), Some(3), Some(4), Some(5)]);
}

/// The offsets of records in batches, of which the broker refuses those with values that are divisible by `divisor`.
fn offsets_with_refused(count: u32, divisor: u32, named_ranges: usize) -> (Vec<Option<u64>>, usize) {
    let mut world = World::with_batches_of(count);
    world.apply(Event::RefuseRecords(Some(divisor), named_ranges));
    world.apply(Event::Push(count));
    while world.queue.is_busy() {
        world.apply(Event::Handle);
        world.apply(Event::Answer(0));
    }
    (offsets(&mut world), world.broker.refusals)
}

/// All records but those with values that are divisible by `divisor`, in their order.
fn dense_without(count: u32, divisor: u32) -> Vec<Option<u64>> {
    let mut next = 0..;
    (0..count).map(|value| if value % divisor == 0 { None } else { next.next() }).collect()
}

#[test]
fn exactly_the_refused_records_of_a_batch_fail() {
    for (divisor, named_ranges, refusals_max) in [(7, 64, 1), (7, 2, 4), (90, 0, 7), (7, 0, 40), (1, 64, 2), (2, 64, 1)]
    {
        let (offsets, refusals) = offsets_with_refused(50, divisor, named_ranges);
        assert_eq!(offsets, dense_without(50, divisor), "{divisor} {named_ranges}");
        assert!(refusals <= refusals_max, "{divisor} {named_ranges}: {refusals} refusals");
    }
}

#[test]
fn many_refused_records_take_few_requests() {
    for (divisor, named_ranges, refusals_max) in [(1, 64, 160), (2, 64, 80), (1, 0, 70)] {
        let (offsets, refusals) = offsets_with_refused(10_000, divisor, named_ranges);
        assert_eq!(offsets, dense_without(10_000, divisor), "{divisor} {named_ranges}");
        assert!(refusals <= refusals_max, "{divisor} {named_ranges}: {refusals} refusals");
    }
}

#[test]
fn a_refusal_that_names_records_of_no_batch_fails_the_batch() {
    let mut world = with_in_flight(1);
    let named = FailureContext::Records(vec![RecordRange { first: RECORDS_MAX, count: u32::MAX }]);
    let Some(Message::Batch(attempt)) = world.wire.pop_front() else { panic!("no batch is in flight") };
    let error = Failure::new(ErrorCode::InvalidRecord, "as the test wants").with_context(named).into();
    world.answer(Answer::Batch(attempt.id, Err(error)));
    world.heal();
    assert_eq!(offsets(&mut world), [Some(0), None, None, None]);
}
