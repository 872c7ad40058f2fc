//! The errors of admin operations.

use super::{ConnectError, RequestError};
use grower_protocol::ids::NameError;
use grower_protocol::message::{ErrorCode, Failure, Outcome};

/// The error of an admin operation.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// A name is invalid. No request was sent.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The request failed, or the broker refused it.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl AdminError {
    /// Whether the same operation may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Name(_) => false,
            Self::Request(error) => error.is_retriable(),
        }
    }

    /// Whether the operation may have taken effect despite the error.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Name(_) => Outcome::Refused,
            Self::Request(error) => error.outcome(),
        }
    }

    /// The broker's error code, if it sent one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Name(_) => None,
            Self::Request(error) => error.code(),
        }
    }
}

impl From<ConnectError> for AdminError {
    fn from(error: ConnectError) -> Self {
        Self::Request(error.into())
    }
}

impl From<Failure> for AdminError {
    fn from(failure: Failure) -> Self {
        Self::Request(failure.into())
    }
}
