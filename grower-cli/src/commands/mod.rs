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

use crate::arguments::{Arguments, Command};
use crate::session::Session;

/// Runs a command to its end.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Completions(command) => command.run(),
        Command::Log(command) => command.run(&arguments.common),
        Command::Backup(command) => command.run(&arguments.common).await,
        Command::Restore(command) => command.run(&arguments.common),
        Command::Demo(command) => command.run(&arguments.common).await,
        Command::Doctor(command) => command.run(&arguments.common).await,
        command => {
            let session = match command.may_be_first() {
                true => Session::open_or_create(&arguments.common).await?,
                false => Session::open(&arguments.common).await?,
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
