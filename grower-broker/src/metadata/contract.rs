//! The contract of every [`MetadataStore`]. Each implementation runs it in its tests.

use super::{Applied, Command, MetadataRefusal, MetadataStore, ProposeError, Uuid};
use crate::config::MetadataLimits;
use grower_protocol::ids::{LeaderEpoch, NodeId, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::NewTopic;
use std::sync::Arc;

const NODE: NodeId = NodeId::new(1);
const CLUSTER: Uuid = Uuid::from_random([1; 16]);
const UUID: Uuid = Uuid::from_random([2; 16]);

/// Runs the whole suite, each part on an empty store from `open`.
///
/// # Panics
/// Where the store breaks its contract.
pub async fn metadata_store<S: MetadataStore + 'static>(open: impl Fn() -> S) {
    an_image_shows_what_was_proposed(&open()).await;
    an_image_that_was_read_does_not_change(&open()).await;
    a_refused_command_changes_nothing(&open()).await;
    each_of_several_commands_is_decided_alone(&open()).await;
    each_start_begins_new_leaderships(&open()).await;
    no_producer_id_is_allocated_twice(Arc::new(open())).await;
}

async fn start(store: &impl MetadataStore) {
    if store.image().cluster().is_none() {
        propose(store, Command::FormatCluster { cluster: CLUSTER }).await;
    }
    let address = "127.0.0.1:9092".to_owned();
    propose(store, Command::RegisterBroker { node: NODE, uuid: UUID, address }).await;
}

async fn propose(store: &impl MetadataStore, command: Command) -> Applied {
    store.propose(command).await.expect("the store accepts what its image allows")
}

fn name(text: &str) -> TopicName {
    TopicName::new(text).expect("a valid name")
}

async fn create(store: &impl MetadataStore, topic: &str, partitions: u32) -> Applied {
    let request =
        NewTopic { name: name(topic), partitions: Some(partitions), replication_factor: None, configs: Vec::new() };
    let id = TopicId::from_random([partitions as u8; 16]);
    let command = store.image().create_topic(&request, id, Timestamp::from_millis(7), &MetadataLimits::default());
    propose(store, command.expect("a valid request")).await
}

async fn an_image_shows_what_was_proposed(store: &impl MetadataStore) {
    start(store).await;
    let Applied::TopicCreated(topic) = create(store, "events", 3).await else { panic!("the topic was created") };
    assert_eq!(store.image().topic(&name("events")), Some(&topic));
    assert_eq!(store.image().topic_by_id(topic.id), Some(&topic));
    assert_eq!(store.image().version(), 3);
}

async fn an_image_that_was_read_does_not_change(store: &impl MetadataStore) {
    start(store).await;
    let before = store.image();
    create(store, "events", 3).await;
    assert_eq!(before.topic(&name("events")), None);
    assert_eq!(before.version() + 1, store.image().version());
}

async fn a_refused_command_changes_nothing(store: &impl MetadataStore) {
    start(store).await;
    let before = store.image();
    let id = TopicId::from_random([9; 16]);
    let refused = store.propose(Command::DeleteTopic { id }).await;
    assert!(
        matches!(refused, Err(ProposeError::Refused(MetadataRefusal::UnknownTopicId { id: named })) if named == id)
    );
    assert_eq!(store.image(), before);
}

async fn each_of_several_commands_is_decided_alone(store: &impl MetadataStore) {
    start(store).await;
    let before = store.image().version();
    let new = |topic: &str, id| {
        let request =
            NewTopic { name: name(topic), partitions: Some(1), replication_factor: None, configs: Vec::new() };
        let id = TopicId::from_random([id; 16]);
        let command = store.image().create_topic(&request, id, Timestamp::from_millis(7), &MetadataLimits::default());
        command.expect("a valid request")
    };
    let delete = Command::DeleteTopic { id: TopicId::from_random([1; 16]) };
    let commands = vec![new("a", 1), new("a", 2), delete, new("a", 3), new("b", 3), new("b", 4)];
    let applied: Vec<bool> = store.propose_all(commands).await.iter().map(Result::is_ok).collect();
    assert_eq!(applied, [true, false, true, true, false, true]);
    let image = store.image();
    let topics: Vec<(&str, TopicId)> = image.topics().map(|topic| (topic.name.as_str(), topic.id)).collect();
    assert_eq!(topics, [("a", TopicId::from_random([3; 16])), ("b", TopicId::from_random([4; 16]))]);
    assert_eq!(image.version(), before + 4, "a refused command is not counted");
    assert!(store.propose_all(Vec::new()).await.is_empty());
}

async fn each_start_begins_new_leaderships(store: &impl MetadataStore) {
    start(store).await;
    create(store, "events", 1).await;
    let epoch = || {
        let image = store.image();
        let partition = image.topic(&name("events")).and_then(|topic| topic.partition(PartitionId::new(0)).cloned());
        partition.expect("the partition is there").leader_epoch
    };
    assert_eq!(epoch(), LeaderEpoch::new(0));
    start(store).await;
    assert_eq!(epoch(), LeaderEpoch::new(1));
}

async fn no_producer_id_is_allocated_twice<S: MetadataStore + 'static>(store: Arc<S>) {
    let allocate = |_| {
        let store = store.clone();
        tokio::spawn(async move { propose(&*store, Command::AllocateProducerIds { count: 10 }).await })
    };
    let mut firsts = Vec::new();
    for allocation in (0..8).map(allocate).collect::<Vec<_>>() {
        let Ok(Applied::ProducerIds(ids)) = allocation.await else { panic!("a block of ids") };
        assert_eq!(ids.end - ids.start, 10);
        firsts.push(ids.start);
    }
    firsts.sort_unstable();
    assert_eq!(firsts, (0..8).map(|block| block * 10).collect::<Vec<u64>>());
}
