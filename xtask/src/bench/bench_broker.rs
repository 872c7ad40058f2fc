//! A broker as users run it: its own process, its own port.

use super::machine;
use crate::workspace::root;
use anyhow::{Context, bail, ensure};
use grower_client::Client;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

/// A broker that is measured: its address and its process.
#[derive(Clone, Debug)]
pub(crate) struct BenchBroker {
    pub(crate) address: String,
    pub(crate) process: u32,
}

impl BenchBroker {
    /// Connects a new client, as another program would.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.address).await?)
    }

    /// Processor seconds of the broker so far; 0 for a broker inside this process.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        if self.process == std::process::id() { Ok(0.0) } else { machine::cpu_seconds(self.process) }
    }
}

/// A running daemon, which is killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    broker: BenchBroker,
    http: String,
    /// The last lines of its log, read in the background.
    last_lines: JoinHandle<Vec<String>>,
    /// Time from start to ready.
    pub(crate) start: Duration,
}

/// Number of log lines that are kept.
const LAST_LINES: usize = 20;

/// The path of a program's release build.
pub(crate) fn release_build(program: &str) -> PathBuf {
    root().join("target/release").join(program)
}

impl Daemon {
    /// Starts the daemon and waits until it is ready.
    pub(crate) async fn start(program: &Path, data_dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(&[], program, data_dir).await
    }

    /// Starts it with these environment variables.
    pub(crate) async fn start_with(
        settings: &[(&str, &Path)],
        program: &Path,
        data_dir: &Path,
    ) -> anyhow::Result<Self> {
        Self::start_as(settings, program, &[], data_dir).await
    }

    /// Starts it through a program that becomes the daemon. The flags of the daemon follow `arguments`.
    pub(crate) async fn start_as(
        settings: &[(&str, &Path)],
        program: &Path,
        arguments: &[&OsStr],
        data_dir: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.envs(settings.iter().copied()).args(arguments);
        command.arg("--data-dir").arg(data_dir).args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        let began = Instant::now();
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut stderr = BufReader::new(child.stderr.take().context("no standard error")?).lines();
        let mut lines = Vec::new();
        while let Some(line) = stderr.next_line().await? {
            if let Some((address, http)) = ready(&line) {
                let start = began.elapsed();
                let broker = BenchBroker { address, process: child.id().context("the daemon has ended")? };
                return Ok(Self { child, broker, http, last_lines: tokio::spawn(last_lines(stderr)), start });
            }
            lines.push(line);
        }
        bail!("the daemon ended before it was ready:\n{}", lines.join("\n"))
    }

    /// The broker, for clients.
    pub(crate) fn broker(&self) -> &BenchBroker {
        &self.broker
    }

    /// The address of health and metrics.
    pub(crate) fn http(&self) -> &str {
        &self.http
    }

    /// Kills it.
    pub(crate) async fn kill(self) -> anyhow::Result<()> {
        self.kill_and_read_log().await.map(drop)
    }

    /// Kills it and returns the last lines of its log.
    pub(crate) async fn kill_and_read_log(mut self) -> anyhow::Result<Vec<String>> {
        self.child.kill().await?;
        Ok(self.last_lines.await?)
    }
}

/// Reads to the end and keeps the last lines.
async fn last_lines(mut stderr: Lines<BufReader<ChildStderr>>) -> Vec<String> {
    let mut last = VecDeque::new();
    while let Ok(Some(line)) = stderr.next_line().await {
        last.push_back(line);
        if LAST_LINES < last.len() {
            last.pop_front();
        }
    }
    last.into()
}

/// Fetches a page of the daemon over HTTP.
pub(crate) async fn get(http: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(http).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(answer)
}

/// Returns the addresses for clients and HTTP, if this is the ready line.
fn ready(line: &str) -> Option<(String, String)> {
    let fields = line.strip_prefix("grower-broker ready ")?;
    let field = |name| fields.split(' ').find_map(|field| field.strip_prefix(name)).map(str::to_owned);
    Some((field("listen=")?, field("http=")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ready_line_names_addresses() {
        let addresses = ready("grower-broker ready listen=127.0.0.1:9092 http=127.0.0.1:9094");
        assert_eq!(addresses, Some(("127.0.0.1:9092".to_owned(), "127.0.0.1:9094".to_owned())));
        assert_eq!(ready("2026-11-22T00:00:00Z  INFO ready listen=127.0.0.1:9092 http=x"), None);
    }
}
