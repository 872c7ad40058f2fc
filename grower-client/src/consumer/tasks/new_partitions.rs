//! Reads whole topics without a group, including partitions that are added later.

use super::start::{self, StartLookup, StartPolicy};
use crate::cluster::Cluster;
use crate::consumer::state::SharedSubscription;
use crate::deadline::Deadline;
use crate::error::{ConsumeError, RequestError};
use crate::record::TopicPartition;
use grower_protocol::ids::TopicName;
use grower_protocol::message::TopicMetadata;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Adds all partitions of all topics.
pub(crate) async fn subscribe(
    cluster: &Arc<Cluster>,
    shared: &Arc<SharedSubscription>,
    topics: &[TopicName],
    policy: &StartPolicy,
    tasks: &mut JoinSet<()>,
    deadline: Deadline,
) -> Result<(), ConsumeError> {
    let mut topic_partitions = Vec::new();
    for name in topics {
        let missing = |source| ConsumeError::Topic { topic: name.clone(), source };
        let topic = cluster.refresh(name, false, deadline).await.map_err(missing)?;
        topic_partitions.extend(all_partitions(&topic));
    }
    start::assign(cluster, shared, &topic_partitions, policy, tasks, deadline).await
}

/// Looks for new partitions until it is aborted.
pub(crate) async fn poll_topics(
    cluster: Arc<Cluster>,
    shared: Arc<SharedSubscription>,
    topics: Vec<TopicName>,
    max_age: Duration,
) {
    let policy = StartPolicy { committer: None, from: None, at: Arc::default() };
    let mut start_lookups = JoinSet::new(); // Aborted together with this task.
    loop {
        sleep(max_age).await;
        while start_lookups.try_join_next().is_some() {}
        for name in &topics {
            if let Err(error) = add_new(&cluster, &shared, name, &policy, &mut start_lookups).await {
                tracing::debug!(topic = %name, %error, "cannot look for new partitions");
            }
        }
    }
}

async fn add_new(
    cluster: &Arc<Cluster>,
    shared: &Arc<SharedSubscription>,
    name: &TopicName,
    policy: &StartPolicy,
    start_lookups: &mut JoinSet<()>,
) -> Result<(), RequestError> {
    let topic = cluster.refresh(name, false, cluster.deadline()).await?;
    let added: Vec<_> = {
        let mut subscription = shared.lock();
        let new: Vec<_> = all_partitions(&topic)
            .filter(|topic_partition| !subscription.partitions.contains(topic_partition))
            .collect();
        let added = |topic_partition: TopicPartition| {
            (subscription.add(topic_partition.clone(), topic.id), (topic_partition, topic.id))
        };
        new.into_iter().map(added).map(|(version, topic_partition)| (topic_partition, version)).collect()
    };
    if !added.is_empty() {
        start_lookups.spawn(StartLookup::new(cluster, shared, policy, added).run());
    }
    Ok(())
}

fn all_partitions(topic: &TopicMetadata) -> impl Iterator<Item = TopicPartition> {
    topic
        .partitions
        .iter()
        .map(|partition| TopicPartition { topic: topic.name.clone(), partition: partition.partition })
}
