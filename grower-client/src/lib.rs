//! Producer, consumer and admin client of the Grower log broker.
//!
//! ```
//! use grower_client::{Acks, Client, Record, TopicSpec};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let mut config = grower_broker::BrokerConfig::at(dir.path());
//! # (config.listen, config.http) = (Some("127.0.0.1:0".parse()?), None);
//! # let broker = grower_broker::Broker::start(config).await?;
//! # let address = broker.listen_address().ok_or("no address")?.to_string();
//! let client = Client::connect(address).await?; // "127.0.0.1:9092", or several with commas between them
//! client.admin().create_topic("events", TopicSpec::partitions(3)).await?;
//!
//! let producer = client.producer().acks(Acks::All).build().await?;
//! let ack = producer.send(Record::new("events").key("k").value("v").header("h", "x")).await?;
//! println!("{}/{} at {:?}: {:?}", ack.topic, ack.partition, ack.offset, ack.durability);
//!
//! let mut consumer = client.consumer().group("g").subscribe(["events"]).build().await?;
//! while let Some(record) = consumer.next().await {
//!     let record = record?;
//!     println!("{:?} = {:?}", record.key, record.value);
//!     consumer.commit().await?;
//! #   break;
//! }
//! # consumer.close().await?;
//! # broker.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The client promises:
//!
//! - **Every record is written once, in order**, even if it must be sent again: producers are idempotent. An ack names
//!   the offset and the durability ([`Ack`]). An error says whether the record may still be in the log
//!   ([`ProduceError::outcome`]).
//! - **Nothing is dropped silently.** A producer with a full memory makes its callers wait. A consumer verifies every
//!   batch and its base offset, and reports damaged or missing records with their offsets ([`ConsumeError`]).
//! - **Lost connections reopen automatically**, with a backoff of up to one second. Retriable errors are retried; the
//!   errors that reach you need a decision.
//!
//! The [`guide`] covers the rest: batches, failures, groups, time, a log of your own, and five whole programs.
//!
//! The same client also talks to a broker in its own process: see [`transport::in_process`]. The client needs a tokio
//! runtime with I/O and time enabled, and logs through `tracing`.

#[doc = include_str!("../docs/guide.md")]
pub mod guide {
    #[doc = include_str!("../docs/outbox.md")]
    ///
    /// ```no_run
    #[doc = include_str!("../examples/outbox.rs")]
    /// ```
    pub mod outbox {}

    #[doc = include_str!("../docs/worker.md")]
    ///
    /// ```no_run
    #[doc = include_str!("../examples/worker.rs")]
    /// ```
    pub mod worker {}

    #[doc = include_str!("../docs/replay.md")]
    ///
    /// ```no_run
    #[doc = include_str!("../examples/replay.rs")]
    /// ```
    pub mod replay {}

    #[doc = include_str!("../docs/tail.md")]
    ///
    /// ```no_run
    #[doc = include_str!("../examples/tail.rs")]
    /// ```
    pub mod tail {}

    #[doc = include_str!("../docs/service.md")]
    ///
    /// ```no_run
    #[doc = include_str!("../examples/service.rs")]
    /// ```
    pub mod service {}
}

mod acks;
mod admin;
mod backoff;
mod client;
mod cluster;
mod connection;
mod consumer;
mod deadline;
mod error;
mod events;
mod gap;
mod producer;
mod random_name;
mod record;
mod retry;
mod single_flight;
pub mod transport;
mod unanswered_claims;

pub use acks::{AckRange, RecordAcks};
pub use admin::{Admin, TopicSpec};
pub use client::{Client, ClientBuilder};
pub use consumer::{
    AssignedPartition, Consumer, ConsumerBuilder, ConsumerEvent, ConsumerStatistics, OnDamage, OnGap, ReadToEnd,
    RebalanceEvent, Revoking, StartFrom,
};
pub use error::{
    AdminError, AppendAtError, CommitError, ConnectError, ConnectionError, ConsumeError, FailedRange, FlushError,
    NotCommitted, ProduceError, RequestError, SendAllError,
};
pub use events::{ClientEvent, ClientEvents};
pub use gap::{Gap, GapCause};
pub use producer::{
    AppendedAt, Deliveries, Delivery, OnFailure, Partitioner, Producer, ProducerBuilder, ProducerStatistics,
};
pub use record::{Ack, ConsumerRecord, Record, TopicPartition};
pub use transport::Transport;

pub use grower_protocol::batch::Header;
pub use grower_protocol::compression::Codec;
pub use grower_protocol::ids;
pub use grower_protocol::message::descriptions::*;
pub use grower_protocol::message::{
    Acks, BrokerAddress, Durability, ErrorCode, Failure, ListedOffset, MetadataAnswer, OffsetSpec, Outcome,
    PartitionMetadata, TopicMetadata,
};
