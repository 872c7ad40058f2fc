//! The errors of opening and using a connection.

use grower_protocol::message::{Failure, Feature};
use grower_protocol::wire::{FrameError, PrefaceError};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The error of connecting to a broker. No request was sent, so none was carried out.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The list of addresses is empty.
    #[error("no broker address was given")]
    NoAddress,
    /// The transport failed.
    #[error("cannot reach the broker at {address}: {source}")]
    Unreachable {
        /// The broker's address.
        address: Arc<str>,
        /// The transport's error.
        source: Arc<io::Error>,
    },
    /// The broker accepts connections but does not complete the handshake.
    #[error("{address} accepted the connection but did not complete the handshake within {after:?}")]
    Silent {
        /// The broker's address.
        address: Arc<str>,
        /// The timeout.
        after: Duration,
    },
    /// The caller's time limit passed before the connection was open.
    #[error("cannot connect to {address} within {after:?}")]
    TimedOut {
        /// The broker's address.
        address: Arc<str>,
        /// The time limit.
        after: Duration,
    },
    /// The task that connects ended early: the transport panicked, or the task's runtime ended.
    #[error("connecting to {address} failed: the transport panicked, or its runtime ended")]
    Aborted {
        /// The broker's address.
        address: Arc<str>,
    },
    /// The peer is no Grower broker.
    #[error("{address} does not speak Grower's protocol: is this a broker's data port?")]
    NotGrower {
        /// The broker's address.
        address: Arc<str>,
    },
    /// Client and broker have no protocol version in common.
    #[error(
        "the broker at {address} speaks protocol versions {theirs}, this client speaks {ours}: upgrade the {}",
        if *.upgrade_client { "client" } else { "broker" }
    )]
    NoCommonVersion {
        /// The broker's address.
        address: Arc<str>,
        /// The client's range.
        ours: String,
        /// The broker's range.
        theirs: String,
        /// Whether the client is older than the broker.
        upgrade_client: bool,
    },
    /// The broker lacks a required feature.
    #[error("the broker at {address} ({version}) does not support {feature:?}: upgrade the broker")]
    MissingFeature {
        /// The broker's address.
        address: Arc<str>,
        /// The broker's software version.
        version: String,
        /// The missing feature.
        feature: String,
    },
    /// The broker refused the handshake.
    #[error("{address} refused the connection: {failure}")]
    Refused {
        /// The broker's address.
        address: Arc<str>,
        /// The broker's reason.
        failure: Failure,
    },
    /// The connection ended during the handshake.
    #[error("{0}")]
    Lost(#[from] ConnectionError),
    /// The operating system gave no random bytes, so the client has no unique name.
    #[error("the operating system gave no random bytes: {source}")]
    NoRandomness {
        /// The operating system's error.
        source: Arc<io::Error>,
    },
    /// Every address failed.
    #[error("no broker can be reached: {}", join(.0))]
    All(Vec<ConnectError>),
}

/// The reason for which an open connection ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The broker closed it.
    #[error("{address} closed the connection")]
    Closed {
        /// The broker's address.
        address: Arc<str>,
    },
    /// Reading or writing failed.
    #[error("the connection to {address} broke: {source}")]
    Io {
        /// The broker's address.
        address: Arc<str>,
        /// The transport's error.
        source: Arc<io::Error>,
    },
    /// The broker sent bytes that are no frame.
    #[error("{address} sent an unreadable frame: {source}")]
    Frame {
        /// The broker's address.
        address: Arc<str>,
        /// The defect.
        source: FrameError,
    },
    /// The broker sent a frame that holds no message.
    #[error("{address} sent an unreadable message: {reason}")]
    Message {
        /// The broker's address.
        address: Arc<str>,
        /// The defect.
        reason: String,
    },
    /// The broker answered a request that was never sent.
    #[error("{address} answered request {correlation}, which was never sent")]
    UnexpectedAnswer {
        /// The broker's address.
        address: Arc<str>,
        /// The correlation id of the answer.
        correlation: u32,
    },
    /// A request stayed unanswered, so the client closed the connection.
    #[error("{address} did not answer within {after:?}")]
    TimedOut {
        /// The broker's address.
        address: Arc<str>,
        /// The timeout.
        after: Duration,
    },
}

impl ConnectError {
    /// Whether connecting may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } | Self::TimedOut { .. } | Self::Lost(_) => true,
            Self::Refused { failure, .. } => failure.code.is_retriable(),
            Self::All(errors) => errors.iter().any(Self::is_retriable),
            Self::NoAddress
            | Self::Aborted { .. }
            | Self::NotGrower { .. }
            | Self::NoCommonVersion { .. }
            | Self::MissingFeature { .. }
            | Self::NoRandomness { .. } => false,
        }
    }

    pub(crate) fn no_randomness(source: io::Error) -> Self {
        Self::NoRandomness { source: Arc::new(source) }
    }

    pub(crate) fn preface(address: &Arc<str>, error: PrefaceError) -> Self {
        let address = address.clone();
        match error {
            PrefaceError::NotGrower => Self::NotGrower { address },
            PrefaceError::NoCommonVersion { ours, theirs, we_are_older } => {
                Self::NoCommonVersion { address, ours, theirs, upgrade_client: we_are_older }
            }
        }
    }

    pub(crate) fn missing(address: &Arc<str>, version: &str, feature: &Feature) -> Self {
        Self::MissingFeature { address: address.clone(), version: version.to_owned(), feature: feature.0.clone() }
    }
}

impl ConnectionError {
    pub(crate) fn io(address: &Arc<str>, source: io::Error) -> Self {
        Self::Io { address: address.clone(), source: Arc::new(source) }
    }
}

fn join(errors: &[ConnectError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use grower_protocol::wire::Preface;

    #[test]
    fn the_version_error_says_which_side_must_upgrade() {
        let says = |theirs| {
            ConnectError::preface(&"b:1".into(), Preface { highest: 3, lowest: 2 }.agree(theirs).unwrap_err())
                .to_string()
        };
        insta::assert_snapshot!(says(Preface { highest: 1, lowest: 1 }), @"the broker at b:1 speaks protocol versions 1..=1, this client speaks 2..=3: upgrade the broker");
        insta::assert_snapshot!(says(Preface { highest: 9, lowest: 5 }), @"the broker at b:1 speaks protocol versions 5..=9, this client speaks 2..=3: upgrade the client");
    }
}
