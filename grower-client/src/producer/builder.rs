//! How a producer shall behave.

use super::Producer;
use super::accumulator::BatchSettings;
use super::engine::{self, ProducerEngine};
use super::partitioner::Partitioner;
use super::sequence_window::WindowSettings;
use crate::backoff;
use crate::cluster::Cluster;
use crate::error::ProduceError;
use grower_protocol::batch::BatchLimits;
use grower_protocol::compression::Codec;
use grower_protocol::message::Acks;
use std::sync::Arc;
use std::time::Duration;

/// How far a broker remembers a producer's batches.
const IN_FLIGHT_MAX: u32 = 5;

/// All of a producer's settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProducerSettings {
    pub(super) acks: Acks,
    pub(super) batches: BatchSettings,
    pub(super) window: WindowSettings,
    pub(super) partitioner: Partitioner,
    pub(super) memory_bytes: usize,
    pub(super) create_topics: bool,
    pub(super) metadata_max_age: Duration,
}

impl ProducerSettings {
    /// Whether batches wait for more although nothing is on its way.
    pub(super) fn lingers(&self) -> bool {
        !self.batches.linger.is_zero()
    }
}

/// Makes a [`Producer`]; [`crate::Client::producer`].
#[derive(Clone)]
pub struct ProducerBuilder {
    cluster: Arc<Cluster>,
    settings: ProducerSettings,
}

impl ProducerBuilder {
    /// How far brokers let a batch grow when it is decompressed, as a multiple of its topic's `max.message.bytes`.
    pub const INFLATION_MAX: usize = BatchLimits::INFLATION_MAX;

    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        let batches =
            BatchSettings { codec: Codec::None, bytes: 1 << 20, records: u32::MAX >> 1, linger: Duration::ZERO };
        let window = WindowSettings {
            codec: Codec::None,
            in_flight_max: IN_FLIGHT_MAX as usize,
            delivery_timeout: Duration::from_secs(120),
            backoff: backoff::jittered,
        };
        let settings = ProducerSettings {
            acks: Acks::All,
            batches,
            window,
            partitioner: Partitioner::Default,
            memory_bytes: 64 << 20,
            create_topics: false,
            metadata_max_age: Duration::from_secs(30),
        };
        Self { cluster, settings }
    }

    /// When records count as acknowledged; [`Acks::All`] by default. With [`Acks::None`] a record is acknowledged, without
    /// an offset, once it was handed to the transport, and is never sent twice.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.settings.acks = acks;
        self
    }

    /// How batches are compressed; not at all by default.
    pub fn compression(mut self, codec: Codec) -> Self {
        self.settings.batches.codec = codec;
        self.settings.window.codec = codec;
        self
    }

    /// How long a batch that is not full waits for more records; 0 by default. Whatever this says, records that come while
    /// a request for their partition is on its way make one batch. [`Producer::hurry`] ends the wait.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.batches.linger = linger;
        self
    }

    /// When a batch is full, in bytes before compression; 1 MiB by default. A larger record makes a batch of its own.
    ///
    /// A broker takes batches of the topic's `max.message.bytes` as they are sent, and of 16 times that once they are
    /// decompressed. A batch over either limit is split, its records are sent again in order, and later batches of the
    /// partition are made smaller; only a record that is too large alone fails.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.settings.batches.bytes = bytes;
        self
    }

    /// When a batch is full, in records; no limit by default.
    pub fn batch_records(mut self, records: u32) -> Self {
        self.settings.batches.records = records.clamp(1, u32::MAX >> 1);
        self
    }

    /// How partitions are chosen; by key if there is one, else sticky.
    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.settings.partitioner = partitioner;
        self
    }

    /// How much all records that are not acknowledged yet may take, in bytes; 64 MiB by default. Beyond that
    /// [`Producer::send`] and [`Producer::enqueue`] wait.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.settings.memory_bytes = bytes;
        self
    }

    /// How long a record may take from being handed in to being acknowledged; 120 s by default.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.settings.window.delivery_timeout = timeout;
        self
    }

    /// How many batches of a partition may be on their way at once: 1 to 5, 5 by default. Brokers remember the last five.
    pub fn max_in_flight(mut self, batches: u32) -> Self {
        self.settings.window.in_flight_max = batches.clamp(1, IN_FLIGHT_MAX) as usize;
        self
    }

    /// Whether topics that do not exist are created when first written to, if the broker allows that; off by default.
    pub fn create_topics(mut self, create: bool) -> Self {
        self.settings.create_topics = create;
        self
    }

    /// After how long the producer looks for new partitions; 30 s by default.
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.settings.metadata_max_age = age;
        self
    }

    /// Gets a producer id and starts. Without answers (acks `none`) nothing can be sent again, so no id is needed.
    pub async fn build(self) -> Result<Producer, ProduceError> {
        let identity = match self.settings.acks {
            Acks::None => None,
            Acks::Leader | Acks::All => {
                let connection = self.cluster.any_broker().await.map_err(|error| ProduceError::Start(error.into()))?;
                connection.require("idempotence").map_err(|error| ProduceError::Start(error.into()))?;
                Some(engine::identity(&self.cluster).await.map_err(ProduceError::Start)?)
            }
        };
        Ok(Producer::new(ProducerEngine::start(self.cluster, self.settings, identity)))
    }
}
