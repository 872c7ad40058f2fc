//! Creates, changes and describes topics, groups, named producers and the broker itself.
//!
//! A request with an effect is sent once: if the connection breaks meanwhile, the error says that the outcome is
//! unknown, and the caller checks before it retries. A read-only request is retried automatically. The request timeout
//! bounds each call with all its requests and retries.

mod backup;
mod broker;
mod groups;
mod offsets;
mod producers;
mod topic_spec;
mod topics;

pub use topic_spec::TopicSpec;

pub(crate) use groups::committed_offsets;
pub(crate) use offsets::list_offsets;

use crate::cluster::Cluster;
use crate::error::AdminError;
use grower_protocol::message::{Metadata, MetadataAnswer, Request, Response};
use std::sync::Arc;

/// The most partitions in one request, so that a broker with little memory accepts it: each takes 30 bytes.
const PARTITIONS_MAX: usize = 1_000;

/// The admin client; see [`crate::Client::admin`]. Clones are cheap.
#[derive(Clone)]
pub struct Admin {
    cluster: Arc<Cluster>,
}

impl Admin {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// Lists all brokers and all topics, including internal ones, with the leader of each partition.
    pub async fn metadata(&self) -> Result<MetadataAnswer, AdminError> {
        let asked = Metadata { topics: None, create_missing: false };
        let (_, answer) = self.cluster.metadata(asked, self.cluster.deadline()).await?;
        Ok(answer)
    }

    /// Sends, once, a request with the answer [`Response::Done`].
    async fn change(&self, name: &'static str, request: Request) -> Result<(), AdminError> {
        match self.cluster.ask(&request, self.cluster.deadline()).await? {
            (_, Response::Done) => Ok(()),
            (connection, other) => Err(connection.unexpected(name, other).into()),
        }
    }
}
