//! The facts that checks judge, and a check's result.

use super::{broker, machine};

/// All facts; unknown ones are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct DoctorFacts {
    pub(crate) disk: Option<machine::DiskFacts>,
    pub(crate) limits: machine::SystemLimits,
    pub(crate) broker: broker::BrokerReply,
}

/// How good or bad a fact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CheckLevel {
    Good,
    /// Worth a change.
    Warning,
    /// Data or service are at risk.
    Bad,
}

/// One fact, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DoctorCheck {
    pub(crate) level: CheckLevel,
    pub(crate) about: &'static str,
    pub(crate) found: String,
    /// The advised change.
    pub(crate) advice: Option<&'static str>,
}

impl CheckLevel {
    /// The name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}
