//! Stops, resumes and kills the processes of the rig at random.

use super::clients::StallRole;
use super::journal::{Journal, JournalEvent, Nanos};
use super::phases::RigPhases;
use super::rig_broker::{BrokerSetup, RigBroker};
use super::rig_process::{ProcessSignals, RigProcess};
use super::seeded_random::SeededRandom;
use crate::stop::Stop;
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What all tasks of the rig share.
#[derive(Clone)]
pub(super) struct RigContext {
    pub(super) seed: u64,
    pub(super) dir: PathBuf,
    pub(super) setup: BrokerSetup,
    pub(super) phases: RigPhases,
    /// The faults.
    pub(super) journal: Journal,
}

/// A fault of a process.
#[derive(Clone, Copy, Debug)]
enum ProcessFault {
    /// SIGSTOP, and SIGCONT later.
    Stop,
    /// Writes and syncs hang.
    Hang,
    /// SIGKILL, and a new process later.
    Kill,
}

impl RigContext {
    /// Waits for the next fault. Returns how long it may last, or `None` at the stop.
    async fn next_fault(&self, random: &mut SeededRandom, longest_run: u64, stop: &mut Stop) -> Option<Duration> {
        let run = random.millis(200..longest_run);
        let wanted = duration(random);
        if !stop.sleep(run).await {
            return None;
        }
        loop {
            if let Some(left) = self.phases.storm_left(Instant::now()) {
                return Some(wanted.min(left));
            }
            if !stop.sleep(Duration::from_millis(100)).await {
                return None;
            }
        }
    }

    fn note(&self, process: &str, fault: ProcessFault, from: Nanos) {
        let (process, kind) = (process.to_owned(), format!("{fault:?}"));
        self.journal.note(&JournalEvent::Fault { process, kind, from, to: Nanos::now() });
    }
}

/// The duration of a fault: shorter or longer than some timeout.
fn duration(random: &mut SeededRandom) -> Duration {
    let around = random.pick(&[100, 300, 500, 800, 1_100, 1_600, 2_200, 3_000]);
    random.millis(around / 2..around * 3 / 2)
}

/// Runs the broker and disturbs it, until the stop. The broker runs on.
pub(super) async fn disturb_broker(
    context: RigContext,
    mut broker: RigBroker,
    mut stop: Stop,
) -> anyhow::Result<RigBroker> {
    let mut random = SeededRandom::new(context.seed, "broker");
    loop {
        let fault = random.pick(&[
            ProcessFault::Stop,
            ProcessFault::Stop,
            ProcessFault::Stop,
            ProcessFault::Hang,
            ProcessFault::Hang,
            ProcessFault::Kill,
        ]);
        let lasts = tokio::select! {
            status = broker.child.wait() => anyhow::bail!("the broker ended by itself with {}; see broker.log", status?),
            lasts = context.next_fault(&mut random, 4_000, &mut stop) => lasts,
        };
        let Some(lasts) = lasts else { return Ok(broker) };
        let from = Nanos::now();
        match fault {
            ProcessFault::Stop => {
                broker.signal(Signal::STOP)?;
                sleep(lasts).await;
                broker.signal(Signal::CONT)?;
            }
            ProcessFault::Hang => {
                context.setup.disk_hang.set(1)?;
                sleep(lasts).await;
                context.setup.disk_hang.set(0)?;
            }
            ProcessFault::Kill => {
                broker.child.kill().await?;
                sleep(lasts / 2).await;
                broker = context.setup.start().await?;
            }
        }
        context.note("broker", fault, from);
    }
}

/// A client and how it is treated.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientPlan {
    pub(super) role: StallRole,
    pub(super) name: &'static str,
    /// One fault in this many is a kill.
    pub(super) kill_one_in: u64,
}

/// Runs a client and disturbs it, until the stop; then waits for its end.
pub(super) async fn disturb_client(context: RigContext, plan: ClientPlan, mut stop: Stop) -> anyhow::Result<()> {
    let mut random = SeededRandom::new(context.seed, plan.name);
    for life in 0.. {
        let name = format!("{}.{life}", plan.name);
        let mut client =
            RigProcess::start(plan.role, name.clone(), &context.setup.address, &context.dir, context.seed)?;
        loop {
            let fault = if random.one_in(plan.kill_one_in) { ProcessFault::Kill } else { ProcessFault::Stop };
            let lasts = tokio::select! {
                status = client.child.wait() => return Err(client.ended_early(status?)),
                lasts = context.next_fault(&mut random, 6_000, &mut stop) => lasts,
            };
            let Some(lasts) = lasts else { return client.finish().await };
            let from = Nanos::now();
            match fault {
                ProcessFault::Stop | ProcessFault::Hang => {
                    client.signal(Signal::STOP)?;
                    sleep(lasts).await;
                    client.signal(Signal::CONT)?;
                    context.note(&name, fault, from);
                }
                ProcessFault::Kill => {
                    client.child.kill().await?;
                    sleep(lasts / 4).await;
                    context.note(&name, fault, from);
                    break;
                }
            }
        }
    }
    Ok(())
}
