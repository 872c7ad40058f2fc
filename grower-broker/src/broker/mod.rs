//! The broker as a library: start it on a directory, connect in process or over TCP, stop it.

mod data_directory;
mod limits;
mod start_error;

pub use start_error::StartError;

use crate::api::Api;
use crate::background::{self, Tasks};
use crate::backup::Backups;
use crate::clock::{BrokerClock, Clock, SystemClock};
use crate::config::BrokerConfig;
use crate::config::settings::{BrokerSettings, LiveSettings, SetLogLevel};
use crate::descriptors::HttpDescriptors;
use crate::disk_reserve::DiskReserve;
use crate::group::Groups;
use crate::health::Health;
use crate::http::{Http, Phase, ServerNames, Status};
use crate::jobs;
use crate::listener::{ConnectionLimits, ConnectionShare, Listener, Stream, run, serve};
use crate::logs::{DiskLogs, Logs};
use crate::memory::{CONNECTION_BYTES, Memory};
use crate::metadata::{Command, MetadataStore, NodeIdentity};
use crate::metrics::Metrics;
use crate::partition::SyncPoolOwner;
use crate::rates::Rates;
use crate::scrape::ScrapedMetrics;
use crate::stall_watchdog::StallWatchdog;
use crate::state::{BrokerState, Node};
use crate::topic::{IndexKind, Topics};
use data_directory::DataDirectory;
use futures_util::future::BoxFuture;
use grower_storage::disk::{Disk, FileDisk};
use grower_storage::log::ChangeError;
use limits::{connection_limits, files_reserve};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::DuplexStream;
use tokio_util::sync::CancellationToken;

/// A running broker. Stop it with [`Broker::stop`]; dropped, it behaves as if it had crashed, which loses nothing
/// that was acknowledged.
pub struct Broker {
    api: Arc<Api>,
    limits: Arc<ConnectionLimits>,
    tasks: Tasks,
    stop: CancellationToken,
    listen: Option<SocketAddr>,
    http: Option<Http>,
    status: Arc<Status>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The parts of a broker to start. Parts that are not given are the real ones.
pub struct BrokerBuilder {
    settings: BrokerSettings,
    set_log_level: Option<SetLogLevel>,
    disk: Option<Arc<dyn Disk>>,
    logs: Option<Arc<dyn Logs>>,
    metadata: Option<Arc<dyn MetadataStore>>,
    clock: Arc<dyn Clock>,
    index: IndexKind,
}

impl Broker {
    /// Starts a broker on its data directory, recovering whatever a crash left.
    pub fn start(config: BrokerConfig) -> BoxFuture<'static, Result<Self, StartError>> {
        Self::builder(config).start()
    }

    /// Starts with other parts: a disk in memory, logs in memory, a clock of one's own.
    pub fn builder(config: BrokerConfig) -> BrokerBuilder {
        BrokerBuilder {
            settings: BrokerSettings::of(config),
            set_log_level: None,
            disk: None,
            logs: None,
            metadata: None,
            clock: Arc::new(SystemClock),
            index: IndexKind::default(),
        }
    }

    /// Opens a connection inside the process; it speaks the same protocol as a socket.
    pub fn connect(&self) -> DuplexStream {
        self.connector()()
    }

    /// Returns [`Broker::connect`] as a closure that a client can keep. Its connections are closed at once after the
    /// broker has stopped.
    pub fn connector(&self) -> impl Fn() -> DuplexStream + Clone + Send + Sync + 'static {
        // Weak: a client that outlives the broker must not keep its data directory locked.
        let (api, limits) = (Arc::downgrade(&self.api), self.limits.clone());
        let (stop, tasks) = (self.stop.clone(), self.tasks.clone());
        move || open_pipe(api.upgrade(), &limits, &tasks, &stop)
    }

    /// Where it listens for clients.
    pub fn listen_address(&self) -> Option<SocketAddr> {
        self.listen
    }

    /// Where it serves HTTP.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(Http::address)
    }

    /// When its newest backup began, once that is known.
    #[cfg(test)]
    pub(crate) fn newest_backup(&self) -> Option<grower_protocol::ids::Timestamp> {
        self.api.state().backups.newest()
    }

    /// Returns with the reason once the broker has failed for good: a sync failed, and nothing is acknowledged any
    /// more. The process should end then.
    pub async fn failed(&self) -> String {
        self.api.state().health.failed().await
    }

    /// Stops: no new connections, requests in work are answered, everything is made durable.
    pub fn stop(self) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(self.end())
    }

    async fn end(self) -> Result<(), String> {
        self.status.enter(Phase::Stopping);
        self.stop.cancel();
        self.tasks.end().await;
        let state = self.api.state().clone();
        let closed = background::blocking(move || close(&state));
        closed.await.map_err(|error| error.to_string())?
    }
}

