use super::*;
use crate::clock::{BrokerClock, Calendar};
use crate::config::MetadataLimits;
use crate::health::Health;
use crate::logs::MemLogs;
use crate::memory::Memory;
use crate::metadata::{MemMetadataStore, MetadataStore, ProposeError, Uuid};
use crate::metrics::Metrics;
use crate::topic::IndexKind;
use async_trait::async_trait;
use grower_protocol::ids::{NodeId, Timestamp, TopicId, TopicName};
use grower_protocol::message::NewTopic;
use grower_storage::backup_files::BackupFile;
use grower_storage::disk::DiskError;
use grower_storage::log::ChangeError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::task::JoinHandle;

/// Counts durable writes, and refuses them as on a full disk when asked to.
#[derive(Default)]
struct CountingStore {
    inner: MemMetadataStore,
    writes: AtomicUsize,
    full: AtomicBool,
}

#[async_trait]
impl MetadataStore for CountingStore {
    async fn propose_all(&self, commands: Vec<Command>) -> Vec<Result<Applied, ProposeError>> {
        if self.full.load(Ordering::SeqCst) {
            return vec![Err(ProposeError::Full { detail: "a test".to_owned() }); commands.len()];
        }
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.inner.propose_all(commands).await
    }

    fn hold_files(&self, hold: &mut dyn FnMut(&[BackupFile]) -> Result<(), DiskError>) -> Result<(), ChangeError> {
        self.inner.hold_files(hold)
    }

    fn image(&self) -> Arc<Image> {
        self.inner.image()
    }
}

struct World {
    topics: Arc<Topics>,
    store: Arc<CountingStore>,
}

impl World {
    async fn new() -> Self {
        let store = Arc::new(CountingStore::default());
        let uuid = Uuid::from_random([1; 16]);
        store.propose(Command::RegisterBroker { node: NodeId::new(1), uuid, address: String::new() }).await.unwrap();
        let clock = BrokerClock::new(Arc::new(Calendar::default()));
        let (logs, memory) = (Arc::new(MemLogs), Memory::new(1 << 30));
        let (index, health) = (IndexKind::default(), Health::new(Metrics::for_test()));
        let topics = Arc::new(Topics::new(store.clone(), logs, clock, index, memory, health));
        Self { topics, store }
    }

    /// Has these changes wait while another has the turn, in their order; then lets it go.
    async fn all_at_once(&self, decisions: Vec<Decide>) -> Vec<ChangeResult> {
        let turn = self.topics.changes.order.clone().lock_owned().await;
        let mut asked = Vec::new();
        for decide in decisions {
            asked.push(self.ask(decide).await);
        }
        drop(turn);
        let mut changed = Vec::new();
        for asked in asked {
            changed.push(asked.await.unwrap());
        }
        changed
    }

    /// Returns when the change waits for its turn.
    async fn ask(&self, decide: Decide) -> JoinHandle<ChangeResult> {
        let (topics, before) = (self.topics.clone(), self.waiting());
        let asked = tokio::spawn(async move { topics.change(decide).await });
        while self.waiting() == before {
            tokio::task::yield_now().await;
        }
        asked
    }

    fn waiting(&self) -> usize {
        self.topics.changes.waiting.lock().len()
    }

    fn serves(&self, topic: u8) -> bool {
        !self.topics.of(id(topic)).is_empty()
    }
}

fn id(number: u8) -> TopicId {
    TopicId::from_random([number; 16])
}

fn name(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn create(topic: &str, number: u8) -> Decide {
    let request = NewTopic { name: name(topic), partitions: Some(2), replication_factor: None, configs: Vec::new() };
    Box::new(move |image| {
        Ok(image.create_topic(&request, id(number), Timestamp::default(), &MetadataLimits::default())?)
    })
}

fn delete(topic: &str) -> Decide {
    let topic = name(topic);
    Box::new(move |image| Ok(image.delete_topic(&topic)?))
}

fn code(changed: &ChangeResult) -> Option<ErrorCode> {
    changed.as_ref().err().map(|failure| failure.code)
}

#[tokio::test]
async fn changes_that_wait_together_are_made_durable_together() {
    let world = World::new().await;
    let before = world.store.writes.load(Ordering::SeqCst);
    let changed = world.all_at_once((0..50).map(|n| create(&format!("topic-{n}"), n)).collect()).await;
    assert!(changed.iter().all(Result::is_ok), "{changed:?}");
    assert_eq!(world.store.writes.load(Ordering::SeqCst) - before, 1);
    assert!((0..50).all(|topic| world.serves(topic)));
}

#[tokio::test]
async fn each_change_sees_those_before_it_and_is_carried_out_after_them() {
    let world = World::new().await;
    let decisions = vec![create("a", 1), create("a", 2), create("A", 3), delete("a"), create("a", 4), delete("b")];
    let changed = world.all_at_once(decisions).await;
    let exists = Some(ErrorCode::TopicExists);
    let codes: Vec<_> = changed.iter().map(code).collect();
    assert_eq!(codes, [None, exists, code(&changed[2]), None, None, Some(ErrorCode::UnknownTopic)]);
    assert!(changed[2].is_err(), "the names would not be told apart");
    assert_eq!([1, 2, 3, 4].map(|topic| world.serves(topic)), [false, false, false, true]);
}

#[tokio::test]
async fn a_change_refused_because_of_an_unwritten_one_gets_the_error_of_that_one() {
    let world = World::new().await;
    world.topics.change(create("old", 1)).await.unwrap();
    world.store.full.store(true, Ordering::SeqCst);
    let changed = world.all_at_once(vec![create("a", 2), create("a", 3), create("old", 4)]).await;
    let full = Some(ErrorCode::DiskFull);
    assert_eq!(changed.iter().map(code).collect::<Vec<_>>(), [full, full, Some(ErrorCode::TopicExists)]);
    world.store.full.store(false, Ordering::SeqCst);
    world.topics.change(create("a", 5)).await.unwrap();
    assert!(world.serves(5));
}

#[tokio::test]
async fn a_change_with_a_dropped_caller_does_not_happen_later() {
    let world = World::new().await;
    world.topics.change(create("a", 1)).await.unwrap();
    let turn = world.topics.changes.order.clone().lock_owned().await;
    let asked = world.ask(delete("a")).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    drop(turn);
    world.topics.change(create("b", 2)).await.unwrap();
    assert_eq!([1, 2].map(|topic| world.serves(topic)), [true, true]);
}
