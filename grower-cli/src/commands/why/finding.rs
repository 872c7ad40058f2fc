//! One finding about a topic or a group, and how bad it is.

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FindingStatus {
    /// As it should be.
    Fine,
    /// It goes on by itself, or when somebody does their part.
    Waits,
    /// It does not go on until somebody acts.
    Wrong,
}

impl FindingStatus {
    /// For programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Waits => "waits",
            Self::Wrong => "wrong",
        }
    }
}

/// One thing that was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WhyFinding {
    pub(crate) verdict: FindingStatus,
    /// `rainbow/1`, `topic rainbow`, `group g`, `member S1`, `disk`.
    pub(crate) about: String,
    /// In words.
    pub(crate) says: String,
}

impl WhyFinding {
    pub(crate) fn new(verdict: FindingStatus, about: impl Into<String>, says: impl Into<String>) -> Self {
        Self { verdict, about: about.into(), says: says.into() }
    }
}
