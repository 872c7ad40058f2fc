//! `cargo xtask stall`: stops and kills broker and clients at random, and checks what the client library promises.
//!
//! The broker and each client are processes of their own. SIGSTOP holds them for shorter and longer than each timeout,
//! SIGKILL ends them, and a preloaded library lets the broker's disk hang ([`faults`]). Each client keeps a journal of
//! its calls and their outcomes ([`journal`]). At the end, when all stalls are over, the log is held to the journals
//! ([`audit`]).

mod audit;
mod clients;
mod faults;
mod journal;
mod pause_watch;
mod phases;
mod programs;
mod rig_broker;
mod rig_process;
mod rig_record;
mod seeded_random;
mod timeouts;

pub(crate) use clients::StallClient;

use crate::bench::run_in_release;
use crate::interrupt::unless_interrupted;
use crate::stop::Stopper;
use crate::workspace::{cargo, must_succeed, root};
use anyhow::{Context, ensure};
use audit::AuditReport;
use clap::Args;
use clients::StallRole;
use faults::{ClientPlan, RigContext, disturb_broker, disturb_client};
use grower_client::{Client, TopicSpec};
use journal::Journal;
use phases::RigPhases;
use programs::ExampleProgram;
use rig_broker::BrokerSetup;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

/// The topic of all anonymous producers.
const EVENTS: &str = "events";
const PARTITIONS: u32 = 3;
/// The topic of the shipper: record `n` of a partition is row `n`.
const OUTBOX: &str = "outbox";
const OUTBOX_PARTITIONS: u32 = 2;
/// The identity of the shipper.
const SHIPPER: &str = "shipper";
/// The topic of the candidates, of one partition: a record is at the offset that its candidate expected.
const LEASES: &str = "leases";
/// The topic of the outbox program, of one partition.
const ORDERS: &str = "orders";
/// The group of all members.
const GROUP: &str = "workers";

/// Stops and kills broker and clients at random, and checks the promises of the client library.
#[derive(Args)]
#[command(
    after_help = "Clients have short timeouts (request 0.4 s, connect 0.4 s, delivery 1 s, session 2 s), and stalls last from 50 ms \
to 4.5 s. Storms of faults and calms take turns.

Promises: records of a producer and partition are in the log once and in the order of hand-in; an acknowledged record is at its \
offset; one that was not written is absent; rows of a named producer, which is killed and replaced again and \
again, are all there once and in order; of candidates that append at one end, one succeeds; the example programs of the client library do their work exactly once, and do not crash; none lands after a flush; a reader gets everything once; a group works on everything, not twice without a failure, and on nothing that \
was committed before its partition was assigned; a commit of what moved away fails; each call ends within \
its limit and 0.3 s, apart from the time in which its own process did not run. It needs a C compiler.

Exits 1 at a broken promise, and keeps the data directory with all journals. The seed repeats the faults, not the moments at \
which they hit."
)]
pub(crate) struct StallRig {
    /// Duration in minutes
    #[arg(long, value_name = "M", default_value_t = 1.0)]
    minutes: f64,
    /// Repeat the faults of an earlier run [default: random]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Run release builds, which have no debug assertions
    #[arg(long)]
    release: bool,
    /// The folder of the data [default: target/]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl StallRig {
    /// Builds the broker as this program is built, then disturbs it.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.release && cfg!(debug_assertions) {
            return run_in_release();
        }
        let duration = Duration::try_from_secs_f64(self.minutes * 60.0).context("--minutes takes a positive number")?;
        let seed =
            self.seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs()));
        let program = build_programs()?;
        let base = self.dir.unwrap_or_else(|| root().join("target"));
        let directory = tempfile::Builder::new().prefix("stall-").tempdir_in(base)?;
        let again = format!("cargo xtask stall --minutes {} --seed {seed}", self.minutes);
        println!("{again} (data in {})", directory.path().display());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let ran = runtime.block_on(unless_interrupted(disturb(&program, directory.path(), duration, seed)));
        let kept = |directory: tempfile::TempDir| {
            format!("data and journals are in {}; again: {again}", directory.keep().display())
        };
        let report = match ran {
            Ok(report) => report,
            Err(error) => return Err(error.context(kept(directory))),
        };
        println!("{report}");
        if report.broken.is_empty() {
            println!("no promise was broken");
            return Ok(());
        }
        report.broken.iter().take(20).for_each(|broken| println!("BROKEN {broken}"));
        anyhow::bail!("{} broken promises; {}", report.broken.len(), kept(directory))
    }
}

