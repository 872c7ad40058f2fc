use super::*;
use crate::state_file;
use grower_protocol::batch::{BatchBuilder, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::LeaderEpoch;
use std::path::Path;

fn header(producer: u64, epoch: u16, sequence: i32, records: u32, offset: u64) -> BatchHeader {
    let mut builder = BatchBuilder::new(Codec::None);
    (0..records).for_each(|_| builder.push(&Record::default()));
    let stamp = ProducerStamp {
        id: ProducerId::new(producer),
        epoch: ProducerEpoch::new(epoch),
        base_sequence: Sequence::from_wire(sequence),
    };
    let batch = UnplacedBatch::built(builder.build(Some(stamp)));
    *batch.place(Offset::new(offset), LeaderEpoch::new(0)).header()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn states(headers: &[BatchHeader]) -> ProducerStates {
    let mut states = ProducerStates::default();
    headers.iter().for_each(|header| states.note(header, at(0)));
    states
}

fn out_of_order(expected: i32) -> SequenceCheck {
    SequenceCheck::OutOfOrder { expected: Sequence::from_wire(expected).unwrap() }
}

#[test]
fn a_retry_gets_the_offsets_of_the_first_time() {
    let states = states(&[header(1, 0, 0, 3, 10), header(1, 0, 3, 2, 20)]);
    assert_eq!(states.check(&header(1, 0, 0, 3, 0)), SequenceCheck::Duplicate(Offset::new(10)..Offset::new(13)));
    assert_eq!(states.check(&header(1, 0, 3, 2, 0)), SequenceCheck::Duplicate(Offset::new(20)..Offset::new(22)));
    assert_eq!(states.check(&header(1, 0, 5, 1, 0)), SequenceCheck::Accept);
}

#[test]
fn five_batches_are_remembered_and_the_sixth_pushes_out_the_first() {
    let headers: Vec<_> = (0..6).map(|n| header(1, 0, n, 1, n as u64)).collect();
    let states = states(&headers);
    assert_eq!(states.check(&headers[0]), out_of_order(6));
    for header in &headers[1..] {
        assert!(matches!(states.check(header), SequenceCheck::Duplicate(_)));
    }
}

#[test]
fn a_gap_in_the_sequence_is_refused() {
    let states = states(&[header(1, 0, 0, 3, 0)]);
    assert_eq!(states.check(&header(1, 0, 4, 1, 0)), out_of_order(3));
    assert_eq!(states.check(&header(1, 0, 0, 2, 0)), out_of_order(3), "a retry must be the same batch");
}

#[test]
fn sequences_wrap_to_zero() {
    let states = states(&[header(1, 0, i32::MAX - 1, 2, 0)]);
    assert_eq!(states.check(&header(1, 0, 0, 1, 0)), SequenceCheck::Accept);
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
    let mut states = states(&[header(1, 4, 0, 1, 0)]);
    assert_eq!(states.check(&header(1, 3, 1, 1, 0)), SequenceCheck::Fenced { current: ProducerEpoch::new(4) });
    assert_eq!(states.check(&header(1, 5, 1, 1, 0)), out_of_order(0));
    states.note(&header(1, 5, 0, 1, 1), at(0));
    assert_eq!(states.check(&header(1, 4, 0, 1, 0)), SequenceCheck::Fenced { current: ProducerEpoch::new(5) });
    assert_eq!(states.check(&header(1, 5, 1, 1, 0)), SequenceCheck::Accept);
}

#[test]
fn a_forgotten_producer_may_continue_with_any_sequence() {
    let mut states = states(&[header(1, 0, 0, 1, 0)]);
    states.expire(at(11), 10, 100);
    assert_eq!(states.check(&header(1, 0, 77, 1, 0)), SequenceCheck::Accept);
}

#[test]
fn beyond_the_limit_the_longest_silent_one_is_forgotten() {
    let mut states = ProducerStates::default();
    for (id, seen) in [(1, 30), (2, 10), (3, 20)] {
        states.note(&header(id, 0, 0, 1, id), at(seen));
    }
    states.expire(at(30), 100, 2);
    assert_eq!(states.len(), 2);
    assert_eq!(states.check(&header(2, 0, 9, 1, 0)), SequenceCheck::Accept, "2 is forgotten");
    assert!(matches!(states.check(&header(1, 0, 9, 1, 0)), SequenceCheck::OutOfOrder { .. }));
}

#[test]
fn a_snapshot_round_trips_and_its_bytes_never_change() {
    let snapshot = ProducerSnapshot { offset: Offset::new(13), states: states(&[header(1, 2, 5, 3, 10)]) };
    let bytes = state_file::encode(&snapshot);
    assert_eq!(state_file::decode::<ProducerSnapshot>(Path::new("s"), &bytes).unwrap(), snapshot);
    let hex = bytes.chunks(4).map(|word| word.iter().map(|b| format!("{b:02x}")).collect());
    insta::assert_snapshot!(hex.collect::<Vec<String>>().join(" "), @"47577073 00010000 0000003a 00000000 0000000d 00000001 00000000 00000001 00020000 00000000 00000000 00010000 00050000 00070000 00000000 000a0000 00000000 000d78d8 4678");
}

#[test]
fn a_snapshot_whose_batches_make_no_sense_is_damaged() {
    let five = states(&[0, 1, 2, 3, 4].map(|n| header(1, 0, n, 1, 10 + n as u64)));
    let is_sound = |offset: u64, states: &ProducerStates| {
        let snapshot = ProducerSnapshot { offset: Offset::new(offset), states: states.clone() };
        state_file::decode::<ProducerSnapshot>(Path::new("snapshot"), &state_file::encode(&snapshot)).is_ok()
    };
    assert!(is_sound(15, &five));
    assert!(!is_sound(14, &five), "one is not before the snapshot");
    let change = |change: fn(&mut VecDeque<RecentBatch>)| {
        let mut changed = five.clone();
        change(&mut changed.0.get_mut(&ProducerId::new(1)).unwrap().batches);
        changed
    };
    assert!(!is_sound(15, &change(|batches| batches.swap(0, 1))), "they are out of order");
    assert!(!is_sound(15, &change(|batches| batches[4].next_offset = Offset::new(14))), "one has no records");
    let six = |batches: &mut VecDeque<RecentBatch>| {
        let (base_offset, next_offset) = (Offset::new(1), Offset::new(2));
        batches.push_front(RecentBatch { base_offset, next_offset, ..batches[0] });
    };
    assert!(!is_sound(15, &change(six)), "they are more than a log remembers");
}
