//! Late answers, and answers to earlier attempts.

use super::*;

#[test]
fn an_error_after_the_ack_changes_nothing() {
    for code in [ErrorCode::OutOfOrderSequence, ErrorCode::FencedProducer, ErrorCode::TooLarge, ErrorCode::DiskFull] {
        let mut world = with_in_flight(2);
        world.apply(Event::Handle);
        world.apply(Event::Handle);
        let Some(Answer::Batch(id, acked)) = world.answers.pop() else { panic!("the second batch is in the log") };
        let acks = world.queue.answered(id, acked, world.now).settled.len();
        assert_eq!(acks, 1);
        let effects = world.queue.answered(id, Err(refusal(code)), world.now);
        assert!(effects.settled.is_empty() && effects.batch_size.is_none(), "{code:?}");
        world.wire.clear();
        world.apply(Event::Answer(0)); // The answer to the first attempt.
        assert!(world.wire.is_empty() && !world.queue.is_busy(), "{code:?}: nothing is sent again");
    }
}

#[test]
fn a_batch_in_doubt_found_in_the_log_is_settled_once() {
    let mut world = with_in_flight(1);
    world.apply(Event::Cut(1)); // The broker has appended the batch, and its answer is lost.
    world.wait(PAUSE);
    world.apply(Event::Handle);
    world.apply(Event::Answer(0));
    assert_eq!(world.broker.log().len() as u32, 1 + RECORDS_MAX, "the log has no duplicate");
    world.heal();
    assert_eq!((offsets(&mut world), world.ids), (vec![Some(0), Some(1), Some(2), Some(3)], 1));
}
