//! Options and values that several commands take: where the broker is, the form of the output, ack levels, `K=V` pairs.

use clap::{Args, ValueEnum};
use grower_client::{Acks, Codec};
use std::path::PathBuf;
use std::time::Duration;

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct GlobalOptions {
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
    pub output: OutputForm,
    /// How long a request to the broker may take
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub timeout: Duration,
    /// The error in `GROWER_BROKER`, unless a flag overrides the variable.
    #[arg(skip)]
    pub(crate) broker_fault: Option<String>,
}

/// The default address of the broker.
const DEFAULT_BROKER: &str = "127.0.0.1:9092";

impl GlobalOptions {
    /// Validates the addresses. Clap would check a variable even if a flag overrides it, or if the command needs no
    /// broker. Here a wrong flag is refused, an empty variable counts as unset, and a wrong one fails only commands
    /// that use it.
    pub(crate) fn check_broker(&mut self, from_variable: bool) -> Result<(), String> {
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

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputForm {
    /// A table for people.
    Table,
    /// JSON for programs.
    Json,
}

/// Names of ack levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AckLevel {
    /// Once it is sent
    None,
    /// Once the leader has written it
    Leader,
    /// Once it is fsynced on every in-sync replica
    All,
}

/// Names of codecs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<AckLevel> for Acks {
    fn from(name: AckLevel) -> Self {
        match name {
            AckLevel::None => Self::None,
            AckLevel::Leader => Self::Leader,
            AckLevel::All => Self::All,
        }
    }
}

impl From<Compression> for Codec {
    fn from(name: Compression) -> Self {
        match name {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
            Compression::Snappy => Self::Snappy,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd,
        }
    }
}

/// Reads `30s`, `5m`, `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as in 500ms, 30s or 5m"))
}

/// Reads a time to wait, above zero.
fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("the timeout must be above zero; write it as in 500ms, 30s or 5m".to_owned()),
        time => Ok(time),
    }
}

/// A combination of arguments that is wrong usage.
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
