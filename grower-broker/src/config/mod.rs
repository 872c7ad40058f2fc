//! Everything that can be set, checked before anything acts on it.

pub mod topic;
