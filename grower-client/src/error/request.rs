//! The error of one request to a broker.

use super::{ConnectError, ConnectionError};
use grower_protocol::message::{ErrorCode, Failure, Outcome, Part, Response};
use std::sync::Arc;
use std::time::Duration;

/// The error of one request to a broker.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The client could not connect, so it sent no request.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// The connection had ended before the request was sent.
    #[error("{0}")]
    NotSent(ConnectionError),
    /// The caller's time limit passed while an earlier request of the same kind was unanswered.
    #[error("not sent within {after:?}: an earlier request is still unanswered")]
    NotSentInTime {
        /// The time limit.
        after: Duration,
    },
    /// The connection ended, or the time limit passed, before the answer came: the request may have been carried out.
    #[error("{0}; the request may have been carried out")]
    Lost(ConnectionError),
    /// The broker refused the request.
    #[error("{0}")]
    Failed(#[from] Failure),
    /// The broker's answer does not belong to the request: a defect of the client or the broker.
    #[error("{address} answered {request} with an unexpected message")]
    Unexpected {
        /// The broker's address.
        address: Arc<str>,
        /// The request.
        request: &'static str,
    },
    /// The caller's time limit passed. Errors in the meantime were retried.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// The time limit.
        after: Duration,
    },
    /// The request is larger than the broker accepts in one frame, or than a message may be.
    #[error("a request of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// The request's size.
        bytes: usize,
        /// The size limit.
        limit: usize,
    },
}

impl RequestError {
    /// Whether the same request may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_retriable(),
            Self::NotSent(_) | Self::NotSentInTime { .. } | Self::Lost(_) | Self::TimedOut { .. } => true,
            Self::Failed(failure) => failure.code.is_retriable(),
            Self::Unexpected { .. } | Self::TooLarge { .. } => false,
        }
    }

    /// Whether the request may have taken effect despite the error.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Connect(_) | Self::NotSent(_) | Self::NotSentInTime { .. } | Self::TooLarge { .. } => {
                Outcome::Refused
            }
            Self::Lost(_) | Self::Unexpected { .. } | Self::TimedOut { .. } => Outcome::Unknown,
            Self::Failed(failure) => failure.code.outcome(),
        }
    }

    /// The broker's error code, if it sent one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Failed(failure) | Self::Connect(ConnectError::Refused { failure, .. }) => Some(failure.code),
            _ => None,
        }
    }
}

/// Returns the error for a response that does not answer the request.
pub(crate) fn unexpected_response(address: &Arc<str>, request: &'static str, response: Response) -> RequestError {
    match response {
        Response::Failed(failure) => RequestError::Failed(failure),
        _ => RequestError::Unexpected { address: address.clone(), request },
    }
}

/// Returns the only part of the answer to a request with one part.
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
