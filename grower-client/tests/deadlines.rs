//! A broker that is away or hangs: each call ends at its own deadline, and one dial serves all callers.
#![allow(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]

mod away;
mod support;

use away::{Absence, Presence};
use futures_util::future::join_all;
use grower_client::ids::Timestamp;
use grower_client::{Client, ClientBuilder, ConsumeError, Consumer, OffsetSpec, Record, StartFrom};
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;
use support::{Act, FakeBroker, TOPIC};
use tokio::time::{Instant, advance, sleep};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(3);
const TOLERANCE: Duration = Duration::from_millis(300);
/// The longest time from a broker's return until all that wait for it succeed.
const RECOVERY: Duration = Duration::from_millis(1_500);
const CALLERS: usize = 1_000;

/// A broker that may be away, and a client of it.
struct Setup {
    absence: Absence,
    fake: FakeBroker,
}

impl Setup {
    fn new() -> Self {
        Self { absence: Absence::new(), fake: FakeBroker::new(|_| Act::Serve) }
    }

    fn builder(&self) -> ClientBuilder {
        let transport = self.absence.transport(self.fake.connector());
        Client::builder().transport(transport).bootstrap(["fake:1"]).request_timeout(REQUEST_TIMEOUT)
    }

    async fn client(&self) -> Client {
        self.builder().connect().await.unwrap()
    }

    /// Lets the broker return after a while.
    async fn returns_after(&self, wait: Duration) -> Instant {
        sleep(wait).await;
        self.absence.set(Presence::There);
        Instant::now()
    }

    /// Writes a record. Drops the producer: its timer has no end of its own in paused time.
    async fn produce(&self) {
        let producer = self.client().await.producer().build().await.unwrap();
        producer.send(Record::new(TOPIC).value("x")).await.unwrap();
    }

    /// Joins a group and reads its record.
    async fn member(&self, auto_commit: Option<Duration>) -> Consumer {
        let consumer = self.client().await.consumer().group("g").subscribe([TOPIC]).auto_commit(auto_commit);
        let mut consumer = consumer.build().await.unwrap();
        consumer.next().await.unwrap().unwrap();
        consumer
    }
}

