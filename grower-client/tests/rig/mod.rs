//! A broker, fake or real, with a client that reaches it through a stall.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use crate::stalling::Stall;
use crate::support::{Act, FakeBroker, TOPIC};
use crate::world::World;
use grower_client::{Client, Record, StartFrom, TopicSpec};
use std::time::Duration;

pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_millis(250);

pub(crate) fn record(value: impl ToString) -> Record {
    Record::new(TOPIC).value(value.to_string())
}

/// A broker with two clients, one of which reaches it through a stall.
pub(crate) struct Rig {
    pub(crate) client: Client,
    pub(crate) stalled: Client,
    pub(crate) stall: Stall,
    _world: Option<World>,
}

impl Rig {
    pub(crate) async fn fake(fake: &FakeBroker) -> Self {
        let stall = Stall::new();
        let stalled = stalled_client(stall.transport(fake.connector())).await;
        Self { client: fake.client().await, stalled, stall, _world: None }
    }

    pub(crate) async fn real() -> Self {
        let (world, stall) = (World::in_memory().await, Stall::new());
        world.topic(TOPIC, TopicSpec::partitions(1)).await;
        let stalled = stalled_client(stall.transport(world.connector())).await;
        Self { client: world.client.clone(), stalled, stall, _world: Some(world) }
    }

    pub(crate) async fn both() -> [Self; 2] {
        [Self::fake(&FakeBroker::new(|_| Act::Serve)).await, Self::real().await]
    }

    pub(crate) async fn values(&self) -> Vec<String> {
        let mut consumer =
            self.client.consumer().assign([(TOPIC, 0)]).from(StartFrom::Beginning).build().await.unwrap();
        let mut values = Vec::new();
        loop {
            let records = consumer.poll(Duration::from_millis(50)).await.unwrap();
            if records.is_empty() {
                return values;
            }
            values.extend(records.into_iter().map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
    }
}

async fn stalled_client(transport: impl grower_client::Transport + 'static) -> Client {
    let builder = Client::builder().transport(transport).bootstrap(["fake:1"]);
    builder.request_timeout(REQUEST_TIMEOUT).connect_timeout(REQUEST_TIMEOUT).connect().await.unwrap()
}
