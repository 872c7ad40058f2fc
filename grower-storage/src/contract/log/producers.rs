//! Idempotence: a retry is answered, not appended.

use super::LogPromise;
use super::kit::{EPOCH, Kit, batch, stamp};
use crate::log::{AppendError, Appended, FenceError};
use grower_protocol::ids::{LastWritten, Offset, ProducerEpoch, ProducerId, ProducerIdentity, Sequence};

pub(super) const PROMISES: &[LogPromise] = &[
    a_retry_gets_the_offsets_of_the_first_time,
    a_gap_in_a_sequence_is_refused,
    an_old_incarnation_is_fenced,
    a_fence_tells_the_last_record_and_refuses_earlier_epochs,
    a_fence_is_repeated_with_the_same_answer,
    a_retry_of_a_fenced_epoch_gets_its_offsets,
    a_fence_continues_after_the_records_of_a_former_id,
    fences_count_as_producers,
    a_truncated_batch_is_no_duplicate,
    a_flood_of_producers_pushes_out_the_longest_silent,
    the_longest_silent_producers_are_forgotten_first,
    a_named_producer_is_remembered_until_its_name_is_gone,
];

fn send(kit: &mut Kit, epoch: u16, sequence: i32) -> Result<Appended, AppendError> {
    let now = kit.now();
    kit.log.append(batch(&["x"], now, stamp(7, epoch, sequence)), EPOCH, now)
}

fn a_retry_gets_the_offsets_of_the_first_time(kit: &mut Kit) {
    for sequence in 0..20 {
        let first = send(kit, 0, sequence).unwrap();
        kit.append(&["between"]);
        let again = send(kit, 0, sequence).unwrap();
        assert_eq!(again.offsets(), first.offsets());
        assert!(again.duplicate && !first.duplicate);
    }
    assert_eq!(kit.span(), (0, 40));
    assert!(send(kit, 0, 16).unwrap().duplicate, "five batches are remembered, through rolls");
}

fn a_gap_in_a_sequence_is_refused(kit: &mut Kit) {
    send(kit, 0, 0).unwrap();
    let refused = send(kit, 0, 2);
    let expected = Sequence::from_wire(1).unwrap();
    assert!(matches!(refused, Err(AppendError::OutOfOrderSequence { expected: e, .. }) if e == expected));
    assert_eq!(kit.span(), (0, 1));
}

fn an_old_incarnation_is_fenced(kit: &mut Kit) {
    send(kit, 3, 0).unwrap();
    assert!(matches!(send(kit, 2, 1), Err(AppendError::FencedProducer { .. })));
    assert!(matches!(send(kit, 4, 2), Err(AppendError::OutOfOrderSequence { .. })));
    assert_eq!(send(kit, 4, 0).unwrap().base_offset, Offset::new(1));
}

fn fence(kit: &mut Kit, epoch: u16) -> Result<Option<LastWritten>, FenceError> {
    let now = kit.now();
    kit.log.fence_producer(identity(7, epoch), &[], now)
}

fn identity(producer: u64, epoch: u16) -> ProducerIdentity {
    ProducerIdentity { id: ProducerId::new(producer), epoch: ProducerEpoch::new(epoch) }
}

fn last(producer: ProducerIdentity, sequence: i32, offset: u64) -> Option<LastWritten> {
    Some(LastWritten { producer, sequence: Sequence::from_wire(sequence)?, offset: Offset::new(offset) })
}

fn a_fence_tells_the_last_record_and_refuses_earlier_epochs(kit: &mut Kit) {
    assert_eq!(kit.log.producers().last_written(ProducerId::new(7)), None);
    (0..9).for_each(|sequence| assert!(!send(kit, 0, sequence).unwrap().duplicate));
    kit.append(&["between"]);
    assert_eq!(fence(kit, 1).unwrap(), last(identity(7, 0), 8, 8));
    assert!(matches!(send(kit, 0, 9), Err(AppendError::FencedProducer { .. })));
    assert_eq!(send(kit, 1, 9).unwrap().base_offset, Offset::new(10), "the next epoch continues");
    assert_eq!(kit.log.producers().last_written(ProducerId::new(7)), last(identity(7, 1), 9, 10));
}

fn a_fence_is_repeated_with_the_same_answer(kit: &mut Kit) {
    send(kit, 0, 0).unwrap();
    for _ in 0..2 {
        assert_eq!(fence(kit, 3).unwrap(), last(identity(7, 0), 0, 0));
    }
    assert!(matches!(fence(kit, 2), Err(FenceError::Fenced { current, .. }) if current == ProducerEpoch::new(3)));
    assert_eq!(fence(kit, 4).unwrap(), last(identity(7, 0), 0, 0), "no batch came in between");
}

