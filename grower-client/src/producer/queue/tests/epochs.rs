//! Fences, and partitions that need a new producer id.

use super::*;

/// Creates a world whose last of two batches was given up in doubt, on a connection that still waits.
fn with_doubt() -> World {
    let mut world = with_in_flight(1);
    world.apply(Event::Stall);
    world.apply(Event::TimeOut);
    assert!(!world.queue.is_busy() && world.queue.has_open_doubt());
    world
}

#[test]
fn nothing_leaves_after_a_doubt_before_the_fence_is_acknowledged() {
    let mut world = with_doubt();
    world.apply(Event::Push(1));
    world.wait(PAUSE);
    assert!(matches!(*world.wire.make_contiguous(), [Message::Fence(_)]), "{:?}", world.wire);
    world.apply(Event::Handle);
    world.apply(Event::Land(0)); // The old batch comes too late.
    world.heal();
    assert_eq!(world.broker.log(), [0, 4]);
    assert_eq!((offsets(&mut world), world.ids), (vec![Some(0), None, None, None, Some(1)], 1));
}

#[test]
fn a_batch_in_doubt_that_lands_before_the_fence_is_before_later_records() {
    let mut world = with_doubt();
    world.apply(Event::Push(1));
    world.apply(Event::Land(0));
    world.heal();
    assert_eq!(world.broker.log(), [0, 1, 2, 3, 4]);
    assert_eq!((offsets(&mut world), world.ids), (vec![Some(0), None, None, None, Some(4)], 1));
}

#[test]
fn an_idle_partition_in_doubt_is_fenced_too() {
    let mut world = with_doubt();
    world.wait(PAUSE);
    world.apply(Event::Handle);
    world.apply(Event::Answer(0));
    assert!(world.is_definite());
}

#[test]
fn a_fence_resolves_the_doubt_of_the_batches_behind() {
    for landed in 0..3 {
        let mut world = with_in_flight(1);
        world.wait(10 * PAUSE);
        world.apply(Event::Push(2 * RECORDS_MAX)); // Its deadline is later than that of the batch before it.
        world.apply(Event::Stall);
        world.wait(DELIVERY_TIMEOUT - 10 * PAUSE);
        assert!(world.queue.is_busy() && world.queue.has_open_doubt());
        (0..landed).for_each(|_| world.apply(Event::Land(0)));
        world.heal();
        let first = if landed == 0 { 1 } else { 4 };
        let acked = (first..first + 6).map(Some);
        let expected = [Some(0), None, None, None].into_iter().chain(acked).collect::<Vec<_>>();
        assert_eq!((offsets(&mut world), world.ids), (expected, 1), "{landed} landed");
    }
}

#[test]
fn a_batch_in_the_log_is_acknowledged_before_the_next_epoch_begins() {
    let mut world = with_in_flight(1);
    world.wait(10 * PAUSE);
    world.apply(Event::Push(RECORDS_MAX));
    world.apply(Event::Cut(2));
    world.wait(DELIVERY_TIMEOUT - 10 * PAUSE);
    world.apply(Event::Push(1));
    world.wait(PAUSE);
    world.apply(Event::Handle);
    world.apply(Event::Answer(0)); // The fence.
    assert_eq!(world.wire.len(), 1, "the batch in the log is sent alone");
    world.apply(Event::Cut(1)); // Its answer is lost again.
    world.heal();
    assert_eq!(offsets(&mut world)[4..], [Some(4), Some(5), Some(6), Some(7)]);
}

#[test]
fn a_doubt_of_which_the_broker_knows_nothing_stays_one() {
    let mut world = with_in_flight(2);
    world.broker = MiniBroker::default();
    world.apply(Event::Cut(0));
    world.wait(PAUSE);
    world.apply(Event::Refuse(ErrorCode::OutOfOrderSequence));
    world.apply(Event::Refuse(ErrorCode::OutOfOrderSequence));
    world.apply(Event::Answer(0));
    world.apply(Event::Answer(0));
    world.heal();
    for (value, outcome) in world.sent.drain(..).flat_map(SentRecords::outcomes).skip(1) {
        let Some(Err(error)) = outcome else { panic!("{value}: {outcome:?}") };
        assert_eq!((error.code(), error.outcome()), (Some(ErrorCode::UnknownProducer), Outcome::Unknown));
    }
}

