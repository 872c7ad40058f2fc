//! The daemon as a process: started, waited for, asked to stop, killed.
//!
//! Tests of other crates include this file with `#[path]`; they must have had the binary built.
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine; only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(60);

const READY: &str = "grower-broker ready ";

/// A running daemon. Dropping it kills it.
pub(crate) struct Daemon {
    /// Where clients connect.
    pub(crate) listen: SocketAddr,
    /// Where it serves health and metrics, if it does.
    pub(crate) http: Option<SocketAddr>,
    /// The process.
    pub(crate) child: Child,
    stderr: Stderr,
}

/// How a daemon ended, and what it had said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: Vec<String>,
}

impl Daemon {
    /// Starts a daemon on free ports and waits until it is ready.
    pub(crate) fn start(dir: &Path, flags: &[&str]) -> Self {
        Self::start_command(command(dir).args(flags))
    }

    /// Starts what [`command`] gave, with more flags, variables or a shim, and waits until it is ready.
    pub(crate) fn start_command(command: &mut Command) -> Self {
        let (mut child, mut stderr) = spawn(command);
        let Some(line) = stderr.wait_for(READY) else {
            let _ = child.kill();
            panic!("the daemon did not get ready: {:?}\n{:#?}", child.wait(), stderr.drain());
        };
        Self::ready(child, &line, stderr)
    }

    /// Like [`Daemon::start_command`], but closes its stderr once it is ready.
    pub(crate) fn start_unheard(command: &mut Command) -> Self {
        Self::start_unread(command).0
    }

    /// Like [`Daemon::start_command`], but leaves its stderr to the caller once it is ready.
    pub(crate) fn start_unread(command: &mut Command) -> (Self, Lines<BufReader<ChildStderr>>) {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.find_map(|line| line.ok().filter(|line| line.contains(READY)));
        (Self::ready(child, &line.expect("the daemon gets ready"), Stderr::read(std::io::empty())), lines)
    }

    fn ready(child: Child, line: &str, stderr: Stderr) -> Self {
        let address = |name: &str| {
            let word = line.split(' ').find_map(|word| word.strip_prefix(name));
            word.and_then(|address| address.parse().ok())
        };
        let listen = address("listen=").unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { listen, http: address("http="), child, stderr }
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn terminate(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill9(self) -> Ended {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap();
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> Ended {
        let status = wait(&mut self.child);
        Ended { status, stderr: self.stderr.drain() }
    }

    /// Waits until it says a line that contains `text`.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let Some(line) = self.stderr.wait_for(text) else {
            panic!("the daemon never said {text:?}\n{:#?}", self.stderr.lines)
        };
        line
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The daemon on a data directory and free ports, not started yet. Nothing in this process's environment sets it up.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = bare_command();
    command.arg("--data-dir").arg(dir).args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command.env("GROWER__DISK__RESERVE_BYTES", "1MiB"); // Tests run on nearly full disks as well.
    command
}

/// The daemon without any flag.
pub(crate) fn bare_command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GROWER") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a daemon that is expected to end by itself.
pub(crate) fn run(command: &mut Command) -> Ended {
    let (mut child, mut stderr) = spawn(command);
    let status = wait(&mut child);
    Ended { status, stderr: stderr.drain() }
}

fn binary() -> PathBuf {
    match option_env!("CARGO_BIN_EXE_grower-broker") {
        Some(path) => path.into(),
        None => {
            let test = std::env::current_exe().unwrap();
            let profile = test.ancestors().nth(2).unwrap();
            profile.join("grower-broker")
        }
    }
}

fn spawn(command: &mut Command) -> (Child, Stderr) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let stderr = Stderr::read(child.stderr.take().unwrap());
    (child, stderr)
}

fn wait(child: &mut Child) -> ExitStatus {
    let process = pidfd_open(pid(child), PidfdFlags::empty()).unwrap();
    let timeout = Timespec { tv_sec: DEADLINE.as_secs() as i64, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout)).unwrap();
    if ended == 0 {
        let _ = child.kill();
        panic!("the daemon did not end within {DEADLINE:?}");
    }
    child.wait().unwrap()
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// The output of a process, line by line. A thread reads all of it, so that the process never waits for its pipe.
struct Stderr {
    said: Receiver<String>,
    lines: Vec<String>,
}

impl Stderr {
    fn read(pipe: impl std::io::Read + Send + 'static) -> Self {
        let (say, said) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        Self { said, lines: Vec::new() }
    }

    /// The first line that contains `text`, of those not waited for yet; `None` if it ends or takes too long.
    fn wait_for(&mut self, text: &str) -> Option<String> {
        let until = Instant::now() + DEADLINE;
        loop {
            match self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.lines.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
            let line = self.lines.last().filter(|line| line.contains(text));
            if let Some(line) = line {
                return Some(line.clone());
            }
        }
    }

    /// Everything it said, once it has ended.
    fn drain(&mut self) -> Vec<String> {
        let until = Instant::now() + DEADLINE;
        while let Ok(line) = self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.lines.push(line);
        }
        std::mem::take(&mut self.lines)
    }
}
