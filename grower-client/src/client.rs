//! Connects to a cluster and creates producers, consumers and the admin client.

use crate::admin::Admin;
use crate::cluster::Cluster;
use crate::connection::{Dialer, DialerSettings};
use crate::consumer::ConsumerBuilder;
use crate::deadline::Deadline;
use crate::error::ConnectError;
use crate::events::ClientEvents;
use crate::producer::ProducerBuilder;
use crate::transport::{Tcp, Transport};
use std::sync::Arc;
use std::time::Duration;

/// A client of one cluster. Clones are cheap and share the connections.
///
/// A lost connection reopens automatically, with a backoff of up to one second. It belongs to the tokio runtime of the
/// call that opened it; when that runtime ends, the next call opens another one. The connections close when the last
/// clone and the last producer, consumer and admin of this client are dropped.
#[derive(Clone)]
pub struct Client {
    cluster: Arc<Cluster>,
}

/// The settings of a client; see [`Client::builder`].
pub struct ClientBuilder {
    transport: Arc<dyn Transport>,
    bootstrap: Vec<Arc<str>>,
    settings: DialerSettings,
    wait: Option<Duration>,
}

impl Client {
    /// Connects over TCP. `addresses` is one `host:port` or several, separated by commas; the client uses the first one
    /// that answers.
    pub async fn connect(addresses: impl AsRef<str>) -> Result<Self, ConnectError> {
        let addresses = addresses.as_ref().split(',').map(str::trim).filter(|address| !address.is_empty());
        Self::builder().bootstrap(addresses).connect().await
    }

    /// Creates a builder, for another transport or other settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Creates a builder for a producer.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(self.cluster.clone())
    }

    /// Creates a builder for a consumer.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(self.cluster.clone())
    }

    /// Returns the events of this client's connections from now on, for logs and health checks.
    pub fn events(&self) -> ClientEvents {
        self.cluster.dialer().events.subscribe()
    }

    /// Creates an admin client, which creates, changes and describes topics and groups.
    pub fn admin(&self) -> Admin {
        Admin::new(self.cluster.clone())
    }
}

impl Default for ClientBuilder {
    fn default() -> Self {
        let settings = DialerSettings {
            client_id: env!("CARGO_PKG_NAME").to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            frame_bytes_max: 128 << 20,
        };
        Self { transport: Arc::new(Tcp), bootstrap: Vec::new(), settings, wait: None }
    }
}

impl ClientBuilder {
    /// Sets the transport; TCP by default.
    pub fn transport(mut self, transport: impl Transport + 'static) -> Self {
        self.transport = Arc::new(transport);
        self
    }

    /// Sets the addresses to try first. The first broker that answers names the others. An in-process transport accepts
    /// any address.
    pub fn bootstrap(mut self, addresses: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        self.bootstrap = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// Limits the time to connect, including the handshake; 10 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// Makes [`ClientBuilder::connect`] try all addresses repeatedly until a broker answers, at most this long: a program
    /// may start before its broker. By default it tries each address once.
    pub fn wait_for_broker(mut self, limit: Duration) -> Self {
        self.wait = Some(limit);
        self
    }

    /// Limits the time of a call, with all its lookups, connections, requests and retries, and of each request; 30 s by
    /// default. Calls of a producer have its delivery timeout instead. A connection with a request that is unanswered
    /// for so long is closed.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// Sets the name that the client tells brokers; `grower-client` by default.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.settings.client_id = id.into();
        self
    }

    /// Limits the size of an answer, in bytes; 128 MiB by default.
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.frame_bytes_max = bytes;
        self
    }

    /// Connects to the first address that answers. Fails at once if waiting does not help, for example because the peer
    /// is no Grower broker.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let dialer = Arc::new(Dialer::new(self.transport, self.settings));
        let cluster = Arc::new(Cluster::new(dialer, self.bootstrap)?);
        match self.wait {
            Some(limit) => cluster.wait_for_broker(Deadline::after(limit)).await?,
            None => drop(cluster.any_broker(Deadline::after(Duration::MAX)).await?), // Each dial has its own limit.
        }
        Ok(Client { cluster })
    }
}
