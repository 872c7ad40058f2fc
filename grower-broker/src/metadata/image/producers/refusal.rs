//! Refusals of named producers.

use crate::clock::rfc3339;
use grower_protocol::ids::{ProducerEpoch, ProducerId, ProducerName, Timestamp};
use grower_protocol::message::ErrorCode;

/// The reason for refusing a claim of a producer's name, or a batch of a named producer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerRefusal {
    /// No producer has this name.
    #[error("there is no producer {name}")]
    Unknown {
        /// The name.
        name: ProducerName,
    },
    /// The caller renews an identity of a name that another process has claimed.
    #[error("another process claimed producer {name} at {}: only the latest holder of a name writes", rfc3339(*.claimed))]
    Claimed {
        /// The name.
        name: ProducerName,
        /// The time of that claim.
        claimed: Timestamp,
    },
    /// The caller renews an identity of a name that does not exist any more.
    #[error("producer {name} was deleted: claim the name again")]
    Deleted {
        /// The name.
        name: ProducerName,
    },
    /// A batch has a named producer's id that no name has.
    #[error("no name has producer id {id}: its name was deleted or never claimed, so claim it again")]
    Nameless {
        /// The id.
        id: ProducerId,
    },
    /// A batch has an earlier epoch of its name.
    #[error("epoch {epoch} of producer {name} is fenced: the name was claimed at {}, and epoch {current} of id {id} writes", rfc3339(*.claimed))]
    Fenced {
        /// The name.
        name: ProducerName,
        /// The epoch of the batch.
        epoch: ProducerEpoch,
        /// The id that the name has now.
        id: ProducerId,
        /// The epoch that the name has now.
        current: ProducerEpoch,
        /// The time of its claim.
        claimed: Timestamp,
    },
    /// A batch has a later epoch than its name.
    #[error("epoch {epoch} of producer {name} was never issued, the current one is {current}: claim the name again")]
    NeverIssued {
        /// The name.
        name: ProducerName,
        /// The epoch of the batch.
        epoch: ProducerEpoch,
        /// The epoch that the name has now.
        current: ProducerEpoch,
    },
    /// The metadata was restored, and does not know the claims after the backup.
    #[error("producer {name} was claimed before a restore of the broker's data: claim the name again")]
    Restored {
        /// The name.
        name: ProducerName,
    },
    /// There are as many named producers as the broker's settings allow.
    #[error(
        "the limit of {max} named producers is reached: delete one that is not used any more (grower-cli producer delete NAME), or raise producers.named_max"
    )]
    TooMany {
        /// The limit.
        max: u64,
    },
}

impl ProducerRefusal {
    /// The error code for clients.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown { .. } => ErrorCode::UnknownProducer,
            Self::TooMany { .. } => ErrorCode::LimitReached,
            Self::Claimed { .. }
            | Self::Deleted { .. }
            | Self::Nameless { .. }
            | Self::Fenced { .. }
            | Self::NeverIssued { .. }
            | Self::Restored { .. } => ErrorCode::FencedProducer,
        }
    }
}
