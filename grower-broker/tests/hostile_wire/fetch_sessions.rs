//! Fetch sessions of clients that lie, hoard, flood and repeat themselves.

use super::raw::*;
use super::session_client::*;
use super::{assert_serving, started, topic_of};
use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::TopicId;
use grower_protocol::message::*;
use std::time::Duration;
use tokio::io::DuplexStream;

pub(super) const BUDGET: u64 = 16 << 20;
/// Slots of one message that fits the budget's limit.
pub(super) const SLOTS: u32 = 2_000;

pub(super) fn small() -> BrokerConfig {
    BrokerConfig { memory: BUDGET, ..BrokerConfig::at("/grower") }
}

/// A session that has had the first part of one empty partition.
pub(super) async fn session_of(broker: &Broker) -> (SessionClient, Raw<DuplexStream>, TopicId) {
    let (producer, topic) = topic_of(broker).await;
    let mut client = SessionClient::open(broker, vec![slot(0, topic, 0)]).await;
    assert_eq!(client.ask(poll()).await, [read(0, 0, &[])]);
    (client, producer, topic)
}

/// Checks that the session continues as if nothing had happened.
async fn assert_unharmed(client: &mut SessionClient, producer: &mut Raw<DuplexStream>, topic: TopicId) {
    let offset = producer.produce(topic, Acks::All, &batch(&["on"])).await.unwrap().base_offset.value();
    assert_eq!(client.ask(poll()).await, [read(0, offset, &["on"])]);
}

pub(super) fn at(sequence: SessionSequence) -> FetchSession {
    FetchSession { step: SessionStep::Continue(sequence), ..fetch_now() }
}