fn a_retry_of_a_fenced_epoch_gets_its_offsets(kit: &mut Kit) {
    send(kit, 0, 0).unwrap();
    fence(kit, 1).unwrap();
    let again = send(kit, 0, 0).unwrap();
    assert!(again.duplicate && again.base_offset == Offset::ZERO);
    assert!(!send(kit, 1, 0).unwrap().duplicate, "the same sequence of the new epoch is another batch");
    assert!(send(kit, 0, 0).unwrap().duplicate);
    assert_eq!(kit.span(), (0, 2));
}

fn a_fence_continues_after_the_records_of_a_former_id(kit: &mut Kit) {
    send(kit, 5, 0).unwrap();
    let now = kit.now();
    let former = [ProducerId::new(7), ProducerId::new(6)];
    let fenced = kit.log.fence_producer(identity(8, 0), &former, now).unwrap();
    assert_eq!(fenced, last(identity(7, 5), 0, 0));
    let next = batch(&["x"], now, stamp(8, 0, 1));
    assert_eq!(kit.log.append(next, EPOCH, now).unwrap().base_offset, Offset::new(1));
}

fn fences_count_as_producers(kit: &mut Kit) {
    for producer in 0..100 {
        kit.now += 1;
        let now = kit.now();
        assert_eq!(kit.log.fence_producer(identity(producer, 1), &[], now).unwrap(), None);
        assert!(kit.log.producers().len() <= 4, "that is the limit");
    }
    let now = kit.now();
    let stale = kit.log.append(batch(&["x"], now, stamp(99, 0, 0)), EPOCH, now);
    assert!(matches!(stale, Err(AppendError::FencedProducer { .. })), "the latest fence is remembered");
}

fn a_truncated_batch_is_no_duplicate(kit: &mut Kit) {
    (0..3).for_each(|sequence| assert!(!send(kit, 0, sequence).unwrap().duplicate));
    kit.log.truncate(Offset::new(1)).unwrap();
    assert!(send(kit, 0, 0).unwrap().duplicate);
    assert!(!send(kit, 0, 1).unwrap().duplicate);
    assert_eq!(kit.span(), (0, 2));
}

fn a_flood_of_producers_pushes_out_the_longest_silent(kit: &mut Kit) {
    let send = |kit: &mut Kit, producer, sequence| {
        kit.now += 1;
        let now = kit.now();
        kit.log.append(batch(&["x"], now, stamp(producer, 0, sequence)), EPOCH, now).map(|appended| appended.duplicate)
    };
    for producer in 0..5 {
        assert!(!send(kit, producer, 0).unwrap()); // The limit is 4.
    }
    assert!(send(kit, 4, 0).unwrap());
    assert!(send(kit, 1, 0).unwrap());
    let refused = send(kit, 0, 1);
    assert!(matches!(refused, Err(AppendError::OutOfOrderSequence { .. })), "a forgotten producer begins at 0");
}

fn the_longest_silent_producers_are_forgotten_first(kit: &mut Kit) {
    let send = |kit: &mut Kit, producer| {
        let now = kit.now();
        kit.log.append(batch(&["x"], now, stamp(producer, 0, 0)), EPOCH, now).map(|appended| appended.duplicate)
    };
    for producer in 0..4 {
        kit.now += 10;
        assert!(!send(kit, producer).unwrap());
    }
    let now = kit.now();
    kit.log.forget_producers(now, 1_000, 100);
    assert_eq!(kit.log.producers().len(), 4);
    kit.log.forget_producers(now, 20, 100); // The first is silent for longer than that.
    assert_eq!(kit.log.producers().len(), 3);
    kit.log.forget_producers(now, 1_000, 1);
    assert_eq!(kit.log.producers().len(), 1);
    assert!(send(kit, 3).unwrap(), "the one that is left is the last that was heard of");
    assert!(!send(kit, 2).unwrap());
}

fn a_named_producer_is_remembered_until_its_name_is_gone(kit: &mut Kit) {
    let named = ProducerId::NAMED.start.value();
    let send = |kit: &mut Kit, producer| {
        kit.now += 1;
        let now = kit.now();
        let batch = batch(&["x"], now, stamp(producer, 0, 0));
        let retry = kit.log.producers().retry_of(batch.header());
        let appended = kit.log.append(batch, EPOCH, now).unwrap();
        assert_eq!(retry, appended.duplicate.then(|| appended.offsets()));
        appended.duplicate
    };
    let flood: Vec<u64> = (0..5).map(|number| named + number).chain(0..9).collect(); // The limit is 4.
    for producer in &flood {
        assert!(!send(kit, *producer));
    }
    kit.now += 1_000_000;
    let now = kit.now();
    kit.log.forget_producers(now, 0, 0);
    assert_eq!(kit.log.producers().named().len(), 5);
    assert!((0..5).all(|number| send(kit, named + number)), "a retry is recognised after any silence");
    kit.log.forget_named_producers(&|id| id.value() == named);
    assert_eq!(kit.log.producers().named().map(|(id, _)| id.value()).collect::<Vec<_>>(), [named]);
    assert!(!kit.log.producers().remembers(ProducerId::new(named + 1)) && !send(kit, named + 1));
}
