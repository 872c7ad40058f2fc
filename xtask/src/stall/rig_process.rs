//! A client process of the rig, and signals for processes.

use super::clients::{REPLACED, StallRole};
use crate::stop::Stop;
use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

/// How long a client may take to end once it is told to.
const END_MAX: Duration = Duration::from_secs(20);

/// Stops, resumes and kills a process.
pub(super) trait ProcessSignals {
    fn child(&mut self) -> &mut Child;

    fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        let id = self.child().id().context("the process has ended")?;
        let process = Pid::from_raw(id as i32).context("no process id")?;
        kill_process(process, signal).with_context(|| format!("signal {signal:?} to {id}"))
    }
}

/// A running client, killed when dropped.
pub(super) struct RigProcess {
    process: String,
    pub(super) child: Child,
    /// Open until the process is told to end; [`Child::wait`] would close it.
    stdin: Option<ChildStdin>,
}

impl ProcessSignals for RigProcess {
    fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl RigProcess {
    /// Starts a client under a name of its own. Its output goes to a file of that name.
    pub(super) fn start(role: StallRole, process: String, broker: &str, dir: &Path, seed: u64) -> anyhow::Result<Self> {
        use clap::ValueEnum;
        let role = role.to_possible_value().context("a role has a name")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["stall-client", role.get_name(), "--broker", broker, "--process", &process]);
        command.arg("--dir").arg(dir).args(["--seed", &seed.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        Self::spawn(command, process, dir)
    }

    /// Starts a program. Its errors go to a file of this name.
    pub(super) fn spawn(mut command: Command, process: String, dir: &Path) -> anyhow::Result<Self> {
        command.stderr(File::create(dir.join(format!("{process}.log")))?).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {process}"))?;
        let stdin = child.stdin.take();
        Ok(Self { process, child, stdin })
    }

    /// Tells it to end, and waits until it has.
    pub(super) async fn finish(mut self) -> anyhow::Result<()> {
        drop(self.stdin.take());
        let Self { process, child, .. } = &mut self;
        let status = timeout(END_MAX, child.wait()).await;
        let status = status.with_context(|| format!("{process} does not end within {END_MAX:?}"))??;
        ensure!(status.success(), "{process} ended with {status}; see {process}.log");
        Ok(())
    }

    /// Waits until it has noticed that another process took its work over, or until the stop.
    pub(super) async fn wait_replaced(mut self, mut stop: Stop) -> anyhow::Result<()> {
        let Self { process, child, stdin } = &mut self;
        let status = tokio::select! {
            status = timeout(END_MAX, child.wait()) => status.with_context(|| format!("{process} was not replaced"))??,
            () = stop.wait() => {
                drop(stdin.take());
                timeout(END_MAX, child.wait()).await.with_context(|| format!("{process} does not end"))??
            }
        };
        ensure!(matches!(status.code(), Some(0 | REPLACED)), "{process} ended with {status}; see {process}.log");
        Ok(())
    }

    /// The error of a client that ended without being told to.
    pub(super) fn ended_early(&self, status: std::process::ExitStatus) -> anyhow::Error {
        anyhow::anyhow!("{0} ended by itself with {status}; see {0}.log", self.process)
    }
}
