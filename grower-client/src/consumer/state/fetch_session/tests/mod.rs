//! Named promises of a client session; `model` compares it with a model of the broker's half.

mod model;

use super::*;
use grower_protocol::ids::{LeaderEpoch, PartitionId, TopicId};
use grower_protocol::message::Request;
use grower_protocol::wire::encode;

const PARTITIONS: usize = 3;
const SESSION: FetchSessionId = FetchSessionId(7);

fn limits(max_bytes: u32) -> RequestLimits {
    RequestLimits { max_wait: Duration::from_millis(500), min_bytes: 1, max_bytes }
}

fn fetch_from(partition: usize, offset: u64) -> FetchPartition {
    FetchPartition {
        topic: TopicId::from_bytes([1; 16]),
        partition: PartitionId::new(partition as u32),
        offset: Offset::new(offset),
        max_bytes: 100,
        leader_epoch: None,
        last_epoch: None,
    }
}

#[test]
fn a_resumed_session_repeats_the_lost_changes_but_not_a_slot_dropped_since() {
    let mut client = ClientFetchSession::default();
    client.add((), fetch_from(0, 0));
    client.next_request(limits(1));
    client.answered(FetchSessionAnswer { session: SESSION, number: 0, parts: Vec::new() }, Bytes::new()).unwrap();
    client.next_answer().unwrap();
    let (kept, dropped) = (client.add((), fetch_from(1, 5)), client.add((), fetch_from(2, 5)));
    client.next_request(limits(1));
    client.drop_slot(dropped);
    assert!(client.lose_link());
    let (number, request) = client.next_request(limits(1));
    assert_eq!(request.step, SessionStep::Resume(SessionSequence { session: SESSION, number, received_below: 1 }));
    assert_eq!((number, request.drop), (2, vec![dropped]));
    assert_eq!(request.add.iter().map(|added| added.slot).collect::<Vec<_>>(), [kept]);
}

#[test]
fn a_second_lost_connection_does_not_confirm_what_the_first_one_lost() {
    let mut client = ClientFetchSession::default();
    client.add((), fetch_from(0, 0));
    client.next_request(limits(1));
    client.answered(FetchSessionAnswer { session: SESSION, number: 0, parts: Vec::new() }, Bytes::new()).unwrap();
    client.next_answer().unwrap();
    client.next_request(limits(1)); // Its answer is lost, and so are the next two requests.
    for number in 2..4 {
        assert!(client.lose_link());
        let place = SessionSequence { session: SESSION, number, received_below: 1 };
        assert_eq!(client.next_request(limits(1)).1.step, SessionStep::Resume(place));
    }
}

#[test]
fn a_lost_connection_frees_the_requests_that_it_carried() {
    let mut client = ClientFetchSession::default();
    client.add((), fetch_from(0, 0));
    client.next_request(limits(1));
    client.answered(FetchSessionAnswer { session: SESSION, number: 0, parts: Vec::new() }, Bytes::new()).unwrap();
    client.next_answer().unwrap();
    client.next_request(limits(9));
    while client.may_send(0) {
        client.add((), fetch_from(1, 0));
        client.next_request(limits(0));
    }
    assert_eq!((client.reads_in_flight(), client.permitted()), (1, 9));
    assert!(client.lose_link() && client.may_send(0) && client.has_changes());
    assert_eq!((client.reads_in_flight(), client.permitted()), (0, 0));
    assert_eq!(client.next_request(limits(0)).1.add.len(), CHANGE_REQUESTS_MAX);
}

#[test]
fn many_partitions_are_added_by_several_requests() {
    let mut client = ClientFetchSession::default();
    for partition in 0..CHANGES_MAX + 1 {
        client.add((), fetch_from(partition, 0));
    }
    assert_eq!(client.next_request(limits(1)).1.add.len(), CHANGES_MAX);
    assert!(!client.may_send(1), "the session has no id yet");
    client.answered(FetchSessionAnswer { session: SESSION, number: 0, parts: Vec::new() }, Bytes::new()).unwrap();
    client.next_answer().unwrap();
    assert!(client.has_changes());
    assert_eq!(client.next_request(limits(0)).1.add.len(), 1);
    assert!(!client.has_changes());
}

