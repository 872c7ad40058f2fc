//! The broker process of the rig.

use super::rig_process::ProcessSignals;
use crate::preload::PreloadedLibrary;
use anyhow::{Context, bail, ensure};
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How long a broker may take to get ready.
const START_MAX: Duration = Duration::from_secs(60);

/// How brokers are started, always at the same address.
#[derive(Clone)]
pub(super) struct BrokerSetup {
    program: PathBuf,
    dir: PathBuf,
    pub(super) address: String,
    /// While its number is not 0, the broker's writes and syncs hang.
    pub(super) disk_hang: PreloadedLibrary,
}

impl BrokerSetup {
    pub(super) fn new(program: PathBuf, dir: &Path) -> anyhow::Result<Self> {
        let disk_hang = PreloadedLibrary::build(dir, "src/stall/disk_hang.c", "DISK_HANG")?;
        Ok(Self { program, dir: dir.to_owned(), address: free_address()?, disk_hang })
    }

    /// Starts a broker and waits until it listens.
    pub(super) async fn start(&self) -> anyhow::Result<RigBroker> {
        let log = File::options().create(true).append(true).open(self.dir.join("broker.log"))?;
        let mut command = Command::new(&self.program);
        command.envs(self.disk_hang.variables()).env("GROWER__DISK__RESERVE_BYTES", "1MiB");
        command.arg("--data-dir").arg(self.dir.join("broker")).args(["--listen", &self.address, "--http", "off"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        let began = Instant::now();
        while TcpStream::connect(&self.address).await.is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("the broker ended before it was ready: {status}; see broker.log");
            }
            ensure!(began.elapsed() < START_MAX, "the broker did not get ready within {START_MAX:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(RigBroker { child })
    }
}

/// A running broker, killed when dropped.
pub(super) struct RigBroker {
    pub(super) child: Child,
}

impl ProcessSignals for RigBroker {
    fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

/// An address that no outgoing connection takes while the broker is away: its port is below the ephemeral ones.
fn free_address() -> anyhow::Result<String> {
    let first = 20_000 + std::process::id() as u16 % 8_000;
    let port = (first..first + 1_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    Ok(format!("127.0.0.1:{}", port.context("no free port")?))
}
