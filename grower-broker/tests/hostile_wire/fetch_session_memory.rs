//! Fetch sessions that hold memory: what they hold is bounded and counted, and others keep theirs.

use super::fetch_sessions::*;
use super::raw::*;
use super::session_client::*;
use super::{started, topic_of};
use grower_protocol::message::*;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// A request that waits for more bytes than come.
fn greedy() -> FetchSession {
    FetchSession { max_wait_ms: u32::MAX, min_bytes: u32::MAX, max_bytes: u32::MAX, ..poll() }
}

#[tokio::test]
async fn a_request_that_waits_for_more_bytes_than_come_is_answered_with_64_parts() {
    let broker = started().await;
    let (mut client, mut producer, topic) = session_of(&broker).await;
    client.send(greedy()).await;
    for _ in 0..64 {
        producer.produce(topic, Acks::All, &batch(&["x"])).await.unwrap();
        tokio::task::yield_now().await;
    }
    let answered = tokio::time::timeout(Duration::from_secs(10), client.receive()).await;
    let parts = answered.expect("it waits no more").1;
    let values: usize = parts.iter().map(|(_, _, read)| read.as_ref().unwrap().len()).sum();
    assert!(values <= 64 && parts.len() <= 64, "{values} records in {} parts", parts.len());
}

#[tokio::test]
async fn parts_that_waiting_requests_hold_are_counted() {
    const SESSIONS: u64 = 100;
    let broker = started().await;
    let (mut producer, topic) = topic_of(&broker).await;
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        let mut client = SessionClient::open(&broker, vec![slot(0, topic, 0)]).await;
        assert_eq!(client.ask(poll()).await, [read(0, 0, &[])]);
        client.send(greedy()).await;
        clients.push(client);
    }
    producer.produce(topic, Acks::All, &batch(&["x"])).await.unwrap();
    let before = memory_used(&mut producer).await;
    let mut used = before;
    for _ in 0..50 {
        producer.produce(topic, Acks::All, &batch(&["x"])).await.unwrap();
        used = memory_used(&mut producer).await;
    }
    assert!(before + SESSIONS * 4_096 < used, "{used} bytes after {before}");
}

#[tokio::test]
async fn requests_that_wait_behind_another_hold_no_memory() {
    let broker = in_memory_with(small()).start().await.unwrap();
    let (mut client, mut producer, _) = session_of(&broker).await;
    let drop = || vec![FetchSlot(u32::MAX); 10_000];
    assert_eq!(client.ask(FetchSession { drop: drop(), ..fetch_now() }).await, []);
    let before = memory_used(&mut producer).await;
    client.send(poll()).await;
    for _ in 0..7 {
        client.send(FetchSession { drop: drop(), ..poll() }).await;
    }
    let number = client.next;
    assert_eq!(client.ask(add(vec![])).await, []);
    assert_eq!(client.received_below, number + 1, "it was answered before those that wait");
    let used = memory_used(&mut producer).await;
    assert!(used <= before + (128 << 10), "{used} bytes after {before}");
}

#[tokio::test]
async fn a_request_that_is_refused_or_repeated_evicts_no_other_session() {
    let broker = in_memory_with(small()).start().await.unwrap();
    let (_, topic) = topic_of(&broker).await;
    let some = |first: u32, count| (first..first + count).map(|number| slot_of(number, topic, number, 0)).collect();
    let slots = |first| some(first, SLOTS);
    let mut neighbour = SessionClient::open(&broker, slots(0)).await;
    let mut greedy = SessionClient::open(&broker, slots(0)).await;
    for first in [SLOTS, 2 * SLOTS, 3 * SLOTS] {
        assert_eq!(greedy.ask(add(slots(first))).await, []);
    }
    let sequence = greedy.sequence();
    let wrong = SessionStep::Continue(SessionSequence { number: 999, ..sequence });
    let refused = greedy.refused(FetchSession { step: wrong, ..add(some(4 * SLOTS, SLOTS / 2)) }).await;
    assert_eq!(refused.code, ErrorCode::UnknownFetchSession);
    let repeated = FetchSession { step: SessionStep::Resume(sequence), ..add(slots(0)) };
    let repeated = greedy.raw.ask(&Request::FetchSession(repeated)).await;
    assert!(matches!(repeated, Response::FetchSession(_)), "{repeated:?}");
    assert_eq!(neighbour.ask(fetch_now()).await.len(), 1_024, "it is still there");
}

#[tokio::test]
async fn small_sessions_stay_while_requests_wait_for_memory() {
    let broker = in_memory_with(small()).start().await.unwrap();
    let (mut producer, topic) = topic_of(&broker).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(SessionClient::open(&broker, vec![slot(0, topic, 0)]).await);
    }
    let partition = ProducePartition { topic, partition: PARTITION, length: 1_900_000, expected_end: None };
    let request = Request::Produce(Produce { acks: Acks::All, timeout_ms: 1_000, partitions: vec![partition] });
    let mut slow = Vec::new();
    for _ in 0..9 {
        let mut raw = Raw::open(broker.connect()).await;
        let message = grower_protocol::wire::encode(&request);
        let frame = grower_protocol::wire::encode_frame(grower_protocol::wire::Correlation(1), &message, 1_900_000);
        let _ = tokio::time::timeout(Duration::from_millis(20), raw.stream.write_all(&frame)).await;
        slow.push(raw);
    }
    let listing = tokio::time::timeout(Duration::from_millis(2_200), memory_used(&mut producer)).await;
    assert!(listing.is_err(), "it waits for memory, longer than until the second round of evictions");
    for client in &mut clients {
        assert_eq!(client.ask(fetch_now()).await, [read(0, 0, &[])]);
    }
}
