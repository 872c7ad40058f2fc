//! What stands before and around every command.

use crate::commands::{
    backup, bench, broker, completions, consume, demo, doctor, group, log, produce, restore, top, topic, why,
};
use crate::output::escaped;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// The command line of the Grower log broker
///
/// Talks to a running broker (--broker), or starts one inside this process on a data directory (--embedded).
#[derive(Debug, Parser)]
#[command(name = "grower-cli", version, max_term_width = 110)]
#[command(after_help = "Examples:
  grower-cli demo                                      the whole story, nothing else needed
  grower-cli topic create events:3                     a topic with 3 partitions
  grower-cli produce events big.log                    one record a line
  grower-cli consume events --until-end                the lines again
  grower-cli --embedded ./data consume events          the same without a daemon

Exit status: 0 done, 1 failed (standard error says why and what to do), 2 wrong usage.")]
pub struct Arguments {
    /// Where the broker is and how to print.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Common {
    /// Brokers to connect to; one that answers is enough
    #[arg(
        long,
        global = true,
        env = "GROWER_BROKER",
        value_name = "HOST:PORT[,...]",
        default_value = DEFAULT_BROKER
    )]
    #[arg(hide_env_values = true)]
    pub broker: String,
    /// Start a broker inside this process, on this data directory, instead of connecting to one
    #[arg(long, global = true, value_name = "DIR")]
    pub embedded: Option<PathBuf>,
    /// A table for people, or JSON for programs: one object or array a line
    #[arg(long, global = true, value_name = "FORM", default_value = "table")]
    pub output: Output,
    /// How long a request to the broker may take
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub timeout: Duration,
    /// What is wrong with `GROWER_BROKER`, if nothing stronger says where the broker is.
    #[arg(skip)]
    pub(crate) broker_fault: Option<String>,
}

/// Where a broker is if nothing says it.
const DEFAULT_BROKER: &str = "127.0.0.1:9092";

impl Arguments {
    /// Reads the command line and the environment. The error is what to print in place of running a command: help, a
    /// version, or why the command line makes no sense.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches()?;
        let mut arguments = Self::from_arg_matches(&matches)?;
        let source = matches.value_source("broker");
        if let Err(fault) = arguments.common.check_broker(source == Some(ValueSource::EnvVariable)) {
            let broker = escaped(&arguments.common.broker);
            let text = format!("invalid value '{broker}' for '--broker <HOST:PORT[,...]>': {fault}");
            return Err(Self::command().error(ErrorKind::ValueValidation, text));
        }
        Ok(arguments)
    }
}

impl Common {
    /// Clap would check a variable even where a flag beats it, or where nobody needs a broker. So it is checked here: a
    /// flag is right or refused, an empty variable is none, and a wrong one is told to those who need it.
    fn check_broker(&mut self, from_variable: bool) -> Result<(), String> {
        if from_variable && self.broker.trim().is_empty() {
            self.broker = DEFAULT_BROKER.to_owned();
        }
        match check_addresses(&self.broker) {
            Err(fault) if from_variable => self.broker_fault = Some(format!("GROWER_BROKER: {fault}")),
            result => return result,
        }
        Ok(())
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

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

/// Reads `30s`, `5m`, `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as in 500ms, 30s or 5m"))
}

/// Reads a time to wait, which cannot be none at all.
fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("the timeout must be above zero; write it as in 500ms, 30s or 5m".to_owned()),
        time => Ok(time),
    }
}

/// A combination of arguments that makes no sense. Wrong usage.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUsage(pub(crate) &'static str);

/// Checks `HOST:PORT[,...]`.
fn check_addresses(text: &str) -> Result<(), String> {
    let is_address = |text: &str| match text.rsplit_once(':') {
        Some((host, port)) => !host.is_empty() && port.parse::<u16>().is_ok(),
        None => false,
    };
    let mut addresses = text.split(',').map(str::trim).filter(|address| !address.is_empty()).peekable();
    if addresses.peek().is_none() {
        return Err("no address: write HOST:PORT, such as localhost:9092".to_owned());
    }
    match addresses.find(|address| !is_address(address)) {
        Some(wrong) => Err(format!("{wrong:?} is not an address: write HOST:PORT, such as localhost:9092")),
        None => Ok(()),
    }
}

/// Reads `K=V`; the value may be empty and may contain `=`.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::check_addresses;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for sound in ["localhost:9092", "127.0.0.1:1, [::1]:9092", "a:1,b:2,"] {
            assert_eq!(check_addresses(sound), Ok(()), "{sound}");
        }
        for wrong in ["", " , ", "localhost", "localhost:", ":9092", "a:1,b", "a:65536", "http://a"] {
            assert!(check_addresses(wrong).is_err(), "{wrong}");
        }
    }
}