/// Builds the broker and the example programs in the profile of this program. Returns the broker's path.
fn build_programs() -> anyhow::Result<PathBuf> {
    let (profile, flags) = if cfg!(debug_assertions) { ("debug", &[][..]) } else { ("release", &["--release"][..]) };
    must_succeed(cargo().args(["build", "--quiet", "--package", "grower-broker"]).args(flags))?;
    must_succeed(cargo().args(["build", "--quiet", "--package", "grower-client", "--examples"]).args(flags))?;
    Ok(root().join("target").join(profile).join("grower-broker"))
}

/// The clients that stop first, then those that read what they wrote.
const WRITERS: [ClientPlan; 5] = [
    ClientPlan { role: StallRole::Writer, name: "writer-1", kill_one_in: 8 },
    ClientPlan { role: StallRole::Writer, name: "writer-2", kill_one_in: 8 },
    ClientPlan { role: StallRole::Shipper, name: "shipper", kill_one_in: 2 },
    ClientPlan { role: StallRole::Candidate, name: "candidate-1", kill_one_in: 6 },
    ClientPlan { role: StallRole::Candidate, name: "candidate-2", kill_one_in: 6 },
];
const READERS: [ClientPlan; 4] = [
    ClientPlan { role: StallRole::Reader, name: "reader", kill_one_in: 20 },
    ClientPlan { role: StallRole::Member, name: "member-1", kill_one_in: 4 },
    ClientPlan { role: StallRole::Member, name: "member-2", kill_one_in: 8 },
    ClientPlan { role: StallRole::Member, name: "member-3", kill_one_in: 8 },
];

/// How long readers have for the last records.
const CATCH_UP: Duration = Duration::from_secs(2);

async fn disturb(program: &Path, dir: &Path, duration: Duration, seed: u64) -> anyhow::Result<AuditReport> {
    let setup = BrokerSetup::new(program.to_owned(), dir)?;
    let broker = setup.start().await?;
    create_topics(&setup.address).await?;
    let journal = Journal::create(dir, "faults")?;
    let context = RigContext { seed, dir: dir.to_owned(), setup, phases: RigPhases::begin(duration), journal };
    let (stop_faults, stop_rows, stop_writers, stop_readers): (Stopper, Stopper, Stopper, Stopper) = Default::default();
    let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
    for plan in WRITERS {
        writers.spawn(disturb_client(context.clone(), plan, stop_writers.subscribe()));
    }
    programs::prepare(dir)?;
    writers.spawn(programs::append_rows(dir.to_owned(), stop_rows.subscribe()));
    writers.spawn(ExampleProgram::Outbox.disturb(context.clone(), stop_writers.subscribe()));
    for program in [ExampleProgram::Worker(1), ExampleProgram::Worker(2), ExampleProgram::Tail] {
        readers.spawn(program.disturb(context.clone(), stop_readers.subscribe()));
    }
    for plan in READERS {
        readers.spawn(disturb_client(context.clone(), plan, stop_readers.subscribe()));
    }
    let disturbed = tokio::spawn(disturb_broker(context.clone(), broker, stop_faults.subscribe()));
    let mut disturbed = std::pin::pin!(disturbed);
    tokio::select! {
        () = sleep_until(context.phases.end()) => {}
        Some(ended) = writers.join_next() => ended??,
        Some(ended) = readers.join_next() => ended??,
        ended = &mut disturbed => drop(ended??),
    }
    ensure!(context.phases.end() <= tokio::time::Instant::now(), "a process ended early");
    stop_rows.stop_all();
    tokio::time::sleep(Duration::from_millis(100)).await; // The last rows are in the outbox by then.
    stop_writers.stop_all();
    all_end(writers).await?;
    tokio::time::sleep(CATCH_UP).await;
    stop_readers.stop_all();
    all_end(readers).await?;
    stop_faults.stop_all();
    let _broker = disturbed.await??; // Killed when dropped.
    audit::run(dir, &context.setup.address).await
}

async fn all_end(mut tasks: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn create_topics(broker: &str) -> anyhow::Result<()> {
    let client = Client::connect(broker).await?;
    let spec = TopicSpec::partitions(PARTITIONS).config("segment.messages", "2000").config("retention.ms", "-1");
    client.admin().create_topic(EVENTS, spec).await?;
    let spec = TopicSpec::partitions(OUTBOX_PARTITIONS).config("retention.ms", "-1");
    client.admin().create_topic(OUTBOX, spec).await?;
    client.admin().create_topic(ORDERS, TopicSpec::partitions(1).config("retention.ms", "-1")).await?;
    client.admin().create_topic(LEASES, TopicSpec::partitions(1).config("retention.ms", "-1")).await?;
    Ok(())
}
