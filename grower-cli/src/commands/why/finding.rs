//! One finding about a topic or a group, and how bad it is.

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FindingStatus {
    /// As it should be.
    Fine,
    /// It resolves by itself, or waits for a member.
    Waits,
    /// It needs an operator.
    Wrong,
}

impl FindingStatus {
    /// The name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Waits => "waits",
            Self::Wrong => "wrong",
        }
    }
}

/// One sentence about one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WhyFinding {
    pub(crate) status: FindingStatus,
    /// `rainbow/1`, `topic rainbow`, `group g`, `member S1`, `disk`.
    pub(crate) about: String,
    /// The sentence.
    pub(crate) says: String,
}

impl WhyFinding {
    pub(crate) fn new(status: FindingStatus, about: impl Into<String>, says: impl Into<String>) -> Self {
        Self { status, about: about.into(), says: says.into() }
    }
}
