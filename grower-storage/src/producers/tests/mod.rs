use super::*;
use crate::state_file;
use grower_protocol::batch::{BatchBuilder, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::LeaderEpoch;
use std::collections::VecDeque;
use std::path::Path;

mod model;

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

fn fence(states: &mut ProducerStates, producer: u64, epoch: u16) -> Result<Option<LastWritten>, ProducerEpoch> {
    let producer = ProducerIdentity { id: ProducerId::new(producer), epoch: ProducerEpoch::new(epoch) };
    states.fence(producer, &[], at(0))
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
fn a_new_epoch_starts_at_zero_or_continues_and_fences_the_old_one() {
    let mut states = states(&[header(1, 4, 0, 1, 0)]);
    assert_eq!(states.check(&header(1, 3, 1, 1, 0)), SequenceCheck::Fenced { current: ProducerEpoch::new(4) });
    assert_eq!(states.check(&header(1, 5, 2, 1, 0)), out_of_order(1));
    assert_eq!(states.check(&header(1, 5, 1, 1, 0)), SequenceCheck::Accept, "a named producer's sequences continue");
    states.note(&header(1, 5, 0, 1, 1), at(0));
    assert_eq!(states.check(&header(1, 4, 1, 1, 0)), SequenceCheck::Fenced { current: ProducerEpoch::new(5) });
    assert_eq!(states.check(&header(1, 5, 1, 1, 0)), SequenceCheck::Accept);
}

#[test]
fn a_retry_of_an_earlier_epoch_gets_its_offsets_while_it_is_remembered() {
    let mut states = states(&[header(1, 4, 0, 2, 10), header(1, 5, 0, 2, 20)]);
    assert_eq!(states.check(&header(1, 4, 0, 2, 0)), SequenceCheck::Duplicate(Offset::new(10)..Offset::new(12)));
    assert_eq!(states.check(&header(1, 5, 0, 2, 0)), SequenceCheck::Duplicate(Offset::new(20)..Offset::new(22)));
    (1..5).for_each(|n| states.note(&header(1, 5, 2 * n, 2, 20 + 2 * n as u64), at(0)));
    assert_eq!(states.check(&header(1, 4, 0, 2, 0)), SequenceCheck::Fenced { current: ProducerEpoch::new(5) });
    assert_eq!(states.check(&header(1, 6, 0, 2, 0)), SequenceCheck::Accept, "the same sequences of another epoch");
}

#[test]
fn a_fence_refuses_earlier_epochs_and_tells_their_last_record() {
    let mut states = states(&[header(1, 0, 0, 3, 10)]);
    let last = |epoch, sequence, offset| {
        let producer = ProducerIdentity { id: ProducerId::new(1), epoch: ProducerEpoch::new(epoch) };
        LastWritten { producer, sequence: Sequence::from_wire(sequence).unwrap(), offset: Offset::new(offset) }
    };
    assert_eq!(fence(&mut states, 1, 2), Ok(Some(last(0, 2, 12))));
    assert_eq!(states.check(&header(1, 0, 3, 1, 0)), SequenceCheck::Fenced { current: ProducerEpoch::new(2) });
    assert_eq!(states.check(&header(1, 1, 3, 1, 0)), SequenceCheck::Fenced { current: ProducerEpoch::new(2) });
    assert_eq!(states.check(&header(1, 0, 0, 3, 0)), SequenceCheck::Duplicate(Offset::new(10)..Offset::new(13)));
    assert_eq!(states.check(&header(1, 2, 4, 1, 0)), out_of_order(3));
    assert_eq!(fence(&mut states, 1, 2), Ok(Some(last(0, 2, 12))), "a repetition has the same answer");
    states.note(&header(1, 2, 3, 1, 20), at(0));
    assert_eq!(fence(&mut states, 1, 2), Ok(Some(last(0, 2, 12))), "also a late one");
    assert_eq!(fence(&mut states, 1, 1), Err(ProducerEpoch::new(2)));
    assert_eq!(fence(&mut states, 1, 3), Ok(Some(last(2, 3, 20))));
    assert_eq!(fence(&mut states, 1, 4), Ok(Some(last(2, 3, 20))), "no batch came in between");
}

#[test]
fn a_fenced_producer_without_records_begins_at_zero() {
    let mut states = ProducerStates::default();
    assert_eq!(fence(&mut states, 1, 3), Ok(None));
    assert_eq!(states.check(&header(1, 2, 0, 1, 0)), SequenceCheck::Fenced { current: ProducerEpoch::new(3) });
    assert_eq!(states.check(&header(1, 3, 1, 1, 0)), out_of_order(0));
    assert_eq!(states.check(&header(1, 3, 0, 1, 0)), SequenceCheck::Accept);
}

#[test]
fn a_fence_continues_after_the_last_record_of_a_former_id() {
    let mut states = states(&[header(1, 9, 0, 3, 10), header(2, 0, 3, 1, 20)]);
    let former = [1, 2].map(ProducerId::new);
    let renewed = ProducerIdentity { id: ProducerId::new(3), epoch: ProducerEpoch::new(0) };
    let last = states.fence(renewed, &former, at(0)).unwrap().unwrap();
    assert_eq!((last.producer.id, last.offset), (ProducerId::new(2), Offset::new(20)));
    assert_eq!(states.check(&header(3, 0, 5, 1, 0)), out_of_order(4));
    states.note(&header(3, 0, 4, 1, 30), at(0));
    let next = ProducerIdentity { epoch: ProducerEpoch::new(1), ..renewed };
    assert_eq!(states.fence(next, &former, at(0)).unwrap().unwrap().offset, Offset::new(30), "its own record is later");
}

#[test]
fn a_forgotten_producer_begins_at_zero() {
    let mut states = states(&[header(1, 0, 0, 1, 0)]);
    states.expire(at(11), 10, 100);
    assert_eq!(states.check(&header(1, 0, 1, 1, 0)), out_of_order(0));
    assert_eq!(states.check(&header(1, 0, 0, 1, 0)), SequenceCheck::Accept);
}

#[test]
fn beyond_the_limit_the_longest_silent_one_is_forgotten() {
    let mut states = ProducerStates::default();
    for (id, seen) in [(1, 30), (2, 10), (3, 20)] {
        states.note(&header(id, 0, 0, 1, id), at(seen));
    }
    states.expire(at(30), 100, 2);
    assert_eq!(states.len(), 2);
    assert_eq!(states.check(&header(2, 0, 1, 1, 0)), out_of_order(0), "2 is forgotten");
    assert_eq!(states.check(&header(1, 0, 1, 1, 0)), SequenceCheck::Accept);
}

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(4).map(|word| word.iter().map(|b| format!("{b:02x}")).collect()).collect::<Vec<String>>().join(" ")
}

#[test]
fn a_snapshot_round_trips_and_its_bytes_never_change() {
    let mut snapshot = ProducerSnapshot { offset: Offset::new(13), states: states(&[header(1, 2, 5, 3, 10)]) };
    fence(&mut snapshot.states, 1, 4).unwrap();
    let bytes = state_file::encode(&snapshot);
    assert_eq!(state_file::decode::<ProducerSnapshot>(Path::new("s"), &bytes).unwrap(), snapshot);
    insta::assert_snapshot!(hex(&bytes), @"47577073 00020000 0000004e 00000000 0000000d 00000001 00000000 00000001 00040000 00000000 00000000 00010000 00000000 00010002 00000007 00000000 0000000c 00000001 00020000 00050000 00000000 000a0000 0003561b 8043");
}

#[test]
fn a_snapshot_of_version_1_is_still_read() {
    let hex = "47577073 00010000 0000003a 00000000 0000000d 00000001 00000000 00000001 00020000 00000000 00000000 00010000 00050000 00070000 00000000 000a0000 00000000 000d78d8 4678".replace(' ', "");
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let read = state_file::decode::<ProducerSnapshot>(Path::new("s"), &bytes).unwrap();
    assert_eq!(read, ProducerSnapshot { offset: Offset::new(13), states: states(&[header(1, 2, 5, 3, 10)]) });
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
    let change_state = |change: fn(&mut ProducerState)| {
        let mut changed = five.clone();
        change(changed.unnamed.get_mut(&ProducerId::new(1)).unwrap());
        changed
    };
    let change = |change: fn(&mut VecDeque<RecentBatch>)| {
        let mut changed = five.clone();
        change(&mut changed.unnamed.get_mut(&ProducerId::new(1)).unwrap().batches);
        changed
    };
    assert!(!is_sound(15, &change(|batches| batches.swap(0, 1))), "they are out of order");
    assert!(!is_sound(15, &change(|batches| batches[4].records = 0)), "one has no records");
    let six = |batches: &mut VecDeque<RecentBatch>| {
        batches.push_front(RecentBatch { base_offset: Offset::new(1), ..batches[0] });
    };
    assert!(!is_sound(15, &change(six)), "they are more than a log remembers");
    let begin = |state: &mut ProducerState| {
        state.begin(ProducerIdentity { id: ProducerId::new(1), epoch: ProducerEpoch::new(1) });
    };
    assert!(is_sound(15, &change_state(begin)));
    assert!(!is_sound(15, &change_state(|state| state.epoch = ProducerEpoch::new(1))), "nothing is before the epoch");
    assert!(!is_sound(15, &change(|batches| batches[4].epoch = ProducerEpoch::new(1))), "one is of a later epoch");
    let in_the_epoch = |state: &mut ProducerState| {
        state.begin(ProducerIdentity { id: ProducerId::new(1), epoch: ProducerEpoch::new(1) });
        state.epoch = ProducerEpoch::new(0);
    };
    assert!(!is_sound(15, &change_state(in_the_epoch)), "the record before the epoch is among its batches");
}
