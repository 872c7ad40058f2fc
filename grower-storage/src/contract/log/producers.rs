//! Idempotence: a retry is answered, not appended.

use super::LogPromise;
use super::kit::{EPOCH, Kit, batch, stamp};
use crate::log::{AppendError, Appended};
use grower_protocol::ids::{Offset, Sequence};

pub(super) const PROMISES: &[LogPromise] = &[
    a_retry_gets_the_offsets_of_the_first_time,
    a_gap_in_a_sequence_is_refused,
    an_old_incarnation_is_fenced,
    a_truncated_batch_is_no_duplicate,
    a_flood_of_producers_pushes_out_the_longest_silent,
    the_longest_silent_producers_are_forgotten_first,
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
    assert!(matches!(send(kit, 4, 1), Err(AppendError::OutOfOrderSequence { .. })));
    assert_eq!(send(kit, 4, 0).unwrap().base_offset, Offset::new(1));
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
    assert!(!send(kit, 0, 7).unwrap(), "a forgotten producer may go on with any sequence");
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
    assert_eq!(kit.log.producers(), 4);
    kit.log.forget_producers(now, 20, 100); // The first is silent for longer than that.
    assert_eq!(kit.log.producers(), 3);
    kit.log.forget_producers(now, 1_000, 1);
    assert_eq!(kit.log.producers(), 1);
    assert!(send(kit, 3).unwrap(), "the one that is left is the last that was heard of");
    assert!(!send(kit, 2).unwrap());
}
