//! The broker as it is run: its own process, its own port.

use super::machine;
use crate::workspace::root;
use anyhow::{Context, bail};
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

/// A running broker; killed when dropped.
pub(super) struct Daemon {
    child: Child,
    address: String,
    /// Kept, so that the daemon can go on writing.
    _stderr: Lines<BufReader<ChildStderr>>,
}

impl Daemon {
    /// Starts it and waits until it serves.
    pub(super) async fn start(data_dir: &Path) -> anyhow::Result<Self> {
        let program = root().join("target/release/grower-broker");
        let mut command = Command::new(&program);
        command.arg("--data-dir").arg(data_dir).args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut stderr = BufReader::new(child.stderr.take().context("no standard error")?).lines();
        let mut said = Vec::new();
        while let Some(line) = stderr.next_line().await? {
            let ready = line.strip_prefix("grower-broker ready ");
            if let Some(address) =
                ready.and_then(|ready| ready.split(' ').find_map(|field| field.strip_prefix("listen=")))
            {
                let address = address.to_owned();
                return Ok(Self { child, address, _stderr: stderr });
            }
            said.push(line);
        }
        bail!("the daemon ended before it was ready:\n{}", said.join("\n"))
    }

    /// Where it listens.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Processor time it has used.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        machine::cpu_seconds(self.id())
    }

    /// Ends it; its data is going to be deleted anyway.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}