/// Bytes that a pipe holds in each direction.
const PIPE: usize = 256 * 1024;

/// Opens a connection inside the process: closed already if the broker has stopped.
fn open_pipe(
    api: Option<Arc<Api>>,
    limits: &Arc<ConnectionLimits>,
    tasks: &Tasks,
    stop: &CancellationToken,
) -> DuplexStream {
    let (near, far) = tokio::io::duplex(PIPE);
    if let Some(api) = api {
        let (limits, stop) = (limits.clone(), stop.clone());
        let share = ConnectionShare { memory: limits.memory.take(CONNECTION_BYTES), slot: None };
        tasks.spawn("a connection", async move { run(Stream::InProcess(far), share, api, limits, stop).await });
    }
    near
}

/// Makes everything durable for a clean stop.
fn close(state: &BrokerState) -> Result<(), String> {
    state.sync_pool.stop();
    if let Some(reason) = state.health.failure() {
        return Err(reason);
    }
    let (now, mut failure) = (state.clock.steady(), None);
    for partition in state.topics.all() {
        let Err(error) = partition.checkpoint(now) else { continue };
        let (topic, number) = (&partition.topic_name, partition.partition);
        tracing::warn!(%topic, partition = %number, %error, "cannot write the checkpoint of a partition");
        // A full disk keeps it from being written down, not from being durable: the next start looks for it, no more.
        let only_full = matches!(&error, ChangeError::Disk(error) if error.is_full());
        if !only_full || !partition.is_durable(partition.span().log_end) {
            failure.get_or_insert(error.to_string());
        }
    }
    failure.map_or(Ok(()), Err)
}

impl BrokerBuilder {
    /// Takes settings that know where they come from, in place of the config.
    pub fn settings(mut self, settings: BrokerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Lets clients change the log filter of this process: `set` gets a filter in the syntax of `tracing`.
    pub fn log_level(mut self, set: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.set_log_level = Some(Arc::new(set));
        self
    }

    /// Keeps all files on this disk.
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = Some(disk);
        self
    }

    /// Keeps the partitions' logs there.
    pub fn logs(mut self, logs: Arc<dyn Logs>) -> Self {
        self.logs = Some(logs);
        self
    }

    /// Keeps the metadata there.
    pub fn metadata(mut self, metadata: Arc<dyn MetadataStore>) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Tells the time by this clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Indexes segments in this way.
    pub fn index(mut self, index: IndexKind) -> Self {
        self.index = index;
        self
    }