#[test]
fn a_forgotten_producer_continues_in_its_next_epoch() {
    let mut world = with_in_flight(2);
    world.apply(Event::Refuse(ErrorCode::OutOfOrderSequence));
    world.apply(Event::Refuse(ErrorCode::OutOfOrderSequence));
    world.heal();
    assert_eq!(offsets(&mut world), (0..7).map(Some).collect::<Vec<_>>());
    assert_eq!(world.ids, 1);
}

#[test]
fn the_largest_epoch_only_closes_its_id() {
    let mut world = with_doubt();
    for _ in 0..i16::MAX - 1 {
        world.wait(PAUSE);
        world.apply(Event::Handle);
        world.apply(Event::Answer(0)); // The fence.
        world.apply(Event::Push(1));
        world.apply(Event::Stall);
        world.apply(Event::TimeOut);
    }
    assert_eq!(world.ids, 1);
    world.wait(PAUSE);
    world.apply(Event::Handle);
    world.apply(Event::Answer(0));
    assert!(world.is_definite());
    world.apply(Event::Push(1));
    world.heal();
    assert_eq!((world.ids, world.broker.log().len()), (2, 2));
}

#[test]
fn an_id_that_was_never_allocated_is_replaced() {
    for code in [ErrorCode::FencedProducer, ErrorCode::Unsupported] {
        let mut world = with_doubt();
        world.apply(Event::Push(1));
        world.wait(PAUSE);
        world.apply(Event::Refuse(code));
        world.heal();
        assert_eq!((offsets(&mut world), world.ids), (vec![Some(0), None, None, None, Some(1)], 2), "{code:?}");
    }
}

#[test]
fn a_single_record_that_needs_a_fence_is_sent_within_the_backoff() {
    let mut world = with_in_flight(1);
    world.apply(Event::Refuse(ErrorCode::OutOfOrderSequence));
    world.apply(Event::Answer(0));
    assert!(world.wire.is_empty());
    world.wait(Duration::from_secs(1)); // The backoff.
    assert_eq!(world.wire.len(), 1);
    world.apply(Event::Handle);
    world.apply(Event::Answer(0));
    assert_eq!((world.ids, world.wire.len()), (1, 1));
}

#[test]
fn a_refused_producer_id_is_requested_again_after_a_backoff() {
    let mut world = with_in_flight(1);
    world.apply(Event::RefuseId);
    world.apply(Event::NoIdentities(true));
    for _ in 0..2 {
        world.apply(Event::Handle);
        world.apply(Event::Answer(0));
        world.wait(PAUSE);
    }
    assert!(world.wire.is_empty());
    assert!(
        world.next_check.is_some_and(|next_check| next_check <= world.now + PAUSE),
        "it would wait until {:?}",
        world.next_check
    );
    world.heal();
    assert!(offsets(&mut world).iter().all(Option::is_some));
}

#[test]
fn a_named_producer_continues_the_sequences_of_its_predecessor() {
    let mut world = World::named();
    world.apply(Event::Push(2));
    world.heal();
    let mut next = world.successor();
    assert_eq!(next.queue.request_last_written(), None);
    next.drain();
    next.apply(Event::Handle);
    next.apply(Event::Answer(0));
    let last = next.queue.request_last_written().flatten().unwrap();
    assert_eq!((last.sequence.to_wire(), last.offset.value()), (1, 1));
    next.apply(Event::Push(1));
    next.heal();
    assert_eq!(next.broker.log(), [0, 1, 2]);
    assert_eq!(next.queue.request_last_written().flatten(), Some(last), "it tells of the predecessor");
}

#[test]
fn a_renewal_in_another_partition_costs_no_record() {
    let mut world = World::named();
    world.apply(Event::Push(1));
    world.heal();
    world.apply(Event::Push(2 * RECORDS_MAX));
    world.apply(Event::Renew);
    world.apply(Event::Handle);
    world.heal();
    assert_eq!(world.broker.log(), (0..7).collect::<Vec<_>>());
}
