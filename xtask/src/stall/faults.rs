//! Stops, resumes and kills the processes of the rig at random.

use super::clients::{REPLACED, StallRole};
use super::journal::{Journal, JournalEvent, Nanos};
use super::phases::RigPhases;
use super::rig_broker::{BrokerSetup, RigBroker};
use super::rig_process::{ProcessSignals, RigProcess};
use super::seeded_random::SeededRandom;
use crate::stop::Stop;
use rustix::process::Signal;
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// The state that all tasks of the rig share.
#[derive(Clone)]
pub(super) struct RigContext {
    pub(super) seed: u64,
    pub(super) dir: PathBuf,
    pub(super) setup: BrokerSetup,
    pub(super) phases: RigPhases,
    /// The faults.
    pub(super) journal: Journal,
}

/// A fault of the broker.
#[derive(Clone, Copy, Debug)]
enum BrokerFault {
    /// SIGSTOP, and SIGCONT later.
    Stop,
    /// Writes and syncs hang.
    Hang,
    /// SIGKILL, and a new process later.
    Kill,
}

/// A fault of a client.
#[derive(Clone, Copy, Debug)]
pub(super) enum ClientFault {
    /// SIGSTOP, and SIGCONT later.
    Stop,
    /// SIGKILL, and a new process later.
    Kill,
    /// SIGSTOP, and a new process meanwhile; SIGCONT later.
    Replace,
}

impl RigContext {
    /// Waits for the next fault. Returns how long it may last, or `None` at the stop.
    pub(super) async fn next_fault(
        &self,
        random: &mut SeededRandom,
        longest_run: u64,
        stop: &mut Stop,
    ) -> Option<Duration> {
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

    /// Notes a fault that ended just now.
    pub(super) fn note(&self, process: &str, fault: impl Debug, from: Nanos) {
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
            BrokerFault::Stop,
            BrokerFault::Stop,
            BrokerFault::Stop,
            BrokerFault::Hang,
            BrokerFault::Hang,
            BrokerFault::Kill,
        ]);
        let lasts = tokio::select! {
            status = broker.child.wait() => anyhow::bail!("the broker ended by itself with {}; see broker.log", status?),
            lasts = context.next_fault(&mut random, 4_000, &mut stop) => lasts,
        };
        let Some(lasts) = lasts else { return Ok(broker) };
        let from = Nanos::now();
        match fault {
            BrokerFault::Stop => {
                broker.signal(Signal::STOP)?;
                sleep(lasts).await;
                broker.signal(Signal::CONT)?;
            }
            BrokerFault::Hang => {
                context.setup.disk_hang.set(1)?;
                sleep(lasts).await;
                context.setup.disk_hang.set(0)?;
            }
            BrokerFault::Kill => {
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
    let mut replaced = JoinSet::new();
    for life in 0.. {
        let name = format!("{}.{life}", plan.name);
        let mut client =
            RigProcess::start(plan.role, name.clone(), &context.setup.address, &context.dir, context.seed)?;
        loop {
            let kills = [
                ClientFault::Kill,
                if plan.role == StallRole::Shipper { ClientFault::Replace } else { ClientFault::Kill },
            ];
            let fault = if random.one_in(plan.kill_one_in) { random.pick(&kills) } else { ClientFault::Stop };
            let lasts = tokio::select! {
                status = client.child.wait() => {
                    let status = status?;
                    if status.code() == Some(REPLACED) {
                        break;
                    }
                    return Err(client.ended_early(status));
                }
                lasts = context.next_fault(&mut random, 6_000, &mut stop) => lasts,
            };
            let Some(lasts) = lasts else {
                client.finish().await?;
                while let Some(ended) = replaced.join_next().await {
                    ended??;
                }
                return Ok(());
            };
            let from = Nanos::now();
            match fault {
                ClientFault::Stop => {
                    client.signal(Signal::STOP)?;
                    sleep(lasts).await;
                    client.signal(Signal::CONT)?;
                    context.note(&name, fault, from);
                }
                ClientFault::Kill => {
                    client.child.kill().await?;
                    sleep(lasts / 4).await;
                    context.note(&name, fault, from);
                    break;
                }
                ClientFault::Replace => {
                    client.signal(Signal::STOP)?;
                    let (context, stop) = (context.clone(), stop.clone());
                    replaced.spawn(async move {
                        sleep(lasts).await;
                        client.signal(Signal::CONT)?;
                        context.note(&name, fault, from);
                        client.wait_replaced(stop).await
                    });
                    break;
                }
            }
        }
    }
    Ok(())
}
