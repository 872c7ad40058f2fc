//! Everything that can be set, checked before anything acts on it.

mod broker;
pub mod topic;

pub use broker::{BrokerConfig, BrokerConfigError, ZeroCopy};
