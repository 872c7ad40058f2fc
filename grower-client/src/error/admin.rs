//! Why an admin operation was not done.

use super::{ConnectError, RequestError};
use grower_protocol::ids::NameError;
use grower_protocol::message::{ErrorCode, Failure, Outcome};

/// Why an admin operation failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// A name that cannot be. Nothing was sent.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The exchange with the broker failed, or the broker said no.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl AdminError {
    /// Whether the same operation may succeed later without anybody changing it.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Name(_) => false,
            Self::Request(error) => error.is_retriable(),
        }
    }

    /// Whether it may have been done all the same.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Name(_) => Outcome::Refused,
            Self::Request(error) => error.outcome(),
        }
    }

    /// The broker's reason, if it gave one.
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
