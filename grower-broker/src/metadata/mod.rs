//! What the cluster knows of itself: brokers, topics, partitions, configs, producer ids.
//!
//! All of it is one state machine, the [`Image`]. A wish is checked against the image and becomes a [`Command`]
//! (`admission`); a [`MetadataStore`] makes the command durable, applies it and hands out the new image. One
//! node is a cluster of one on the same path.

mod admission;
mod apply;
mod command;
mod image;
mod mem;
mod refusal;
mod store;
mod uuid;

pub use admission::Limits;
pub use apply::Applied;
pub use command::Command;
pub use image::{Broker, DeletedTopic, Image, Partition, Topic};
pub use mem::MemMetadataStore;
pub use refusal::Refusal;
pub use store::{MetadataStore, ProposeError};
pub use uuid::{Uuid, UuidError};

pub mod contract;

#[cfg(test)]
mod tests;
