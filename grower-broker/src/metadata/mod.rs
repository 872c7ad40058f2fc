//! What the cluster knows of itself: brokers, topics, partitions, configs, producer ids.
//!
//! All of it is one state machine, the [`Image`]. A wish is checked against the image and becomes a [`Command`]
//! (`admission`); a [`MetadataStore`] makes the command durable, applies it and hands out the new image. One
//! node is a cluster of one on the same path.

mod admission;
mod apply;
mod check;
mod command;
mod floors;
mod identity;
mod image;
mod log_store;
mod mem;
mod refusal;
mod snapshot;
mod store;
mod topic_table;
mod uuid;
pub(crate) mod whole_file;

pub use admission::Limits;
pub use apply::Applied;
pub(crate) use check::check_files;
pub use command::Command;
pub(crate) use floors::{begin_above, producer_id_floor};
pub(crate) use identity::FILE as META;
pub use identity::{Identity, IdentityError};
pub use image::{Broker, DeletedTopic, Image, Partition, Topic};
pub(crate) use log_store::{DIR, SNAPSHOT, snapshot_path};
pub use log_store::{LogMetadataStore, MetadataOpenError};
pub use mem::MemMetadataStore;
pub use refusal::Refusal;
pub use snapshot::SnapshotError;
pub use store::{MetadataStore, ProposeError};
pub use uuid::{Uuid, UuidError};

pub mod contract;

#[cfg(test)]
mod tests;
