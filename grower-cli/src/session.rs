//! The connection of one command: to a running broker, or to one started in this process.

use crate::options::{GlobalOptions, OutputForm};
use crate::output::stderr_line;
use anyhow::{Context, anyhow, bail};
use futures_util::FutureExt;
use grower_broker::{Broker, BrokerConfig, offline};
use grower_client::ids::Timestamp;
use grower_client::{Client, ConnectError, transport};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// A connection, and the output form.
pub(crate) struct Session {
    /// The connection.
    pub(crate) client: Client,
    /// The output form.
    pub(crate) output: OutputForm,
    embedded: Option<Broker>,
}

/// A wrong `GROWER_BROKER` is wrong usage.
#[derive(Debug, thiserror::Error)]
#[error("{0}; or name a broker with --broker")]
pub(crate) struct WrongVariable(String);

impl Session {
    /// Connects, or starts the embedded broker on an existing data directory.
    pub(crate) async fn open(options: &GlobalOptions) -> anyhow::Result<Self> {
        let is_missing = |directory: &&PathBuf| !offline::is_data_directory(directory);
        if let Some(missing) = options.embedded.as_ref().filter(is_missing) {
            let directory = missing.display();
            bail!(
                "there is no data directory at {directory}; `grower-cli --embedded {directory} topic create TOPIC` creates one"
            );
        }
        Self::open_or_create(options).await
    }

    /// Connects, or starts the embedded broker, which creates a missing data directory.
    pub(crate) async fn open_or_create(options: &GlobalOptions) -> anyhow::Result<Self> {
        match &options.embedded {
            Some(directory) => Self::embed(options, directory).await,
            None => Self::connect(options).await,
        }
    }

    async fn connect(options: &GlobalOptions) -> anyhow::Result<Self> {
        if let Some(fault) = &options.broker_fault {
            return Err(WrongVariable(fault.clone()).into());
        }
        let addresses = options.broker.split(',').map(str::trim).filter(|address| !address.is_empty());
        let connecting = Client::builder()
            .transport(transport::Tcp)
            .bootstrap(addresses)
            .request_timeout(options.timeout)
            .client_id("grower-cli")
            .connect();
        let client = connecting.await.map_err(|error| unconnected(error, &options.broker))?;
        Ok(Self { client, output: options.output, embedded: None })
    }

    async fn embed(options: &GlobalOptions, directory: &Path) -> anyhow::Result<Self> {
        let broker = Broker::start(BrokerConfig::at(directory)).await;
        let broker = broker.with_context(|| format!("cannot start a broker on {}", directory.display()))?;
        let client = connect_to(&broker, options.timeout).await?;
        Ok(Self { client, output: options.output, embedded: Some(broker) })
    }

    /// Closes the connection, and stops an embedded broker cleanly. Acknowledged records do not depend on this.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        drop(self.client);
        match self.embedded {
            Some(broker) => stop(broker).await,
            None => Ok(()),
        }
    }
}

/// Explains a failed connection. The advice to start a broker helps only if nothing listens.
fn unconnected(error: ConnectError, broker: &str) -> anyhow::Error {
    if is_answered(&error) {
        return anyhow::Error::new(error);
    }
    let advice = format!(
        "no broker answers at {broker}; start one with `grower-broker --data-dir DIR`, name another with --broker or \
         GROWER_BROKER, or use --embedded DIR"
    );
    anyhow::Error::new(error).context(advice)
}

/// Whether any program listens at the address.
fn is_answered(error: &ConnectError) -> bool {
    match error {
        ConnectError::Unreachable { .. } | ConnectError::NoAddress => false,
        ConnectError::All(errors) => errors.iter().any(is_answered),
        _ => true,
    }
}

/// Connects to a broker in this process, without sockets.
pub(crate) async fn connect_to(broker: &Broker, timeout: Duration) -> anyhow::Result<Client> {
    let builder = Client::builder().transport(transport::in_process(broker.connector())).bootstrap(["embedded"]);
    Ok(builder.request_timeout(timeout).client_id("grower-cli").connect().await?)
}

/// Stops a broker of this process cleanly.
pub(crate) async fn stop(broker: Broker) -> anyhow::Result<()> {
    broker.stop().await.map_err(|reason| anyhow!("the broker in this process did not stop cleanly: {reason}"))
}

/// Turns a write beyond the file size limit (`ulimit -f`) into an error; by default it kills the process.
pub(crate) fn outlive_file_size_limit() -> std::io::Result<()> {
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop) // The handler stays installed.
}

/// Reads the clock of this machine.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

/// Signals within this time count as one request: a supervisor may send SIGINT and SIGTERM together.
const SAME_REQUEST: Duration = Duration::from_millis(100);

/// Waits for a request to end this process: Ctrl-C, SIGTERM, or the SIGHUP of a closed terminal. A second request
/// exits at once, with status 1.
pub(crate) async fn interrupted() {
    let Ok(mut requests) = StopSignals::listen() else { return std::future::pending().await };
    let (first_sender, first) = oneshot::channel();
    // A separate task: the command may be blocked in a write, or wait for acks that never arrive.
    tokio::spawn(async move {
        requests.next().await;
        let _ = first_sender.send(()); // The command may have ended by itself.
        tokio::time::sleep(SAME_REQUEST).await;
        requests.forget();
        requests.next().await;
        stderr_line("error: interrupted again: exiting at once; work in progress may or may not be done");
        std::process::exit(1);
    });
    let _ = first.await; // The task ends only with the runtime.
}

/// The signals that ask this process to end.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    /// None if the process ignores hangups, as under `nohup`.
    hangup: Option<Signal>,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hangup })
    }

    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hangup => {}
        }
    }

    /// Drops the signals that arrived already.
    fn forget(&mut self) {
        let _ = (self.interrupt.recv().now_or_never(), self.terminate.recv().now_or_never());
        let _ = self.hangup.as_mut().and_then(|hangup| hangup.recv().now_or_never());
    }
}

/// Whether this process ignores SIGHUP; to be read before it installs a handler.
fn ignores_hangup() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    ignored & 1 << (SignalKind::hangup().as_raw_value() - 1) != 0
}
