//! Accepted losses, as they were recorded then.

use super::topics::unknown;
use super::{Answered, Api};
use crate::background;
use grower_protocol::ids::{PartitionId, TopicName};
use grower_protocol::message::{AcceptedLossDescription, ErrorCode, Failure, Response};
use grower_storage::repair::AcceptedLoss;
use std::sync::Arc;

impl Api {
    pub(super) async fn list_losses(self: Arc<Self>, name: TopicName) -> Answered {
        let topic = self.state.topics.image().topic(&name).cloned().ok_or_else(|| unknown(&name))?;
        let topics = self.state.topics.clone();
        let listed = background::blocking(move || {
            let mut listed = Vec::new();
            for (number, _) in topic.numbered() {
                // An unreadable list hides no other: `log verify` and the offline partition report it.
                let losses = topics.losses(&topic, number).unwrap_or_else(|error| {
                    tracing::warn!(topic = %topic.name, partition = %number, %error, "cannot read the accepted losses of a partition");
                    Vec::new()
                });
                listed.extend(losses.into_iter().map(|loss| described(number, loss)));
            }
            Ok(Response::ListLosses(listed))
        });
        listed.await.map_err(|error| Failure::new(ErrorCode::Internal, error))?
    }
}

fn described(partition: PartitionId, loss: AcceptedLoss) -> AcceptedLossDescription {
    let AcceptedLoss { offsets, at, by, reason, kept, bytes, crc: _ } = loss;
    AcceptedLossDescription { partition, start: offsets.start, end: offsets.end, at, by, reason, kept, bytes }
}
