//! The settings of a producer and the builder that starts it.

use super::Producer;
use super::accumulator::BatchSettings;
use super::engine::ProducerEngine;
use super::identity::IdentitySource;
use super::memory::BATCH_BYTES_MAX;
use super::on_failure::OnFailure;
use super::partitioner::Partitioner;
use super::sequence_window::WindowSettings;
use crate::backoff;
use crate::cluster::Cluster;
use crate::error::ProduceError;
use crate::retry;
use futures_core::future::BoxFuture;
use grower_protocol::batch::BatchLimits;
use grower_protocol::compression::Codec;
use grower_protocol::ids::ProducerName;
use grower_protocol::message::Acks;
use std::sync::Arc;
use std::time::Duration;

/// The number of batches for which a broker recognises repeats.
const IN_FLIGHT_MAX: u32 = 5;

/// All of a producer's settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProducerSettings {
    pub(super) acks: Acks,
    pub(super) batches: BatchSettings,
    pub(super) window: WindowSettings,
    pub(super) delivery_timeout: Duration,
    pub(super) partitioner: Partitioner,
    pub(super) on_failure: OnFailure,
    pub(super) memory_bytes: usize,
    pub(super) create_topics: bool,
    pub(super) metadata_max_age: Duration,
}

impl ProducerSettings {
    /// Whether an open batch waits for more records although nothing is in flight.
    pub(super) fn lingers(&self) -> bool {
        !self.batches.linger.is_zero()
    }
}

/// Builds a [`Producer`]; see [`crate::Client::producer`].
#[derive(Clone)]
pub struct ProducerBuilder {
    cluster: Arc<Cluster>,
    settings: ProducerSettings,
    identity: Option<String>,
}

impl ProducerBuilder {
    /// The largest decompressed size of a batch that brokers accept, as a multiple of its topic's `max.message.bytes`.
    pub const INFLATION_MAX: usize = BatchLimits::INFLATION_MAX;

    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        let batches =
            BatchSettings { codec: Codec::None, bytes: 1 << 20, records: u32::MAX >> 1, linger: Duration::ZERO };
        let window = WindowSettings {
            codec: Codec::None,
            in_flight_max: IN_FLIGHT_MAX as usize,
            is_named: false,
            retry_wait: |error, failures| retry::wait(Some(error), failures, backoff::random()),
        };
        let settings = ProducerSettings {
            acks: Acks::All,
            batches,
            window,
            delivery_timeout: Duration::from_secs(120),
            partitioner: Partitioner::Default,
            on_failure: OnFailure::Continue,
            memory_bytes: 64 << 20,
            create_topics: false,
            metadata_max_age: Duration::from_secs(30),
        };
        Self { cluster, settings, identity: None }
    }

    /// Sets the durability at which the broker acknowledges records; [`Acks::All`] by default. With [`Acks::None`] a
    /// record counts as acknowledged, without an offset, once the transport has it, and is never sent twice.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.settings.acks = acks;
        self
    }

    /// Sets the compression of batches; none by default.
    pub fn compression(mut self, codec: Codec) -> Self {
        self.settings.batches.codec = codec;
        self.settings.window.codec = codec;
        self
    }

    /// Sets how long a batch that is not full waits for more records; 0 by default. Independently of the linger,
    /// records that arrive while a request for their partition is in flight share a batch. [`Producer::end_lingers`]
    /// ends the linger.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.batches.linger = linger;
        self
    }

    /// Limits the size of a batch, in bytes before compression; 1 MiB by default. A larger record gets a batch of its
    /// own.
    ///
    /// A broker accepts batches of up to the topic's `max.message.bytes` as sent, and of up to 16 times that
    /// decompressed. The producer splits a batch over either limit, sends its records again in order, and makes later
    /// batches of the partition smaller. Only a single record over a limit fails.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.settings.batches.bytes = bytes.min(BATCH_BYTES_MAX);
        self
    }

    /// Limits the number of records in a batch; unlimited by default.
    pub fn batch_records(mut self, records: u32) -> Self {
        self.settings.batches.records = records.clamp(1, u32::MAX >> 1);
        self
    }

    /// Sets the partitioner; by default records with a key go by the key's hash and others are sticky.
    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.settings.partitioner = partitioner;
        self
    }

    /// Sets what happens to the records of a partition behind one that failed; by default they are written
    /// ([`OnFailure::Continue`]).
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.settings.on_failure = on_failure;
        self
    }

    /// Limits the memory of all unacknowledged records, in bytes; 64 MiB by default. At the limit [`Producer::send`]
    /// and [`Producer::enqueue`] wait.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.settings.memory_bytes = bytes;
        self
    }

    /// Limits the time from the call that hands a record in to its acknowledgement, whatever the record waits for;
    /// 120 s by default. A record that was not sent by then is withdrawn.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.settings.delivery_timeout = timeout;
        self
    }

    /// Limits the batches of a partition in flight: 1 to 5, 5 by default. Brokers recognise repeats of the last five.
    pub fn max_in_flight(mut self, batches: u32) -> Self {
        self.settings.window.in_flight_max = batches.clamp(1, IN_FLIGHT_MAX) as usize;
        self
    }

    /// Creates missing topics at their first record, if the broker allows that; off by default.
    pub fn create_topics(mut self, create: bool) -> Self {
        self.settings.create_topics = create;
        self
    }

    /// Sets the interval at which the producer looks for new partitions; 30 s by default.
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.settings.metadata_max_age = age;
        self
    }

    /// Sets a name that identifies the producer over restarts; none by default. [`ProducerBuilder::build`] claims the
    /// name and fences its earlier holders: none of their batches is written from then on, on whatever connection it
    /// waits, and their records fail with [`ProduceError::Fenced`]. [`Producer::last_written`] tells the last record that
    /// they wrote to a partition. A producer with [`Acks::None`] cannot have a name.
    ///
    /// The name has 1 to 249 bytes without control characters. Give each producer that runs at the same time a name of
    /// its own. Broker and command line call a producer with an identity a *named producer*.
    pub fn identity(mut self, name: impl Into<String>) -> Self {
        self.identity = Some(name.into());
        self
    }

    /// Starts the producer. Asks a broker for a producer id, or claims the [`identity`](ProducerBuilder::identity), except
    /// with [`Acks::None`], which sends nothing again.
    pub fn build(self) -> BoxFuture<'static, Result<Producer, ProduceError>> {
        Box::pin(self.assemble()) // This crate compiles it, not each crate that awaits it.
    }

    async fn assemble(mut self) -> Result<Producer, ProduceError> {
        let name = self.identity.map(|name| ProducerName::new(&name)).transpose()?;
        self.settings.window.is_named = name.is_some();
        let identities = match (self.settings.acks, name) {
            (Acks::None, None) => None,
            (Acks::None, Some(_)) => return Err(ProduceError::Settings("with acks none a producer has no identity")),
            (Acks::Leader | Acks::All, name) => {
                let (cluster, deadline) = (self.cluster.clone(), self.cluster.deadline());
                Some(IdentitySource::start(cluster, name, deadline).await.map_err(ProduceError::Start)?)
            }
        };
        Ok(Producer::new(ProducerEngine::start(self.cluster, self.settings, identities)))
    }
}
