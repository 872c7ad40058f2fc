//! The facts that checks judge, and a check's result.

use super::{broker, machine};

/// All that was found out; what could not be is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct DoctorFacts {
    pub(crate) disk: Option<machine::DiskFacts>,
    pub(crate) limits: machine::SystemLimits,
    pub(crate) broker: broker::BrokerReply,
}

/// What a fact means.
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
    /// What to change.
    pub(crate) advice: Option<&'static str>,
}

impl CheckLevel {
    /// For programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}
