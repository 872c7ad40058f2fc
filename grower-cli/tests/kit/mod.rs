//! A broker with a port of its own in the test's process, and the real `grower-cli` run against it.
#![allow(dead_code, reason = "each test file uses its part")]

use grower_broker::{Broker, BrokerBuilder, BrokerConfig};
use grower_storage::disk::{Call, Disk as _, Fault, FaultDisk, Faults, MemDisk};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A broker on a temporary directory.
pub(crate) struct Served {
    runtime: tokio::runtime::Runtime,
    broker: Option<Broker>,
    directory: tempfile::TempDir,
    backup_dir: Option<PathBuf>,
    memory: Option<u64>,
    disk: Option<(MemDisk, Arc<FaultDisk<MemDisk>>)>,
    max_connections: Option<usize>,
}

impl Served {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut served = Self {
            runtime,
            broker: None,
            directory,
            backup_dir: None,
            memory: None,
            disk: None,
            max_connections: None,
        };
        served.restart();
        served
    }

    /// A stopped broker with seven records, one a batch, in segments of three, and a group.
    pub(crate) fn stopped_with_segments() -> Self {
        let mut served = Self::start();
        served.ok("topic create events --config segment.messages=3", b"");
        served.ok("produce events --batch-records 1", b"0\n1\n2\n3\n4\n5\n6\n");
        served.ok("consume events --group g --limit 3", b"");
        served.stop();
        served
    }

    /// A broker with the backup directory `backups`.
    pub(crate) fn with_backups() -> Self {
        let mut served = Self::start();
        served.backup_dir = Some(served.path("backups"));
        served.restart();
        served
    }

    pub(crate) fn with_memory(bytes: u64) -> Self {
        let mut served = Self::start();
        served.memory = Some(bytes);
        served.restart();
        served
    }

    /// A broker on a disk in memory with injected faults.
    pub(crate) fn with_faults() -> (Self, Faults) {
        let mut served = Self::start();
        let disk = MemDisk::default();
        let faulty = Arc::new(FaultDisk::new(disk.clone()));
        let faults = faulty.faults();
        served.disk = Some((disk, faulty));
        served.backup_dir = Some("/backups".into());
        served.restart();
        (served, faults)
    }

    /// A broker with a limit of connections and the topic `events`.
    pub(crate) fn with_connections(most: usize) -> Self {
        let mut served = Self::start();
        served.ok("topic create events", b"");
        served.max_connections = Some(most);
        served.restart();
        served
    }

    /// Stops the broker, if it runs, and starts it on the same data.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.broker = Some(self.runtime.block_on(self.builder(0).start()).unwrap());
    }

    /// Simulates a power cut: the disk in memory loses all unsynced bytes, and the broker starts again on the same
    /// port.
    pub(crate) fn power_cut(&mut self) {
        let broker = self.broker.take().unwrap();
        let port = broker.listen_address().unwrap().port();
        let (disk, faulty) = self.disk.clone().unwrap();
        faulty.faults().inject(Fault::io(Call::Sync, 0).from_then_on()); // No further sync succeeds, whichever way the broker ends.
        self.runtime.block_on(async move { drop(broker) });
        until("the broker has ended", || disk.lock(&self.data_dir()).is_ok());
        disk.crash();
        faulty.faults().heal();
        self.broker = Some(self.runtime.block_on(self.builder(port).start()).unwrap());
    }

    fn builder(&self, port: u16) -> BrokerBuilder {
        let mut config = BrokerConfig {
            listen: Some(([127, 0, 0, 1], port).into()),
            backup_dir: self.backup_dir.clone(),
            disk_reserve_bytes: Some(1 << 20), // Tests run on nearly full disks as well.
            ..BrokerConfig::at(self.data_dir())
        };
        config.memory = self.memory.unwrap_or(config.memory);
        config.max_connections = self.max_connections.unwrap_or(config.max_connections);
        let builder = Broker::builder(config);
        match &self.disk {
            Some((_, disk)) => builder.disk(disk.clone()),
            None => builder,
        }
    }

    pub(crate) fn stop(&mut self) {
        if let Some(broker) = self.broker.take() {
            self.runtime.block_on(broker.stop()).unwrap();
        }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A path next to the data directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The address of the broker.
    pub(crate) fn address(&self) -> String {
        self.broker.as_ref().and_then(Broker::listen_address).unwrap().to_string()
    }

    /// A CLI command with these arguments, split at spaces, for this broker.
    pub(crate) fn cli(&self, arguments: &str) -> Command {
        let address = self.address();
        let mut command = Command::new(env!("CARGO_BIN_EXE_grower-cli"));
        command.env("GROWER_BROKER", address).args(arguments.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end with this standard input.
    pub(crate) fn run(&self, arguments: &str, input: &[u8]) -> Output {
        feed(self.cli(arguments).stdin(Stdio::piped()).spawn().unwrap(), input)
    }

    /// Runs a command that must succeed; returns its standard output.
    pub(crate) fn ok(&self, arguments: &str, input: &[u8]) -> Vec<u8> {
        let output = self.run(arguments, input);
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        output.stdout
    }

    /// Runs a command that must fail with status 1; returns its standard error.
    pub(crate) fn fails(&self, arguments: &str, input: &[u8]) -> String {
        let output = self.run(arguments, input);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {}", text(&output.stderr));
        text(&output.stderr)
    }

    /// Reads the lines of a topic with `consume --until-end`.
    pub(crate) fn read(&self, topic: &str) -> Vec<u8> {
        self.ok(&format!("consume {topic} --until-end"), b"")
    }
}

/// Writes `input` from another thread, so that neither side waits for the other.
pub(crate) fn feed(mut child: Child, input: &[u8]) -> Output {
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input); // A command that failed at once reads nothing.
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Parses lines of JSON.
pub(crate) fn json(bytes: &[u8]) -> Vec<serde_json::Value> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Waits until `comes_true`; fails after half a minute.
pub(crate) fn until(what: &str, mut comes_true: impl FnMut() -> bool) {
    let began = Instant::now();
    while !comes_true() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what} did not come true");
        std::thread::yield_now();
    }
}
