//! Named producers: list, describe, delete.

use super::Admin;
use crate::error::AdminError;
use grower_protocol::ids::ProducerName;
use grower_protocol::message::{NamedProducerDescription, ProducerDescription, Request, Response};

impl Admin {
    /// Lists the first named producers by name, at most `most`.
    pub async fn list_producers(&self, most: usize) -> Result<Vec<NamedProducerDescription>, AdminError> {
        let (mut all, mut after, deadline) = (Vec::new(), None, self.cluster.deadline());
        loop {
            let wanted = u32::try_from(most - all.len()).unwrap_or(u32::MAX);
            let request = Request::ListProducers { after: after.clone(), most: wanted };
            match self.cluster.ask_retrying(&request, deadline).await? {
                (_, Response::ListProducers { producers, next }) => {
                    all.extend(producers);
                    if most <= all.len() || next <= after {
                        all.truncate(most);
                        return Ok(all);
                    }
                    after = next; // A page that leads back ended the listing.
                }
                (connection, other) => return Err(connection.unexpected("list producers", other).into()),
            }
        }
    }

    /// Describes a named producer: its identity, and the last record that it wrote to each partition. That record may
    /// not be durable yet.
    pub async fn describe_producer(&self, name: impl AsRef<str>) -> Result<ProducerDescription, AdminError> {
        let request = Request::DescribeProducer(ProducerName::new(name.as_ref())?);
        match self.cluster.ask_retrying(&request, self.cluster.deadline()).await? {
            (_, Response::DescribeProducer(producer)) => Ok(producer),
            (connection, other) => Err(connection.unexpected("describe producer", other).into()),
        }
    }

    /// Deletes a named producer. Its holder is refused from then on, and the next one that claims the name learns
    /// nothing of what was written before.
    pub async fn delete_producer(&self, name: impl AsRef<str>) -> Result<(), AdminError> {
        self.change("delete producer", Request::DeleteProducer(ProducerName::new(name.as_ref())?)).await
    }
}
