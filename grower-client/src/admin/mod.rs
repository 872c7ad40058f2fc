//! Creating, changing and looking at topics and groups, and at the broker itself.
//!
//! What changes something is asked once: if the connection breaks meanwhile, the error says that the outcome is unknown,
//! and the caller looks before asking again. What only looks is asked again by itself, within the request timeout.

mod backup;
mod broker;
mod groups;
mod offsets;
mod topic_spec;
mod topics;

pub use topic_spec::TopicSpec;

pub(crate) use groups::committed_positions;
pub(crate) use offsets::list_offsets;

use crate::cluster::Cluster;
use crate::error::AdminError;
use grower_protocol::message::{Metadata, MetadataAnswer, Request, Response};
use std::sync::Arc;

/// How many partitions one request names, so that it is one that a broker with little memory takes: each is 30 bytes.
const PARTITIONS_MAX: usize = 1_000;

/// The operations on topics and groups; [`crate::Client::admin`]. Cloning is cheap.
#[derive(Clone)]
pub struct Admin {
    cluster: Arc<Cluster>,
}

impl Admin {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// All brokers and all topics, the internal ones included, with the leader of each partition.
    pub async fn metadata(&self) -> Result<MetadataAnswer, AdminError> {
        let (_, answer) = self.cluster.metadata(Metadata { topics: None, create_missing: false }).await?;
        Ok(answer)
    }

    /// Asks once for something that answers [`Response::Done`].
    async fn change(&self, name: &'static str, request: Request) -> Result<(), AdminError> {
        match self.cluster.ask(&request).await? {
            (_, Response::Done) => Ok(()),
            (connection, other) => Err(connection.unexpected(name, other).into()),
        }
    }
}
