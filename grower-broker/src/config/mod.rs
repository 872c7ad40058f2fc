//! Everything that can be set, checked before anything acts on it.

mod broker;
mod limits;
pub mod settings;
pub mod topic;

mod suggest;
mod text;

pub use broker::{BrokerConfig, BrokerConfigError, ZeroCopy};
pub use limits::MetadataLimits;
