//! Why a request was not answered as asked.

use super::{ConnectError, ConnectionError};
use crate::record::TopicPartition;
use grower_protocol::message::{ErrorCode, Failure, Outcome, Part, Response};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why one exchange with a broker failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There was no connection, so nothing was sent.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// The connection had ended before the request was sent.
    #[error("{0}")]
    NotSent(ConnectionError),
    /// The connection ended before the answer came: the request may have been carried out.
    #[error("{0}; the request may have been carried out")]
    Lost(ConnectionError),
    /// The broker said no.
    #[error("{0}")]
    Failed(#[from] Failure),
    /// The broker answered something else than was asked. A defect, of either side.
    #[error("{address} answered {request} with something else")]
    Unexpected {
        /// Who.
        address: Arc<str>,
        /// What was asked.
        request: &'static str,
    },
    /// Whoever asked had no more time. What went wrong meanwhile was tried again.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// More than the broker takes in one frame, or than fits a message.
    #[error("a request of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
}

impl RequestError {
    /// Whether the same request may succeed later without anybody changing it.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_retriable(),
            Self::NotSent(_) | Self::Lost(_) | Self::TimedOut { .. } => true,
            Self::Failed(failure) => failure.code.is_retriable(),
            Self::Unexpected { .. } | Self::TooLarge { .. } => false,
        }
    }

    /// Whether it may have taken effect all the same.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Connect(_) | Self::NotSent(_) | Self::TooLarge { .. } => Outcome::Refused,
            Self::Lost(_) | Self::Unexpected { .. } | Self::TimedOut { .. } => Outcome::Unknown,
            Self::Failed(failure) => failure.code.outcome(),
        }
    }

    /// The broker's reason, if it gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Failed(failure) | Self::Connect(ConnectError::Refused { failure, .. }) => Some(failure.code),
            _ => None,
        }
    }
}

/// What went wrong at a partition, which is named once: the broker may have named it already.
pub(super) struct At<'a>(pub(super) &'a TopicPartition, pub(super) &'a RequestError);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(topic_partition, source) = self;
        let (TopicPartition { topic, partition }, text) = (topic_partition, source.to_string());
        let is_named = text.starts_with(&format!("{topic_partition}: "))
            || text.contains(&format!("partition {partition} of topic {topic} "));
        if is_named { f.write_str(&text) } else { write!(f, "{topic_partition}: {text}") }
    }
}

/// What an answer means that is not the expected one.
pub(crate) fn unexpected_response(address: &Arc<str>, request: &'static str, response: Response) -> RequestError {
    match response {
        Response::Failed(failure) => RequestError::Failed(failure),
        _ => RequestError::Unexpected { address: address.clone(), request },
    }
}

/// The only part of an answer to a request that had one part.
pub(crate) fn single_part<T>(
    address: &Arc<str>,
    request: &'static str,
    parts: Vec<Part<T>>,
) -> Result<T, RequestError> {
    match <[Part<T>; 1]>::try_from(parts) {
        Ok([part]) => part.map_err(RequestError::Failed),
        Err(_) => Err(RequestError::Unexpected { address: address.clone(), request }),
    }
}
