//! Settings of brokers and configs of topics, checked before use.

mod broker;
mod limits;
pub mod settings;
pub mod topic;

mod suggest;
mod text;

pub use broker::{BrokerConfig, BrokerConfigError, ZeroCopy};
pub use limits::{MetadataLimits, ProducerLimits};
