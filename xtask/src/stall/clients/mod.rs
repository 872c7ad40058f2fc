//! The client processes of the rig. Each keeps a journal, and ends when its standard input does.

mod candidate;
mod member;
mod reader;
mod shipper;
mod writer;

use super::journal::{Journal, JournalEvent, Nanos};
use super::pause_watch;
use super::seeded_random::SeededRandom;
use super::timeouts::{CONNECT, REQUEST};
use crate::stop::{Stop, Stopper};
use clap::{Args, ValueEnum};
use grower_client::Client;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

/// The exit code of a client whose work another process took over.
pub(super) const REPLACED: i32 = 3;

/// One client process of the stall rig.
#[derive(Args)]
pub(crate) struct StallClient {
    /// The work of the process
    #[arg(value_enum)]
    role: StallRole,
    /// The address of the broker
    #[arg(long)]
    broker: String,
    /// The folder of the journals
    #[arg(long)]
    dir: PathBuf,
    /// The name of the process; no other one has it
    #[arg(long)]
    process: String,
    #[arg(long)]
    seed: u64,
}

/// The work of a client process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum StallRole {
    /// Writes as one anonymous producer after the other.
    Writer,
    /// Reads everything, without a group.
    Reader,
    /// Works as one member of a group after the other.
    Member,
    /// Appends at the end of a partition that others append to.
    Candidate,
    /// Ships an outbox under a producer identity.
    Shipper,
}

impl StallClient {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        let journal = Journal::create(&self.dir, &self.process)?;
        pause_watch::start(journal.clone());
        let stopper = Stopper::default();
        let stop = stopper.subscribe();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            stopper.stop_all();
        });
        let random = SeededRandom::new(self.seed, &self.process);
        let rig = RigClient { broker: self.broker, process: self.process, journal, random, stop };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let was_replaced = runtime.block_on(async {
            match self.role {
                StallRole::Writer => writer::run(rig).await.map(|()| false),
                StallRole::Reader => reader::run(rig).await.map(|()| false),
                StallRole::Member => member::run(rig).await.map(|()| false),
                StallRole::Candidate => candidate::run(rig).await.map(|()| false),
                StallRole::Shipper => shipper::run(rig).await,
            }
        })?;
        if was_replaced {
            std::process::exit(REPLACED);
        }
        Ok(())
    }
}

/// The means of a client process.
struct RigClient {
    broker: String,
    process: String,
    journal: Journal,
    random: SeededRandom,
    stop: Stop,
}

/// The pause before a call that failed is made again.
const RETRY: Duration = Duration::from_millis(50);

impl RigClient {
    /// Notes a broken promise and lets the run continue: it may break more of them.
    fn broken(&self, promise: &str) {
        self.journal.note(&JournalEvent::Broken { promise: promise.to_owned() });
    }

    /// Connects, again and again until the stop.
    async fn connect(&mut self) -> Option<Client> {
        while !self.stop.is_requested() {
            let builder = Client::builder().bootstrap([self.broker.clone()]);
            let builder = builder.connect_timeout(CONNECT).request_timeout(REQUEST).client_id(self.process.clone());
            let began = Nanos::now();
            let connected = self.journal.called("connect", began, CONNECT, builder.connect().await);
            if connected.is_some() {
                return connected;
            }
            self.stop.sleep(RETRY).await;
        }
        None
    }
}
