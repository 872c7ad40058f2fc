//! The way in: connects to a cluster and hands out producers, consumers and the admin.

use crate::admin::Admin;
use crate::cluster::Cluster;
use crate::connection::{Dialer, DialerSettings};
use crate::consumer::ConsumerBuilder;
use crate::error::ConnectError;
use crate::producer::ProducerBuilder;
use crate::transport::{Tcp, Transport};
use std::sync::Arc;
use std::time::Duration;

/// A client of one cluster. Cloning is cheap and shares the connections.
///
/// It reconnects by itself, with waits that grow to a second. Dropping the last clone, and what was made from it,
/// closes the connections.
#[derive(Clone)]
pub struct Client {
    cluster: Arc<Cluster>,
}

/// How a client connects; [`Client::builder`].
pub struct ClientBuilder {
    transport: Arc<dyn Transport>,
    bootstrap: Vec<Arc<str>>,
    settings: DialerSettings,
}

impl Client {
    /// Connects over TCP. `addresses` is one `host:port` or several, separated by commas; the first that answers does.
    pub async fn connect(addresses: impl AsRef<str>) -> Result<Self, ConnectError> {
        let addresses = addresses.as_ref().split(',').map(str::trim).filter(|address| !address.is_empty());
        Self::builder().bootstrap(addresses).connect().await
    }

    /// Connects in another way.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Sends records.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(self.cluster.clone())
    }

    /// Reads records.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(self.cluster.clone())
    }

    /// Creates, changes and looks at topics and groups.
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
        Self { transport: Arc::new(Tcp), bootstrap: Vec::new(), settings }
    }
}

impl ClientBuilder {
    /// How bytes travel; TCP by default.
    pub fn transport(mut self, transport: impl Transport + 'static) -> Self {
        self.transport = Arc::new(transport);
        self
    }

    /// Where to find a first broker; the others it names itself. In process any one address does.
    pub fn bootstrap(mut self, addresses: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        self.bootstrap = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// How long connecting, with the introduction, may take; 10 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// How long a broker may take to answer; 30 s by default. After that the connection is given up and opened again.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// How the client names itself to brokers; `grower-client` by default.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.settings.client_id = id.into();
        self
    }

    /// The longest answer accepted, in bytes; 128 MiB by default.
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.frame_bytes_max = bytes;
        self
    }

    /// Connects to the first address that answers.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let dialer = Arc::new(Dialer::new(self.transport, self.settings));
        let cluster = Arc::new(Cluster::new(dialer, self.bootstrap));
        cluster.any_broker().await?;
        Ok(Client { cluster })
    }
}
