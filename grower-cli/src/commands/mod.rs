//! The commands, one file each, with its arguments, their help, and its work. No command names another one.

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
pub(crate) mod producer;
pub(crate) mod restore;
pub(crate) mod top;
pub(crate) mod topic;
pub(crate) mod why;

use crate::options::GlobalOptions;
use crate::session::Session;
use clap::Subcommand;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Show the log at work, step by step, on a broker inside this process
    Demo(demo::DemoCommand),
    /// Create, list, describe, alter, grow, trim and delete topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Write records: one a line, from a file or from standard input
    Produce(produce::ProduceCommand),
    /// Read records
    Consume(consume::ConsumeCommand),
    /// List, describe, reset and delete consumer groups
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// List, describe and delete named producers
    #[command(subcommand)]
    Producer(producer::ProducerCommand),
    /// Explain why a topic or a group is stuck or lags
    Why(why::WhyCommand),
    /// Watch a broker: topics with their rates, groups with their lag, syncs, memory, disk
    Top(top::TopCommand),
    /// Check the machine and the broker, and advise what to change
    Doctor(doctor::DoctorCommand),
    /// Describe the broker, list and change its settings
    #[command(subcommand)]
    Broker(broker::BrokerCommand),
    /// Inspect, verify and repair a data directory offline
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Make, list and verify backups
    Backup(backup::BackupCommand),
    /// Restore a backup into a new data directory
    Restore(restore::RestoreCommand),
    /// Measure a broker, with a progress bar and a latency table
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Print a script that completes grower-cli's commands in a shell
    Completions(completions::CompletionsCommand),
}

/// Runs a command to its end. `parser` is the whole command line, for the completion scripts.
pub(crate) async fn run(
    command: CliCommand,
    options: &GlobalOptions,
    parser: fn() -> clap::Command,
) -> anyhow::Result<()> {
    match command {
        CliCommand::Completions(command) => command.run(parser()),
        CliCommand::Log(command) => command.run(options),
        CliCommand::Backup(command) => command.run(options).await,
        CliCommand::Restore(command) => command.run(options),
        CliCommand::Demo(command) => command.run(options).await,
        CliCommand::Doctor(command) => command.run(options).await,
        command => {
            let session = match command.may_create_data_dir() {
                true => Session::open_or_create(options).await?,
                false => Session::open(options).await?,
            };
            let result = run_with(&session, command).await;
            let closed = session.close().await;
            result.and(closed)
        }
    }
}

impl CliCommand {
    /// Whether the command may create a data directory. Every other command refuses a missing one as a wrong name.
    fn may_create_data_dir(&self) -> bool {
        match self {
            Self::Topic(topic::TopicCommand::Create(_)) | Self::Broker(broker::BrokerCommand::Alter(_)) => true,
            Self::Bench(bench) => !matches!(bench, bench::BenchCommand::Consume(_)),
            _ => false,
        }
    }
}

/// Runs a command that needs a broker.
async fn run_with(session: &Session, command: CliCommand) -> anyhow::Result<()> {
    match command {
        CliCommand::Topic(command) => command.run(session).await,
        CliCommand::Produce(command) => command.run(session).await,
        CliCommand::Consume(command) => command.run(session).await,
        CliCommand::Group(command) => command.run(session).await,
        CliCommand::Producer(command) => command.run(session).await,
        CliCommand::Top(command) => command.run(session).await,
        CliCommand::Why(command) => command.run(session).await,
        CliCommand::Broker(command) => command.run(session).await,
        CliCommand::Bench(command) => command.run(session).await,
        // `run` handles these.
        CliCommand::Completions(_)
        | CliCommand::Log(_)
        | CliCommand::Backup(_)
        | CliCommand::Restore(_)
        | CliCommand::Demo(_)
        | CliCommand::Doctor(_) => Ok(()),
    }
}
