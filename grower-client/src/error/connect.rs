//! Why there is no connection, or none any more.

use grower_protocol::message::{Failure, Feature};
use grower_protocol::wire::{FrameError, PrefaceError};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why a broker could not be reached. Nothing was asked of it, so nothing was done.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The list of addresses is empty.
    #[error("no broker address was given")]
    NoAddress,
    /// The transport failed.
    #[error("cannot reach the broker at {address}: {source}")]
    Unreachable {
        /// Where.
        address: Arc<str>,
        /// What the transport said.
        source: Arc<io::Error>,
    },
    /// It accepts connections but does not introduce itself.
    #[error("{address} accepted the connection but did not introduce itself within {after:?}")]
    Silent {
        /// Where.
        address: Arc<str>,
        /// How long was waited.
        after: Duration,
    },
    /// Not a Grower broker.
    #[error("{address} does not speak Grower's protocol: is this a broker's data port?")]
    NotGrower {
        /// Where.
        address: Arc<str>,
    },
    /// Client and broker have no protocol version in common.
    #[error(
        "the broker at {address} speaks protocol versions {theirs}, this client speaks {ours}: upgrade the {}",
        if *.upgrade_client { "client" } else { "broker" }
    )]
    NoCommonVersion {
        /// Where.
        address: Arc<str>,
        /// The client's range.
        ours: String,
        /// The broker's range.
        theirs: String,
        /// Whether the client is the older one.
        upgrade_client: bool,
    },
    /// The broker cannot do something that is needed here.
    #[error("the broker at {address} ({version}) cannot do {feature:?}: upgrade the broker")]
    MissingFeature {
        /// Where.
        address: Arc<str>,
        /// The broker's software version.
        version: String,
        /// What it lacks.
        feature: String,
    },
    /// The broker refused the introduction.
    #[error("{address} refused the connection: {failure}")]
    Refused {
        /// Where.
        address: Arc<str>,
        /// Its reason.
        failure: Failure,
    },
    /// The connection ended during the introduction.
    #[error("{0}")]
    Lost(#[from] ConnectionError),
    /// Every address failed.
    #[error("no broker can be reached: {}", join(.0))]
    All(Vec<ConnectError>),
}

/// Why a connection that was open is not any more.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The broker closed it.
    #[error("{address} closed the connection")]
    Closed {
        /// Where.
        address: Arc<str>,
    },
    /// Reading or writing failed.
    #[error("the connection to {address} broke: {source}")]
    Io {
        /// Where.
        address: Arc<str>,
        /// What the transport said.
        source: Arc<io::Error>,
    },
    /// Bytes that are not a frame.
    #[error("{address} sent an unreadable frame: {source}")]
    Frame {
        /// Where.
        address: Arc<str>,
        /// What was wrong.
        source: FrameError,
    },
    /// A frame that holds no message.
    #[error("{address} sent an unreadable message: {reason}")]
    Message {
        /// Where.
        address: Arc<str>,
        /// What was wrong.
        reason: String,
    },
    /// An answer to nothing that was asked.
    #[error("{address} answered request {correlation}, which was never asked")]
    Unasked {
        /// Where.
        address: Arc<str>,
        /// The number in the answer.
        correlation: u32,
    },
    /// A request stayed unanswered, so the connection was given up.
    #[error("{address} did not answer within {after:?}")]
    TimedOut {
        /// Where.
        address: Arc<str>,
        /// How long was waited.
        after: Duration,
    },
}

impl ConnectError {
    /// Whether trying again later may help without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Lost(_) => true,
            Self::Refused { failure, .. } => failure.code.is_retriable(),
            Self::All(errors) => errors.iter().any(Self::is_retriable),
            Self::NoAddress | Self::NotGrower { .. } | Self::NoCommonVersion { .. } | Self::MissingFeature { .. } => {
                false
            }
        }
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
