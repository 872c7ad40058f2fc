//! The connection that all producers of a client share for small batches.

mod world;

use grower_client::ids::Offset;
use grower_client::{Acks, Client, Producer, Record, TopicSpec, transport};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use world::{LONG, World, numbered, read};

/// A transport that counts its connections to the broker.
#[derive(Clone, Default)]
struct CountingTransport {
    opened: Arc<AtomicUsize>,
    open: watch::Sender<usize>,
}

impl CountingTransport {
    async fn client(&self, world: &World) -> Client {
        let (counting, connect) = (self.clone(), world.connector());
        let connect = move || {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            let (mut broker, open) = (connect(), counting.open.clone());
            counting.opened.fetch_add(1, Ordering::Relaxed);
            open.send_modify(|open| *open += 1);
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut far, &mut broker).await;
                open.send_modify(|open| *open -= 1);
            });
            near
        };
        let builder = Client::builder().transport(transport::in_process(connect)).bootstrap(["counted"]);
        builder.connect().await.unwrap()
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    async fn all_are_closed(&self) {
        let mut open = self.open.subscribe();
        let left = tokio::time::timeout(LONG, open.wait_for(|open| *open == 0)).await;
        assert!(left.is_ok(), "{} connections are open", *self.open.borrow());
    }
}

async fn world() -> (World, CountingTransport, Client) {
    let (world, counting) = (World::in_memory().await, CountingTransport::default());
    world.topic("events", TopicSpec::partitions(1)).await;
    let client = counting.client(&world).await;
    (world, counting, client)
}

async fn send(producer: &Producer, value: &str) -> Offset {
    producer.send(Record::new("events").value(value.to_owned())).await.unwrap().offset.unwrap()
}

async fn in_log(world: &World, count: usize) -> Vec<String> {
    read(&mut world.client.consumer().assign([("events", 0)]).build().await.unwrap(), count).await
}

/// The control connection and the shared one.
const TWO: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_busy_producers_share_one_connection() {
    let (world, counting, client) = world().await;
    let mut sending = JoinSet::new();
    for number in 0..200 {
        let acks = if number % 2 == 0 { Acks::All } else { Acks::Leader };
        let producer = client.producer().acks(acks).batch_records(1).build().await.unwrap();
        sending.spawn(async move {
            let mut deliveries = Vec::new();
            for record in 0..20 {
                deliveries
                    .push(producer.enqueue(Record::new("events").value(format!("{number}/{record}"))).await.unwrap());
            }
            let mut offsets = Vec::new();
            for delivery in deliveries {
                offsets.push(delivery.await.unwrap().offset.unwrap());
            }
            assert!(offsets.is_sorted(), "{offsets:?}");
        });
    }
    tokio::time::timeout(LONG, sending.join_all()).await.expect("they get on");
    assert_eq!(counting.opened(), TWO);
    let mut values = in_log(&world, 4_000).await;
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), 4_000);
}

#[tokio::test]
async fn a_bulk_producer_gets_its_own_connection_and_keeps_its_order() {
    let (world, counting, client) = world().await;
    let (busy, other) = (client.producer().build().await.unwrap(), client.producer().build().await.unwrap());
    let mut deliveries = Vec::new();
    for value in numbered(0..20_000) {
        deliveries.push(busy.enqueue(Record::new("events").value(value)).await.unwrap());
    }
    for (delivery, offset) in deliveries.into_iter().zip(0..) {
        assert_eq!(delivery.await.unwrap().offset, Some(Offset::new(offset)));
    }
    assert_eq!(in_log(&world, 20_000).await, numbered(0..20_000).collect::<Vec<_>>());
    send(&other, "small").await;
    assert_eq!(counting.opened(), TWO + 1);
}

#[tokio::test]
async fn a_producer_with_acks_none_starts_with_its_own_connection() {
    let (world, counting, client) = world().await;
    let producer = client.producer().acks(Acks::None).build().await.unwrap();
    for value in numbered(0..100) {
        producer.send(Record::new("events").value(value)).await.unwrap();
    }
    assert_eq!(in_log(&world, 100).await, numbered(0..100).collect::<Vec<_>>());
    let sharing = client.producer().build().await.unwrap();
    send(&sharing, "another").await;
    assert_eq!(counting.opened(), TWO + 1);
}

#[tokio::test]
async fn closing_a_producer_keeps_the_shared_connection_open() {
    let (_world, counting, client) = world().await;
    let [closed, dropped, last] = [client.producer(), client.producer(), client.producer()];
    let (closed, dropped) = (closed.build().await.unwrap(), dropped.build().await.unwrap());
    let last = last.build().await.unwrap();
    for (producer, offset) in [&closed, &dropped, &last].into_iter().zip(0..) {
        assert_eq!(send(producer, "before").await, Offset::new(offset));
    }
    closed.close().await.unwrap();
    let under_way = dropped.enqueue(Record::new("events").value("perhaps")).await.unwrap();
    drop((closed, dropped, under_way));
    send(&last, "after").await;
    assert_eq!(counting.opened(), TWO);
}

#[tokio::test]
async fn the_shared_connection_closes_with_its_last_user() {
    let (_world, counting, client) = world().await;
    let producer = client.producer().build().await.unwrap();
    send(&producer, "small").await;
    drop(client);
    send(&producer, "small too").await;
    assert_eq!(counting.opened(), TWO);
    drop(producer);
    counting.all_are_closed().await;
}

#[test]
fn a_client_outlives_the_runtime_of_its_connections() {
    let (first, second) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let world = second.block_on(World::in_memory());
    let builder = Client::builder().transport(transport::in_process(world.connector())).bootstrap(["any"]);
    let client = first.block_on(builder.connect()).unwrap();
    drop(first);
    let answered = second.block_on(async { tokio::time::timeout(LONG, client.admin().metadata()).await });
    answered.expect("the client connects again").unwrap();
}
