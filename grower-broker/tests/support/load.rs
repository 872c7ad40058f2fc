//! Producers that write for as long as they are let, remember every ack, and afterwards hold the broker to them.
//!
//! Tests of other crates include this file with `#[path]`.
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

use grower_client::{Ack, Client, OffsetSpec, ProduceError, Producer, Record, StartFrom};
use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Where an acknowledged value must be for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
}

/// Writers at work on one topic.
pub(crate) struct Load {
    writers: JoinSet<()>,
    progress: Arc<watch::Sender<Progress>>,
}

#[derive(Default)]
struct Progress {
    acked: BTreeMap<Place, String>,
    /// Why a writer gave up, which none should within the time of a test.
    failure: Option<ProduceError>,
}

/// How many records a writer has on their way at once.
const AT_ONCE: u64 = 16;

impl Load {
    /// Starts `writers` producers, each with a partition that it may share with others. `run` makes their values
    /// different from those of other loads on the topic.
    pub(crate) fn start(client: &Client, topic: &str, partitions: u32, writers: u32, run: u32) -> Self {
        let progress: Arc<watch::Sender<Progress>> = Arc::default();
        let mut tasks = JoinSet::new();
        for writer in 0..writers {
            let (client, topic, progress) = (client.clone(), topic.to_owned(), progress.clone());
            tasks.spawn(async move {
                let target = Target { topic, partition: writer % partitions, name: format!("{run}.{writer}") };
                let Err(failure) = target.write(&client, &progress).await;
                progress.send_modify(|progress| progress.failure = Some(failure));
            });
        }
        Self { writers: tasks, progress }
    }

    /// Waits until there are `more` acks than now.
    pub(crate) async fn wait_for_more(&self, more: usize) {
        let mut progress = self.progress.subscribe();
        let wanted = progress.borrow_and_update().acked.len() + more;
        let reached = progress.wait_for(|now| wanted <= now.acked.len() || now.failure.is_some()).await.unwrap();
        assert!(reached.failure.is_none(), "a writer gave up: {:?}", reached.failure);
    }

    /// The acks so far.
    pub(crate) fn acked(&self) -> BTreeMap<Place, String> {
        self.progress.borrow().acked.clone()
    }

    /// Ends the writers wherever they are; the acks that they had got.
    pub(crate) async fn stop(mut self) -> BTreeMap<Place, String> {
        self.writers.shutdown().await;
        self.acked()
    }
}

/// Writes a few records and waits for all acks; nothing is on its way when this returns.
pub(crate) async fn write_some(client: &Client, topic: &str, run: u32) -> BTreeMap<Place, String> {
    let target = Target { topic: topic.to_owned(), partition: 0, name: format!("{run}.0") };
    let progress = watch::Sender::default();
    let producer = client.producer().build().await.unwrap();
    target.write_some(&producer, 0, &progress).await.unwrap();
    progress.borrow().acked.clone()
}

/// What one writer writes to, and under which name.
struct Target {
    topic: String,
    partition: u32,
    name: String,
}

impl Target {
    async fn write(&self, client: &Client, progress: &watch::Sender<Progress>) -> Result<Infallible, ProduceError> {
        let producer = client.producer().build().await?;
        let mut next = 0;
        loop {
            self.write_some(&producer, next, progress).await?;
            next += AT_ONCE;
        }
    }

    async fn write_some(
        &self,
        producer: &Producer,
        first: u64,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), ProduceError> {
        let mut deliveries = Vec::new();
        for number in first..first + AT_ONCE {
            let value = self.value(number);
            let record = Record::new(self.topic.as_str()).partition(self.partition).value(value.clone());
            deliveries.push((value, producer.enqueue(record).await?));
        }
        for (value, delivery) in deliveries {
            let place = place(&delivery.await?);
            progress.send_modify(|progress| {
                let before = progress.acked.insert(place.clone(), value.clone());
                assert_eq!(before, None, "{place:?} was acknowledged twice");
            });
        }
        Ok(())
    }

    /// Numbered, and of lengths from a few bytes to some hundred.
    fn value(&self, number: u64) -> String {
        let filler = "x".repeat((number * 37 % 400) as usize);
        format!("{}/{number}/{filler}", self.name)
    }
}

fn place(ack: &Ack) -> Place {
    let offset = ack.offset.expect("these acks wait for the broker");
    Place { partition: ack.partition.value(), offset: offset.value() }
}

/// Everything that a topic holds up to its high watermarks of now, as a consumer reads it.
pub(crate) async fn read_all(client: &Client, topic: &str, partitions: u32) -> BTreeMap<Place, String> {
    let starts = offsets(client, topic, partitions, OffsetSpec::Beginning).await;
    let ends = offsets(client, topic, partitions, OffsetSpec::End).await;
    let mut unread: BTreeMap<u32, u64> = (0..partitions).zip(ends).collect();
    unread.retain(|partition, end| starts[*partition as usize] < *end);
    let all = (0..partitions).map(|partition| (topic, partition));
    let mut consumer = client.consumer().assign(all).from(StartFrom::Beginning).build().await.unwrap();
    let mut found = BTreeMap::new();
    while !unread.is_empty() {
        let record = consumer.next().await.expect("a consumer never ends by itself").unwrap();
        let place = Place { partition: record.partition.value(), offset: record.offset.value() };
        if unread.get(&place.partition) == Some(&(place.offset + 1)) {
            unread.remove(&place.partition);
        }
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        assert_eq!(found.insert(place, value), None, "an offset was read twice");
    }
    found
}

async fn offsets(client: &Client, topic: &str, partitions: u32, spec: OffsetSpec) -> Vec<u64> {
    let listed = client.admin().list_offsets((0..partitions).map(|partition| (topic, partition, spec))).await.unwrap();
    listed.into_iter().map(|listed| listed.unwrap().offset.unwrap().value()).collect()
}

/// Holds the broker to what it acknowledged: all of it is found where it was said to be; nothing is there twice,
/// acknowledged or not; the offsets of a partition are dense; each writer's records are in the order of its sending.
pub(crate) fn check(acked: &BTreeMap<Place, String>, found: &BTreeMap<Place, String>) {
    for (place, value) in acked {
        assert_eq!(found.get(place), Some(value), "acknowledged at {place:?}");
    }
    let mut seen = HashSet::new();
    let mut last: BTreeMap<(u32, &str), u64> = BTreeMap::new();
    let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
    for (place, value) in found {
        assert!(seen.insert(value), "{value} is there twice, the second time at {place:?}");
        let end = ends.entry(place.partition).or_insert(place.offset);
        assert_eq!(*end, place.offset, "offsets are missing before {place:?}");
        *end += 1;
        let mut words = value.split('/');
        let (Some(writer), Some(number)) = (words.next(), words.next()) else { panic!("{value} at {place:?}") };
        let number: u64 = number.parse().unwrap();
        let before = last.insert((place.partition, writer), number);
        assert!(before.is_none_or(|before| before < number), "{value} at {place:?} comes after {before:?}");
    }
}
