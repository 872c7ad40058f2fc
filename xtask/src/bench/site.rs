//! The broker as it is run: its own process, its own port.

use super::machine;
use crate::workspace::root;
use anyhow::{Context, bail};
use grower_client::Client;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

/// A broker that is measured: where it listens, and which process it is.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) address: String,
    pub(super) process: u32,
}

impl Site {
    /// A client of its own, as another program would have.
    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.address).await?)
    }

    /// Processor seconds of the broker so far. A broker inside this process has none of its own.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        if self.process == std::process::id() { Ok(0.0) } else { machine::cpu_seconds(self.process) }
    }
}

/// A running daemon; killed, as hard as can be, when dropped.
pub(super) struct Daemon {
    child: Child,
    site: Site,
    /// Kept, so that the daemon can go on writing.
    _stderr: Lines<BufReader<ChildStderr>>,
    /// From being started to being ready.
    pub(super) start: Duration,
}

/// Where the release build of the daemon is.
pub(super) fn release_build() -> PathBuf {
    root().join("target/release/grower-broker")
}

impl Daemon {
    /// Starts it and waits until it serves.
    pub(super) async fn start(program: &Path, data_dir: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(data_dir).args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        let began = Instant::now();
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut stderr = BufReader::new(child.stderr.take().context("no standard error")?).lines();
        let mut said = Vec::new();
        while let Some(line) = stderr.next_line().await? {
            if let Some(address) = ready(&line) {
                let start = began.elapsed();
                let site = Site { address, process: child.id().context("the daemon has ended")? };
                return Ok(Self { child, site, _stderr: stderr, start });
            }
            said.push(line);
        }
        bail!("the daemon ended before it was ready:\n{}", said.join("\n"))
    }

    /// Where it listens, and who it is.
    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    /// Ends it as a crash would.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// The address for clients, if this is the line that names it.
fn ready(line: &str) -> Option<String> {
    let fields = line.strip_prefix("grower-broker ready ")?;
    fields.split(' ').find_map(|field| field.strip_prefix("listen=")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ready_line_names_the_address() {
        let told = ready("grower-broker ready listen=127.0.0.1:9092 http=127.0.0.1:9094");
        assert_eq!(told, Some("127.0.0.1:9092".to_owned()));
        assert_eq!(ready("2026-11-22T00:00:00Z  INFO ready listen=127.0.0.1:9092 http=x"), None);
    }
}
