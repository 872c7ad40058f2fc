//! Reading whole topics without a group: all partitions, those that are added later too.

use super::start::{self, Beginning, Origin};
use crate::cluster::Cluster;
use crate::consumer::state::Shared;
use crate::error::{ConsumeError, RequestError};
use crate::record::TopicPartition;
use grower_protocol::ids::TopicName;
use grower_protocol::message::TopicMetadata;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Puts all partitions of all topics on the shelf.
pub(crate) async fn subscribe(
    cluster: &Arc<Cluster>,
    shared: &Arc<Shared>,
    topics: &[TopicName],
    origin: &Origin,
    tasks: &mut JoinSet<()>,
) -> Result<(), ConsumeError> {
    let mut places = Vec::new();
    for name in topics {
        let missing = |source| ConsumeError::Topic { topic: name.clone(), source };
        let topic = cluster.refresh(name, false).await.map_err(missing)?;
        places.extend(all_places(&topic));
    }
    start::assign(cluster, shared, &places, origin, tasks).await
}

/// Looks for new partitions, for ever.
pub(crate) async fn keep_up(cluster: Arc<Cluster>, shared: Arc<Shared>, topics: Vec<TopicName>, max_age: Duration) {
    let origin = Origin { committer: None, from: None };
    let mut beginnings = JoinSet::new(); // Ended with this.
    loop {
        sleep(max_age).await;
        while beginnings.try_join_next().is_some() {}
        for name in &topics {
            if let Err(error) = add_new(&cluster, &shared, name, &origin, &mut beginnings).await {
                tracing::debug!(topic = %name, %error, "cannot look for new partitions");
            }
        }
    }
}

async fn add_new(
    cluster: &Arc<Cluster>,
    shared: &Arc<Shared>,
    name: &TopicName,
    origin: &Origin,
    beginnings: &mut JoinSet<()>,
) -> Result<(), RequestError> {
    let topic = cluster.refresh(name, false).await?;
    let added: Vec<_> = {
        let mut shelf = shared.lock();
        let new: Vec<_> = all_places(&topic).filter(|place| !shelf.slots.contains_key(place)).collect();
        let added = |place: TopicPartition| (shelf.add(place.clone(), topic.id), (place, topic.id));
        new.into_iter().map(added).map(|(version, place)| (place, version)).collect()
    };
    if !added.is_empty() {
        beginnings.spawn(Beginning::new(cluster, shared, origin, added).run());
    }
    Ok(())
}

fn all_places(topic: &TopicMetadata) -> impl Iterator<Item = TopicPartition> {
    topic
        .partitions
        .iter()
        .map(|partition| TopicPartition { topic: topic.name.clone(), partition: partition.partition })
}
