//! Reading whole topics without a group: all partitions, those that are added later too.

use super::shelf::Shared;
use super::slot::Version;
use super::start::{self, Origin};
use crate::cluster::Cluster;
use crate::error::{ConsumeError, RequestError};
use crate::record::TopicPartition;
use grower_protocol::ids::TopicName;
use grower_protocol::message::TopicMetadata;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Puts all partitions of all topics on the shelf.
pub(super) async fn subscribe(
    cluster: &Arc<Cluster>,
    shared: &Arc<Shared>,
    topics: &[TopicName],
    origin: &Origin,
) -> Result<(), ConsumeError> {
    let mut places = Vec::new();
    for name in topics {
        let missing = |source| ConsumeError::Topic { topic: name.clone(), source };
        let topic = cluster.refresh(name, false).await.map_err(missing)?;
        places.extend(all_places(&topic));
    }
    start::assign(cluster, shared, &places, origin).await
}

/// Looks for new partitions, for ever.
pub(super) async fn keep_up(cluster: Arc<Cluster>, shared: Arc<Shared>, topics: Vec<TopicName>, max_age: Duration) {
    let origin = Origin { committer: None, from: None };
    loop {
        sleep(max_age).await;
        for name in &topics {
            if let Err(error) = add_new(&cluster, &shared, name, &origin).await {
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
) -> Result<(), RequestError> {
    let topic = cluster.refresh(name, false).await?;
    let added: Vec<_> = {
        let mut shelf = shared.lock();
        let new: Vec<_> = all_places(&topic).filter(|place| !shelf.slots.contains_key(place)).collect();
        new.into_iter().map(|place| (shelf.add(place.clone(), topic.id), (place, topic.id))).collect()
    };
    if added.is_empty() {
        return Ok(());
    }
    let (versions, places): (Vec<Version>, Vec<_>) = added.into_iter().unzip();
    match start::resolve(cluster, shared, &places, origin).await {
        Ok(starts) => start::begin(shared, starts, &versions),
        Err(error) => {
            // Next time they are new again.
            shared.lock().retain(|_, slot| !versions.contains(&slot.version));
            return Err(error);
        }
    }
    Ok(())
}

fn all_places(topic: &TopicMetadata) -> impl Iterator<Item = TopicPartition> {
    topic
        .partitions
        .iter()
        .map(|partition| TopicPartition { topic: topic.name.clone(), partition: partition.partition })
}
