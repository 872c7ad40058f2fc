//! The events of a client, and a client that starts before its broker.
#![allow(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]

mod away;
mod support;

use away::{Absence, Presence};
use grower_client::ids::NodeId;
use grower_client::{Client, ClientBuilder, ClientEvent, ConnectError, ErrorCode, Record};
use grower_protocol::message::Request;
use std::time::Duration;
use support::{Act, FakeBroker, TOPIC};
use tokio::time::{Instant, sleep, timeout};

const LONG: Duration = Duration::from_secs(20);

fn builder(absence: &Absence, fake: &FakeBroker) -> ClientBuilder {
    Client::builder().transport(absence.transport(fake.connector())).bootstrap(["fake:1"])
}

#[tokio::test(start_paused = true)]
async fn a_client_that_starts_before_its_broker_waits_for_it_until_the_limit() {
    for (returns_after, limit) in [(30, 60), (30, 10), (0, 1)] {
        let (absence, fake) = (Absence::new(), FakeBroker::new(|_| Act::Serve));
        let (returns_after, limit) = (Duration::from_secs(returns_after), Duration::from_secs(limit));
        absence.set(if returns_after.is_zero() { Presence::There } else { Presence::Away });
        let start = Instant::now();
        let connecting = tokio::spawn(builder(&absence, &fake).wait_for_broker(limit).connect());
        sleep(returns_after).await;
        absence.set(Presence::There);
        let connected = connecting.await.unwrap();
        if limit < returns_after {
            assert!(matches!(connected.err(), Some(ConnectError::Unreachable { .. })));
        } else {
            connected.unwrap();
            assert!(start.elapsed() <= returns_after + Duration::from_millis(1_500), "{:?}", start.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_no_longer_than_the_limit_for_a_silent_machine() {
    let (absence, fake) = (Absence::new(), FakeBroker::new(|_| Act::Serve));
    absence.set(Presence::Silent);
    let start = Instant::now();
    let error = builder(&absence, &fake).wait_for_broker(Duration::from_secs(3)).connect().await.err().unwrap();
    assert_eq!(error.to_string(), "cannot connect to fake:1 within 3s");
    assert!(start.elapsed() <= Duration::from_millis(3_300), "{:?}", start.elapsed());
}

#[tokio::test]
async fn events_tell_of_connections_leaders_and_full_disks() {
    let (absence, refused) = (Absence::new(), [Act::Refuse(ErrorCode::DiskFull)]);
    let fake = FakeBroker::failing(|request| matches!(request, Request::Produce(_)), refused);
    let client = builder(&absence, &fake).connect().await.unwrap();
    let mut events = client.events();
    let producer = client.producer().metadata_max_age(Duration::from_millis(20)).build().await.unwrap();
    producer.send(Record::new(TOPIC).value("x")).await.unwrap();
    let mut next = async || timeout(LONG, events.next()).await.unwrap().unwrap();
    assert!(matches!(next().await, ClientEvent::Connected { node, .. } if node == NodeId::new(1)), "the producer's");
    let throttled = next().await;
    assert!(matches!(&throttled, ClientEvent::Throttled { failure, .. } if failure.code == ErrorCode::DiskFull));
    fake.move_leader();
    while !matches!(next().await, ClientEvent::LeaderMoved { leader: Some(node), .. } if node == NodeId::new(2)) {}
    absence.set(Presence::Away);
    while !matches!(next().await, ClientEvent::Lost { address, .. } if &*address == "fake:1") {}
    drop((producer, client));
    while timeout(LONG, events.next()).await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_client_that_is_dropped_loses_no_connection() {
    let (absence, fake) = (Absence::new(), FakeBroker::new(|_| Act::Serve));
    let client = builder(&absence, &fake).connect().await.unwrap();
    let mut events = client.events();
    drop(client);
    assert!(timeout(LONG, events.next()).await.unwrap().is_none());
}