    /// Starts the broker. The future is boxed, so that this crate compiles its code once: each crate that awaits a
    /// plain future compiles all that it runs again.
    pub fn start(self) -> BoxFuture<'static, Result<Broker, StartError>> {
        Box::pin(self.open())
    }

    async fn open(self) -> Result<Broker, StartError> {
        let Self { settings, set_log_level, disk, logs, metadata, clock, index } = self;
        let config = settings.broker.clone();
        config.check()?;
        let health = Health::new(Metrics::new(clock.clone()));
        let backups = Arc::new(Backups::new(config.data_dir.clone(), config.backup_dir.clone(), disk.clone()));
        let on_files = disk.is_none();
        let disk = disk.unwrap_or_else(|| Arc::new(FileDisk::new(&config.data_dir)));
        let opened = DataDirectory::open(&config, disk, metadata, &clock, &health)?;
        let DataDirectory { disk, reserve, lock, identity, metadata } = opened;
        let listener = bind(config.listen).await?;
        let status = Arc::new(Status::starting(health.clone()));
        let http_descriptors = Arc::new(HttpDescriptors::reserve(config.http.is_some()));
        let http = start_http(&config, &status, http_descriptors.clone(), clock.clone(), &health)?;
        let settings = Arc::new(LiveSettings::new(settings, set_log_level));
        settings.take(|| metadata.image().settings(identity.node));
        let clock = BrokerClock::new(clock);
        let memory = Memory::new(usize::try_from(config.memory).unwrap_or(usize::MAX));
        let limits = Arc::new(connection_limits(&config, memory.clone(), &*disk, http_descriptors));
        let node = register(&*metadata, &identity, &config, (listener.as_ref(), limits.frame_bytes_max)).await?;
        let logs = match logs {
            Some(logs) => logs,
            None => Arc::new(DiskLogs::new(disk.clone(), config.data_dir.clone())?),
        };
        let topics = Topics::new(metadata, logs, clock.clone(), index, memory.clone(), health.clone());
        let topics = Arc::new(topics);
        topics.open_all().await.map_err(|error| StartError::Logs(error.to_string()))?;
        if on_files {
            limits.open_files.reserve(files_reserve());
        }

        let stop = CancellationToken::new();
        let tasks = Tasks::new(health.clone());
        let stall_watchdog = Arc::new(StallWatchdog::start(&health).map_err(StartError::Thread)?);
        let sync_pool = start_sync_pool(disk.clone(), &clock, &health, &settings, &stall_watchdog);
        let groups = Arc::new(Groups::load(topics.clone(), sync_pool.clone(), clock.clone(), &memory)?);
        let state = Arc::new(BrokerState {
            node,
            topics,
            groups,
            sync_pool,
            stall_watchdog,
            disk_reserve: DiskReserve::new(disk, clock.clone(), health.clone(), settings.clone()),
            rates: Rates::new(clock.monotonic()),
            backups,
            memory,
            health,
            clock,
            settings,
            stop,
            tasks,
            _lock: lock,
        });
        state.health.metrics().collect_from(ScrapedMetrics(Arc::downgrade(&state)));
        state.backups.search_earlier(identity, &state.health, state.stop.clone()).map_err(StartError::Thread)?;
        jobs::start(&state, reserve).await;
        let (stop, tasks) = (state.stop.clone(), state.tasks.clone());
        let api = Arc::new(Api::new(state.clone()));
        let listen = listener.as_ref().map(|listener| listener.address);
        if let Some(listener) = listener {
            let serving = serve(listener, api.clone(), limits.clone(), tasks.clone(), stop.clone());
            tasks.spawn_until(&stop, "the listener", serving);
        }
        status.enter(Phase::Serving(state));
        Ok(Broker { api, limits, tasks, stop, listen, http, status })
    }
}

fn start_sync_pool(
    disk: Arc<dyn Disk>,
    clock: &Arc<BrokerClock>,
    health: &Health,
    settings: &Arc<LiveSettings>,
    stall_watchdog: &Arc<StallWatchdog>,
) -> Arc<SyncPoolOwner> {
    let metrics = health.metrics().clone();
    let synced = move |took| metrics.synced(took);
    let (clock, settings) = (clock.clone(), settings.clone());
    Arc::new(SyncPoolOwner::start(disk, clock, health.clone(), synced, settings, stall_watchdog.clone()))
}

async fn bind(address: Option<SocketAddr>) -> Result<Option<Listener>, StartError> {
    let Some(address) = address else { return Ok(None) };
    Listener::bind(address).await.map(Some).map_err(|source| StartError::Listen { address, source })
}

/// Starts HTTP, which reports health while logs are recovered.
fn start_http(
    config: &BrokerConfig,
    status: &Arc<Status>,
    descriptors: Arc<HttpDescriptors>,
    clock: Arc<dyn Clock>,
    health: &Health,
) -> Result<Option<Http>, StartError> {
    let Some(address) = config.http else { return Ok(None) };
    let names = ServerNames::of(config.advertise.as_deref());
    Http::start(address, names, status.clone(), descriptors, clock, health)
        .map(Some)
        .map_err(|source| StartError::Listen { address, source })
}

/// Registers this start in the metadata. The first one gives the cluster its identity, and each begins a new leader
/// epoch in every partition before any append.
async fn register(
    metadata: &dyn MetadataStore,
    identity: &NodeIdentity,
    config: &BrokerConfig,
    (listener, frame_bytes_max): (Option<&Listener>, usize),
) -> Result<Node, StartError> {
    let bound = listener.map(|listener| listener.address.to_string());
    let address = config.advertise.clone().or(bound).unwrap_or_default();
    if metadata.image().cluster().is_none() {
        metadata.propose(Command::FormatCluster { cluster: identity.cluster }).await?;
    }
    let NodeIdentity { node, uuid, cluster } = *identity;
    metadata.propose(Command::RegisterBroker { node, uuid, address: address.clone() }).await?;
    Ok(Node { id: node, cluster_id: cluster.to_string(), address, frame_bytes_max })
}