pub(super) async fn memory_used(client: &mut Raw<DuplexStream>) -> u64 {
    match client.ask(&Request::DescribeBroker).await {
        Response::DescribeBroker(described) => described.memory_used,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn unknown_sessions_are_refused() {
    let broker = started().await;
    let (mut client, _, _) = session_of(&broker).await;
    let foreign = SessionSequence { session: FetchSessionId(client.session.0 ^ 1), ..client.sequence() };
    for step in [SessionStep::Continue(foreign), SessionStep::Resume(foreign), SessionStep::Close(foreign.session)] {
        let refused = client.refused(FetchSession { step, ..fetch_now() }).await;
        assert_eq!(refused.code, ErrorCode::UnknownFetchSession, "{step:?}");
    }
    let close = FetchSession { step: SessionStep::Close(client.session), ..fetch_now() };
    assert!(matches!(client.raw.ask(&Request::FetchSession(close.clone())).await, Response::FetchSession(_)));
    assert_eq!(client.refused(close).await.code, ErrorCode::UnknownFetchSession);
    let sequence = client.sequence();
    assert_eq!(client.refused(at(sequence)).await.code, ErrorCode::UnknownFetchSession);
}

#[tokio::test]
async fn replays_and_jumps_are_refused_and_the_session_is_unharmed() {
    let broker = started().await;
    let (mut client, mut producer, topic) = session_of(&broker).await;
    let sequence = client.sequence();
    for number in [0, sequence.number - 1, sequence.number + 1, u64::MAX] {
        let refused = client.refused(at(SessionSequence { number, ..sequence })).await;
        assert_eq!(refused.code, ErrorCode::UnknownFetchSession, "{number}");
    }
    for (number, code) in [(0, ErrorCode::UnknownFetchSession), (u64::MAX, ErrorCode::InvalidRequest)] {
        let step = SessionStep::Resume(SessionSequence { number, ..sequence });
        assert_eq!(client.refused(FetchSession { step, ..fetch_now() }).await.code, code, "{number}");
    }
    assert_unharmed(&mut client, &mut producer, topic).await;
}

#[tokio::test]
async fn lies_about_received_answers_are_refused_and_the_session_is_unharmed() {
    let broker = started().await;
    let (mut client, mut producer, topic) = session_of(&broker).await;
    assert_unharmed(&mut client, &mut producer, topic).await;
    assert_eq!(client.ask(fetch_now()).await, []);
    let sequence = client.sequence();
    for received_below in [0, sequence.number + 1, u64::MAX] {
        let refused = client.refused(at(SessionSequence { received_below, ..sequence })).await;
        assert_eq!(refused.code, ErrorCode::InvalidRequest, "{received_below}");
    }
    client.send(poll()).await; // Its answer was not sent.
    let refused =
        client.refused(at(SessionSequence { received_below: sequence.number + 1, ..client.sequence() })).await;
    assert_eq!(refused.code, ErrorCode::InvalidRequest);
    producer.produce(topic, Acks::All, &batch(&["a"])).await.unwrap();
    assert_eq!(client.receive().await, (sequence.number, vec![read(0, 1, &["a"])]));
    assert_unharmed(&mut client, &mut producer, topic).await;
}

#[tokio::test]
async fn slots_that_are_used_again_or_not_ascending_are_refused() {
    let broker = started().await;
    let (mut client, mut producer, topic) = session_of(&broker).await;
    let sequence = client.sequence();
    for slots in [vec![0], vec![5, 4], vec![6, 6], vec![0, 7]] {
        let add = slots.iter().map(|number| slot(*number, topic, 0)).collect();
        let refused = client.refused(FetchSession { add, drop: vec![FetchSlot(0)], ..at(sequence) }).await;
        assert_eq!(refused.code, ErrorCode::InvalidRequest, "{slots:?}");
    }
    let open = FetchSession { add: vec![slot(5, topic, 0), slot(5, topic, 0)], ..fetch_now() };
    assert_eq!(client.refused(open).await.code, ErrorCode::InvalidRequest);
    assert_unharmed(&mut client, &mut producer, topic).await;
    assert_eq!(client.ask(FetchSession { drop: vec![FetchSlot(0)], ..fetch_now() }).await, []);
    let sequence = client.sequence();
    let refused = client.refused(FetchSession { add: vec![slot(0, topic, 0)], ..at(sequence) }).await;
    assert_eq!(refused.code, ErrorCode::InvalidRequest, "a number is used once, dropped or not");
    assert_eq!(client.ask(FetchSession { add: vec![slot(u32::MAX, topic, 1)], ..fetch_now() }).await.len(), 1);
    let sequence = client.sequence();
    let refused = client.refused(FetchSession { add: vec![slot(u32::MAX, topic, 1)], ..at(sequence) }).await;
    assert_eq!(refused.code, ErrorCode::InvalidRequest, "no number is left");
}

#[tokio::test]
async fn a_client_that_acknowledges_no_answer_is_refused() {
    let broker = started().await;
    let (mut client, mut producer, topic) = session_of(&broker).await;
    let received_below = client.received_below;
    for _ in 0..8 {
        producer.produce(topic, Acks::All, &batch(&["a"])).await.unwrap();
        client.send(poll()).await;
        assert_eq!(client.receive_lost().await.1.len(), 1);
        client.received_below = received_below;
    }
    let sequence = client.sequence();
    assert_eq!(client.refused(at(sequence)).await.code, ErrorCode::LimitReached);
    client.received_below = client.next;
    assert_eq!(client.ask(fetch_now()).await, []);
    let offset = producer.produce(topic, Acks::All, &batch(&["on"])).await.unwrap().base_offset.value();
    assert_eq!(client.ask(poll()).await, [read(0, offset, &["on"])]);
}

#[tokio::test]
async fn more_requests_than_may_wait_are_refused_and_a_stop_ends_the_others() {
    let broker = started().await;
    let (mut client, _, _) = session_of(&broker).await;
    for _ in 0..8 {
        client.send(FetchSession { max_wait_ms: u32::MAX, ..poll() }).await;
    }
    let sequence = client.sequence();
    assert_eq!(client.refused(at(sequence)).await.code, ErrorCode::LimitReached);
    assert_serving(&broker).await;
    tokio::time::timeout(Duration::from_secs(20), broker.stop()).await.expect("in time").unwrap();
}

#[tokio::test]
async fn a_million_partitions_in_one_request_are_refused() {
    let broker = in_memory().start().await.unwrap();
    let (mut client, topic) = topic_of(&broker).await;
    let before = memory_used(&mut client).await;
    let drop = vec![FetchSlot(0); 1_000_000];
    let many = Request::FetchSession(FetchSession { add: vec![slot(0, topic, 0)], drop, ..fetch_now() });
    let Response::Failed(refused) = client.ask(&many).await else { panic!("it is taken") };
    assert_eq!(refused.code, ErrorCode::InvalidRequest, "{refused}");
    let used = memory_used(&mut client).await; // The buffer of the connection is still large.
    assert!(used < before + (2 << 20), "{used} bytes after {before}");
}

#[tokio::test]
async fn a_million_partitions_in_many_requests_stay_within_the_sessions_share() {
    let broker = in_memory_with(small()).start().await.unwrap();
    let (mut client, mut producer, topic) = session_of(&broker).await;
    let slots = |first: u32| (first..first + SLOTS).map(|number| slot_of(number, topic, number, 0)).collect();
    let mut taken = 1;
    for _ in 0..1_000_000 / SLOTS {
        let request = FetchSession { step: SessionStep::Continue(client.sequence()), ..add(slots(taken)) };
        match client.raw.ask(&Request::FetchSession(request)).await {
            Response::FetchSession(_) => (client.next, taken) = (client.next + 1, taken + SLOTS),
            Response::Failed(refused) => assert_eq!(refused.code, ErrorCode::MemoryFull, "{refused}"),
            other => panic!("{other:?}"),
        }
    }
    assert!((8_000..20_000).contains(&taken), "{taken} slots were taken");
    assert!(memory_used(&mut producer).await < BUDGET / 2);
    assert_unharmed_after_first_parts(&mut client).await;
}

/// Takes in the first parts of partitions that do not exist.
async fn assert_unharmed_after_first_parts(client: &mut SessionClient) {
    loop {
        let parts = client.ask(fetch_now()).await;
        assert!(parts.len() <= 1_024, "{} parts in one answer", parts.len());
        if parts.is_empty() {
            break;
        }
        assert!(parts.iter().all(|(_, _, read)| *read == Err(ErrorCode::UnknownPartition)));
    }
}

#[tokio::test]
async fn thousands_of_idle_sessions_make_room_for_each_other_and_not_more() {
    let broker = in_memory_with(small()).start().await.unwrap();
    let (mut client, mut producer, _) = session_of(&broker).await;
    let sequence = client.sequence();
    for _ in 0..5_000 {
        let opened = producer.ask(&Request::FetchSession(fetch_now())).await;
        assert!(matches!(opened, Response::FetchSession(_)), "{opened:?}");
    }
    assert!(memory_used(&mut producer).await < BUDGET / 2);
    assert_eq!(client.refused(at(sequence)).await.code, ErrorCode::UnknownFetchSession, "the oldest one was evicted");
}

#[tokio::test]
async fn a_session_with_a_waiting_request_is_not_evicted_for_another() {
    let broker = in_memory_with(small()).start().await.unwrap();
    let (mut waiting, mut producer, topic) = session_of(&broker).await;
    waiting.send(poll()).await;
    let mut hoarders = Vec::new();
    let slots: Vec<_> = (0..SLOTS).map(|number| slot_of(number, topic, 0, 0)).collect();
    let refused = loop {
        let request = Request::FetchSession(add(slots.clone()));
        match producer.ask(&request).await {
            Response::FetchSession(answer) => hoarders.push(answer.session),
            Response::Failed(refused) => break refused,
            other => panic!("{other:?}"),
        }
        // It has more first parts than one answer may have, so they are taken before it waits.
        let mut hoarder = Raw::open(broker.connect()).await;
        for number in 1..=3 {
            let sequence = SessionSequence { session: *hoarders.last().unwrap(), number, received_below: number };
            let step = SessionStep::Continue(sequence);
            hoarder.send(&Request::FetchSession(FetchSession { step, ..poll() }), &[]).await;
            if number < 3 {
                hoarder.receive().await.unwrap();
            }
        }
        tokio::spawn(async move { hoarder.receive().await });
        assert!(hoarders.len() < 100, "nothing is ever refused");
    };
    assert_eq!(refused.code, ErrorCode::MemoryFull, "{refused}");
    producer.produce(topic, Acks::All, &batch(&["on"])).await.unwrap();
    assert_eq!(waiting.receive().await.1, [read(0, 0, &["on"])]);
}

#[tokio::test]
async fn a_storm_of_resumes_ends_in_one_session_that_reads_everything() {
    let broker = started().await;
    let (mut client, mut producer, topic) = session_of(&broker).await;
    for _ in 0..500 {
        let sequence = SessionSequence { number: client.next + 1, ..client.sequence() };
        client.next += 2;
        let resume = FetchSession { step: SessionStep::Resume(sequence), ..poll() };
        client.raw.send(&Request::FetchSession(resume), &[]).await;
    }
    for _ in 0..499 {
        let (_, lost, _) = client.raw.receive().await.unwrap();
        assert!(
            matches!(&lost, Response::Failed(failure) if failure.code == ErrorCode::UnknownFetchSession),
            "{lost:?}"
        );
    }
    producer.produce(topic, Acks::All, &batch(&["a"])).await.unwrap();
    assert_eq!(client.receive().await.1, [read(0, 0, &["a"])]);
    assert_unharmed(&mut client, &mut producer, topic).await;
}

#[tokio::test]
async fn two_connections_may_share_a_session_in_turns_only() {
    let broker = started().await;
    let (mut client, mut producer, topic) = session_of(&broker).await;
    let mut other = Raw::open(broker.connect()).await;
    let step = SessionStep::Continue(client.sequence());
    let request = Request::FetchSession(FetchSession { step, ..poll() });
    client.raw.send(&request, &[]).await;
    producer.produce(topic, Acks::All, &batch(&["a"])).await.unwrap();
    assert_eq!(client.receive().await.1, [read(0, 0, &["a"])]);
    let Response::Failed(refused) = other.ask(&request).await else { panic!("a number is taken twice") };
    assert_eq!(refused.code, ErrorCode::UnknownFetchSession);
    client.next += 1;
    std::mem::swap(&mut client.raw, &mut other);
    assert_unharmed(&mut client, &mut producer, topic).await;
}

#[tokio::test]
async fn a_session_whose_connection_is_gone_can_be_resumed() {
    let broker = started().await;
    let (mut client, mut producer, topic) = session_of(&broker).await;
    client.send(FetchSession { max_wait_ms: u32::MAX, ..poll() }).await;
    client.raw = Raw::open(broker.connect()).await;
    producer.produce(topic, Acks::All, &batch(&["a"])).await.unwrap();
    let resume = FetchSession { step: SessionStep::Resume(client.sequence()), ..poll() };
    client.raw.send(&Request::FetchSession(resume), &[]).await;
    client.next += 1;
    assert_eq!(client.receive().await.1, [read(0, 0, &["a"])]);
    assert_unharmed(&mut client, &mut producer, topic).await;
}

#[tokio::test]
async fn an_ended_slot_is_sent_again_although_an_earlier_answer_of_it_was_acknowledged() {
    let broker = started().await;
    let (mut client, mut producer, topic) = session_of(&broker).await;
    assert_unharmed(&mut client, &mut producer, topic).await;
    let records_below = client.received_below;
    let name = grower_protocol::ids::TopicName::new("events").unwrap();
    assert_eq!(producer.ask(&Request::DeleteTopic(name)).await, Response::Done);
    client.received_below = records_below - 1;
    client.send(poll()).await;
    assert_eq!(client.receive_lost().await.1, [(0, 1, Err(ErrorCode::UnknownTopicId))]);
    client.received_below = records_below;
    client.send(fetch_now()).await;
    assert_eq!(client.receive_lost().await.1, []);
    let resume = FetchSession { step: SessionStep::Resume(client.sequence()), ..poll() };
    client.raw.send(&Request::FetchSession(resume), &[]).await;
    assert_eq!(client.receive().await.1, [(0, 1, Err(ErrorCode::UnknownTopicId))]);
}
