//! Producer, consumer and admin client of the Grower log broker.

mod admin;
mod backoff;
mod client;
mod cluster;
mod connection;
mod consumer;
mod error;
mod producer;
mod record;
pub mod transport;

pub use admin::{Admin, TopicSpec};
pub use client::{Client, ClientBuilder};
pub use consumer::{Consumer, ConsumerBuilder, OnDamage, RebalanceEvent, StartFrom};
pub use error::{AdminError, ConnectError, ConnectionError, ConsumeError, ProduceError, RequestError};
pub use producer::{Delivery, Partitioner, Producer, ProducerBuilder};
pub use record::{Ack, ConsumerRecord, Record, TopicPartition};
pub use transport::Transport;

pub use grower_protocol::batch::Header;
pub use grower_protocol::compression::Codec;
pub use grower_protocol::ids;
pub use grower_protocol::message::{
    Acks, BrokerAddress, CommittedOffset, ConfigEntry, ConfigSource, Durability, ErrorCode, Failure, GroupDescription,
    GroupState, GroupSummary, ListedOffset, MemberDescription, MetadataAnswer, OffsetSpec, Outcome,
    PartitionDescription, PartitionMetadata, SegmentDescription, TopicDescription, TopicMetadata, TopicPartitions,
};
