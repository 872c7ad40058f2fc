//! The commands, one file each: its arguments with their help, and what it does.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod broker;
pub(crate) mod completions;
pub(crate) mod consume;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod group;
pub(crate) mod log;
pub(crate) mod produce;
pub(crate) mod restore;
pub(crate) mod top;
pub(crate) mod topic;
pub(crate) mod why;

use crate::options::GlobalOptions;
use crate::session::Session;
use clap::Subcommand;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the log at work, step by step, on a broker inside this process
    Demo(demo::Demo),
    /// Create, list, describe, alter, grow, trim and delete topics
    #[command(subcommand)]
    Topic(topic::Topic),
    /// Write records: one a line, from a file or from standard input
    Produce(produce::Produce),
    /// Read records
    Consume(consume::Consume),
    /// List, describe, reset and delete consumer groups
    #[command(subcommand)]
    Group(group::Group),
    /// Explain why a topic or a group is stuck or lags
    Why(why::Why),
    /// Watch a broker: topics with their rates, groups with their lag, syncs, memory, disk
    Top(top::Top),
    /// Check the machine and the broker, and advise what to change
    Doctor(doctor::Doctor),
    /// Describe the broker, list and change its settings
    #[command(subcommand)]
    Broker(broker::Broker),
    /// Inspect, verify and repair a data directory offline
    #[command(subcommand)]
    Log(log::Log),
    /// Make, list and verify backups
    Backup(backup::Backup),
    /// Restore a backup into a new data directory
    Restore(restore::Restore),
    /// Measure a broker, with a progress bar and a latency table
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Print a script that completes grower-cli's commands in a shell
    Completions(completions::Completions),
}

/// Runs a command to its end. `parser` is the whole command line, for the completion scripts.
pub(crate) async fn run(
    command: Command,
    options: &GlobalOptions,
    parser: fn() -> clap::Command,
) -> anyhow::Result<()> {
    match command {
        Command::Completions(command) => command.run(parser()),
        Command::Log(command) => command.run(options),
        Command::Backup(command) => command.run(options).await,
        Command::Restore(command) => command.run(options),
        Command::Demo(command) => command.run(options).await,
        Command::Doctor(command) => command.run(options).await,
        command => {
            let session = match command.may_be_first() {
                true => Session::open_or_create(options).await?,
                false => Session::open(options).await?,
            };
            let result = run_with(&session, command).await;
            let closed = session.close().await;
            result.and(closed)
        }
    }
}

impl Command {
    /// Whether it has work to do where no broker ever was. For every other command such a directory is a wrong name.
    fn may_be_first(&self) -> bool {
        match self {
            Self::Topic(topic::Topic::Create(_)) | Self::Broker(broker::Broker::Alter(_)) => true,
            Self::Bench(bench) => !matches!(bench, bench::Bench::Consume(_)),
            _ => false,
        }
    }
}

/// The commands that need a broker.
async fn run_with(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Topic(command) => command.run(session).await,
        Command::Produce(command) => command.run(session).await,
        Command::Consume(command) => command.run(session).await,
        Command::Group(command) => command.run(session).await,
        Command::Top(command) => command.run(session).await,
        Command::Why(command) => command.run(session).await,
        Command::Broker(command) => command.run(session).await,
        Command::Bench(command) => command.run(session).await,
        // They came before.
        Command::Completions(_)
        | Command::Log(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Demo(_)
        | Command::Doctor(_) => Ok(()),
    }
}