/// A broker receives messages of a 256th of its memory.
#[test]
fn a_broker_with_little_memory_receives_the_longest_request() {
    let largest = FetchPartition {
        offset: Offset::new(u64::MAX / 2),
        max_bytes: u32::MAX,
        leader_epoch: Some(LeaderEpoch::new(u32::MAX)),
        last_epoch: Some(LeaderEpoch::new(u32::MAX)),
        ..fetch_from(100_000, 0)
    };
    let added = AddedSlot { slot: FetchSlot(u32::MAX), partition: largest };
    let place = SessionSequence { session: FetchSessionId(u64::MAX), number: u64::MAX, received_below: u64::MAX };
    let request = Request::FetchSession(FetchSession {
        step: SessionStep::Resume(place),
        max_wait_ms: u32::MAX,
        min_bytes: u32::MAX,
        max_bytes: u32::MAX,
        drop: Vec::new(),
        add: vec![added; 2 * CHANGES_MAX],
    });
    let length = encode(&request).len();
    assert!(length <= (8 << 20) / 256, "{length} bytes");
}

#[test]
fn a_slot_that_continues_elsewhere_is_a_mismatch() {
    let mut client = ClientFetchSession::default();
    let slot = client.add((), fetch_from(0, 5));
    assert_eq!(client.owner_at(slot, Offset::new(5)), Ok(Some(())));
    let mismatch = SessionMismatch::Offset { expected: Offset::new(5), found: Offset::new(6) };
    assert_eq!(client.owner_at(slot, Offset::new(6)), Err(mismatch));
    client.drop_slot(slot);
    assert_eq!(client.owner_at(slot, Offset::new(6)), Ok(None), "it is not wanted any more");
}

/// Returns the answer without news.
fn empty_answer(number: u64) -> FetchSessionAnswer {
    FetchSessionAnswer { session: SESSION, number, parts: Vec::new() }
}

#[test]
fn answered_changes_do_not_hold_up_others_while_a_read_waits() {
    let mut client = ClientFetchSession::default();
    let slots: Vec<_> = (0..20).map(|n| client.add((), fetch_from(n % PARTITIONS, 0))).collect();
    let (number, _) = client.next_request(limits(100));
    client.answered(empty_answer(number), Bytes::new()).unwrap();
    client.next_answer().unwrap();
    let (read, _) = client.next_request(limits(100)); // It waits at the broker.
    for slot in slots {
        client.drop_slot(slot);
        assert!(client.may_send(0), "a change waits for the long poll");
        let (number, request) = client.next_request(limits(0));
        let place = SessionSequence { session: SESSION, number, received_below: read };
        assert_eq!((request.step, request.drop), (SessionStep::Continue(place), vec![slot]));
        client.answered(empty_answer(number), Bytes::new()).unwrap();
        assert_eq!(client.next_answer(), None);
    }
    assert!(client.lose_link());
    assert_eq!(client.next_request(limits(0)).1.drop, [], "the broker made these changes");
}

#[test]
fn a_refused_addition_leaves_the_other_slots_as_they_are() {
    let mut client = ClientFetchSession::default();
    let kept = client.add("kept", fetch_from(0, 0));
    client.next_request(limits(1));
    client.answered(empty_answer(0), Bytes::new()).unwrap();
    client.next_answer().unwrap();
    client.next_request(limits(1)); // It waits at the broker.
    client.add("refused", fetch_from(1, 5));
    let (refused, _) = client.next_request(limits(0));
    client.add("behind", fetch_from(2, 5));
    client.drop_slot(kept);
    client.next_request(limits(0)); // It leaves a hole in the numbers, so the broker refuses it, too.
    assert_eq!(client.take_refused(refused), ["refused", "behind"]);
    assert!(client.lose_link());
    let (number, request) = client.next_request(limits(1));
    assert_eq!(request.step, SessionStep::Resume(SessionSequence { session: SESSION, number, received_below: 1 }));
    assert_eq!((request.drop, request.add), (vec![kept], Vec::new()));
}

#[test]
fn a_session_is_replaced_long_before_it_runs_out_of_numbers() {
    let mut client = ClientFetchSession { next_slot: SLOTS_MAX - 1, ..Default::default() };
    assert!(!client.is_used_up());
    client.add((), fetch_from(0, 0));
    assert!(client.is_used_up());
}