/// Checks that a call fails within `limit`.
async fn fails_within<T: Debug, E: Debug>(call: &str, limit: Duration, future: impl Future<Output = Result<T, E>>) {
    let start = Instant::now();
    let error = future.await.unwrap_err();
    assert!(start.elapsed() <= limit + TOLERANCE, "{call} took {:?}: {error:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn each_call_ends_at_its_deadline_while_the_broker_is_away_or_silent() {
    for presence in [Presence::Away, Presence::Silent] {
        let setup = Setup::new();
        setup.produce().await;
        let producer = setup.client().await.producer().delivery_timeout(DELIVERY_TIMEOUT).build().await.unwrap();
        let (member, client) = (setup.member(None).await, setup.client().await);
        let assigned = client.consumer().assign([(TOPIC, 0)]).from(StartFrom::Beginning).build().await.unwrap();
        let admin = client.admin();
        setup.absence.set(presence);
        let request = REQUEST_TIMEOUT;
        tokio::join!(
            fails_within("producer build", request, async { client.producer().build().await.map(|_| ()) }),
            fails_within("send to a new topic", DELIVERY_TIMEOUT, producer.send(Record::new(TOPIC).value("a"))),
            fails_within("build", request, async { client.consumer().subscribe([TOPIC]).build().await.map(|_| ()) }),
            fails_within("group build", request, async {
                client.consumer().group("h").subscribe([TOPIC]).build().await.map(|_| ())
            }),
            fails_within("commit", request, member.commit()),
            fails_within("seek", request, assigned.seek_to_time(Timestamp::from_millis(0))),
            fails_within("list offsets", request, admin.list_offsets([(TOPIC, 0, OffsetSpec::End)])),
            fails_within("describe", request, admin.describe_topic(TOPIC, false)),
            fails_within("delete", request, admin.delete_topic(TOPIC)),
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_closes_soon_while_the_broker_is_away_and_says_what_follows() {
    for auto_commit in [None, Some(Duration::from_secs(100))] {
        let setup = Setup::new();
        setup.produce().await;
        let (mut first, mut second) = (setup.member(auto_commit).await, setup.member(auto_commit).await);
        setup.absence.set(Presence::Away);
        let start = Instant::now();
        let error = first.close().await.unwrap_err();
        assert!(start.elapsed() <= REQUEST_TIMEOUT + TOLERANCE, "{:?}", start.elapsed());
        match auto_commit {
            None => {
                insta::assert_snapshot!(error, @"group g: the broker was not told that this member leaves, so its partitions move after the session timeout of 10s: cannot reach the broker at fake:1: connection refused")
            }
            Some(_) => assert!(matches!(error, ConsumeError::Commit(_)), "{error}"),
        }
        assert!(first.next().await.is_none() && first.assignment().is_empty());
        let start = Instant::now();
        second.close_within(Duration::from_millis(100)).await.unwrap_err();
        assert!(start.elapsed() <= Duration::from_millis(100) + TOLERANCE, "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_share_each_dial_and_each_leaves_at_its_deadline() {
    let setup = Setup::new();
    let client = setup.client().await;
    let producer = client.producer().delivery_timeout(DELIVERY_TIMEOUT).build().await.unwrap();
    setup.absence.set(Presence::Away);
    let dials = setup.absence.dials();
    let (admin, start) = (client.admin(), Instant::now());
    let lists = (0..CALLERS).map(|caller| {
        let admin = &admin;
        async move {
            sleep(Duration::from_millis(caller as u64)).await;
            fails_within("list", REQUEST_TIMEOUT, admin.list_groups(1)).await;
        }
    });
    let sends =
        (0..CALLERS).map(|_| fails_within("send", DELIVERY_TIMEOUT, producer.send(Record::new(TOPIC).value("x"))));
    tokio::join!(join_all(lists), join_all(sends));
    let (dials, took) = (setup.absence.dials() - dials, start.elapsed());
    assert!(dials < 20, "{dials} dials in {took:?}");
}

#[tokio::test(start_paused = true)]
async fn all_callers_succeed_soon_after_the_broker_returns() {
    for presence in [Presence::Away, Presence::Silent] {
        let setup = Setup::new();
        let client = setup.builder().request_timeout(Duration::from_secs(60)).connect().await.unwrap();
        setup.absence.set(presence);
        let admin = client.admin();
        let lists = (0..CALLERS).map(|_| async {
            admin.list_groups(1).await.unwrap();
            Instant::now()
        });
        let (returned, lists) = tokio::join!(setup.returns_after(Duration::from_secs(19)), join_all(lists));
        let recovery = lists.into_iter().max().unwrap() - returned;
        // The dial that hangs at the return ends at the connect timeout.
        let limit = if presence == Presence::Away { RECOVERY } else { RECOVERY + Duration::from_secs(10) };
        assert!(recovery <= limit, "{presence:?}: {recovery:?}");
    }
}

#[tokio::test]
async fn all_records_are_sent_soon_after_the_broker_returns() {
    let setup = Setup::new();
    let producer = setup.client().await.producer().build().await.unwrap();
    producer.send(Record::new(TOPIC).value("x")).await.unwrap();
    setup.absence.set(Presence::Away);
    let sends = (0..100).map(|_| async {
        producer.send(Record::new(TOPIC).value("x")).await.unwrap();
        Instant::now()
    });
    let (returned, sends) = tokio::join!(setup.returns_after(Duration::from_secs(1)), join_all(sends));
    let recovery = sends.into_iter().max().unwrap() - returned;
    assert!(recovery <= RECOVERY, "{recovery:?}");
}

#[tokio::test]
async fn a_record_of_a_known_topic_fails_at_the_delivery_timeout() {
    const DELIVERY_TIMEOUT: Duration = Duration::from_millis(500);
    for presence in [Presence::Away, Presence::Silent] {
        let setup = Setup::new();
        let producer = setup.client().await.producer().delivery_timeout(DELIVERY_TIMEOUT).build().await.unwrap();
        producer.send(Record::new(TOPIC).value("x")).await.unwrap();
        setup.absence.set(presence);
        fails_within("send", DELIVERY_TIMEOUT, producer.send(Record::new(TOPIC).value("a"))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_caller_does_not_end_the_dial_of_others() {
    let setup = Setup::new();
    let client = setup.client().await;
    setup.absence.set(Presence::Silent);
    let (admin, other) = (client.admin(), client.admin());
    let first = tokio::spawn(async move { admin.describe_broker().await });
    let second = tokio::spawn(async move { other.list_groups(1).await });
    advance(Duration::from_millis(100)).await;
    let dials = setup.absence.dials();
    first.abort();
    assert!(second.await.unwrap().is_err());
    assert!(setup.absence.dials() <= dials + 1, "{dials} dials, then {}", setup.absence.dials());
}

#[tokio::test(start_paused = true)]
async fn a_close_that_was_dropped_continues_and_its_result_stays() {
    let setup = Setup::new();
    setup.produce().await;
    for presence in [Presence::There, Presence::Away] {
        let mut member = setup.member(None).await;
        setup.absence.set(presence);
        assert!(tokio::time::timeout(Duration::ZERO, member.close()).await.is_err());
        assert!(member.next().await.is_none());
        let first = member.close().await;
        assert_eq!(first.is_ok(), presence == Presence::There, "{first:?}");
        setup.absence.set(Presence::There);
        let again = member.close().await;
        assert_eq!(format!("{again:?}"), format!("{first:?}"), "it is closed, and has not left later");
    }
}
