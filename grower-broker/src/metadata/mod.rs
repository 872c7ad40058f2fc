//! Metadata of the cluster: brokers, topics, partitions, configs, producer ids and names.
//!
//! The [`Image`] is one state machine. A request is checked against the image and becomes a [`Command`]
//! (`image/admission`). A [`MetadataStore`] makes the command durable, applies it and publishes the new image. One
//! node is a cluster of one on the same path.

mod check;
mod identity;
mod image;
mod log_store;
mod mem;
mod store;
mod uuid;
pub(crate) mod whole_file;

pub(crate) use check::check_files;
pub(crate) use identity::FILE as META;
pub use identity::{IdentityError, NodeIdentity};
pub use image::{
    Applied, BrokerRegistration, Command, DeletedTopic, FORMER_HOLDERS_MAX, FORMER_IDS_MAX, Image, MetadataRefusal,
    NamedProducer, PartitionRegistration, ProducerClaim, ProducerRefusal, SnapshotError, Topic,
};
pub(crate) use image::{minimum_named_id, minimum_producer_id, raise_minimum_ids};
pub(crate) use log_store::{DIR, SNAPSHOT, snapshot_path};
pub use log_store::{LogMetadataStore, MetadataOpenError};
pub use mem::MemMetadataStore;
pub use store::{MetadataStore, ProposeError};
pub use uuid::{Uuid, UuidError};

pub mod contract;
