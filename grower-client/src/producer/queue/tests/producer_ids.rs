//! Partitions that need a new producer id.

use super::*;

#[test]
fn giving_up_a_batch_in_doubt_forces_a_new_producer_id() {
    let mut world = with_in_flight(1);
    world.apply(Event::Cut(0));
    world.apply(Event::TimeOut);
    world.apply(Event::Push(1));
    world.heal();
    assert_eq!(offsets(&mut world), [Some(0), None, None, None, Some(1)]);
    assert_eq!(world.ids, 2);
}

#[test]
fn a_forgotten_producer_continues_under_a_new_id() {
    let mut world = with_in_flight(2);
    world.apply(Event::Refuse(ErrorCode::OutOfOrderSequence));
    world.apply(Event::Refuse(ErrorCode::OutOfOrderSequence));
    world.heal();
    assert_eq!(offsets(&mut world), (0..7).map(Some).collect::<Vec<_>>());
    assert_eq!(world.ids, 2);
}

#[test]
fn a_single_record_that_needs_a_new_producer_id_is_sent_within_the_backoff() {
    let mut world = with_in_flight(1);
    world.apply(Event::Refuse(ErrorCode::OutOfOrderSequence));
    world.apply(Event::Answer(0));
    for _ in 0..2 {
        assert!(world.wire.is_empty());
        world.wait(Duration::from_secs(1)); // The backoff, once before the request for the id.
        if !world.wire.is_empty() {
            break;
        }
    }
    assert_eq!((world.ids, world.wire.len()), (2, 1));
}

#[test]
fn a_refused_producer_id_is_requested_again_after_a_backoff() {
    let mut world = with_in_flight(1);
    world.apply(Event::NoIdentities(true));
    world.apply(Event::Refuse(ErrorCode::OutOfOrderSequence));
    world.apply(Event::Answer(0));
    world.wait(PAUSE);
    assert!(world.wire.is_empty());
    assert!(
        world.next_check.is_some_and(|next_check| next_check <= world.now + PAUSE),
        "it would wait until {:?}",
        world.next_check
    );
    world.heal();
    assert!(offsets(&mut world).iter().all(Option::is_some));
}
