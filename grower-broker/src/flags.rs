//! The command line of the daemon, merged with config file and environment.

use crate::config::settings::{BrokerSettings, SettingsError};
use clap::{CommandFactory, Parser};
use std::path::PathBuf;

/// The reason why a command line is refused.
#[derive(Debug, thiserror::Error)]
pub enum FlagsError {
    /// A setting is invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A flag of clusters.
    #[error("{flag} is for clusters, which this version does not support yet: leave it out")]
    Cluster {
        /// The flag.
        flag: &'static str,
    },
}

/// A durable, append-only log broker: an acknowledged record is on the disk.
///
/// Flags win over environment variables (GROWER__SECTION__KEY, as in GROWER__BROKER__MEMORY=2GiB), and these over the
/// config file. --print-config shows every setting. GROWER_LOG or RUST_LOG sets the log level, such as debug or
/// grower_broker=trace; the default is info. Changes by `grower-cli broker alter` win over all of these, also after a
/// restart, until they are removed.
#[derive(Debug, Parser)]
#[command(name = "grower-broker", version, max_term_width = 120, args_override_self = true)]
pub struct Flags {
    /// The directory of all data; created if missing
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// A TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print the settings as a config file, and exit
    #[arg(long)]
    pub print_config: bool,

    /// The address that clients connect to; port 0 takes any free port [default: 127.0.0.1:9092]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,

    /// The address that serves health and metrics, or off [default: 127.0.0.1:9094]
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<String>,

    /// The address that clients are told to use, if it differs from --listen
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,

    /// The number of this broker in its cluster [default: 1]
    #[arg(long, value_name = "N")]
    node_id: Option<String>,

    /// Memory for requests, answers and state together [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,

    /// Create a topic when a client produces to it
    #[arg(long)]
    auto_create_topics: bool,

    /// The format of log lines: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,

    // Flags of clusters: hidden, and refused with an explanation.
    #[arg(long, hide = true)]
    peer_listen: Option<String>,
    #[arg(long, hide = true)]
    peers: Option<String>,
    #[arg(long, hide = true)]
    rack: Option<String>,
}

impl Flags {
    /// All settings, each from its strongest source.
    pub fn settings(&self) -> Result<BrokerSettings, FlagsError> {
        self.check_no_cluster()?;
        let mut settings = BrokerSettings::default();
        if let Some(path) = &self.config {
            settings.read_file(path)?;
        }
        let auto_create_topics = self.auto_create_topics.then(|| "true".to_owned());
        for (flag, key, value) in [
            ("--listen", "network.listen", &self.listen),
            ("--http", "network.http", &self.http),
            ("--advertise", "network.advertise", &self.advertise),
            ("--node-id", "broker.node_id", &self.node_id),
            ("--memory", "broker.memory", &self.memory),
            ("--auto-create-topics", "broker.auto_create_topics", &auto_create_topics),
            ("--log-format", "logging.format", &self.log_format),
        ] {
            if let Some(value) = value {
                settings.read_flag(flag, key, value)?;
            }
        }
        settings.read_env(std::env::vars_os())?; // After the flags, which win over an invalid variable.
        if let Some(dir) = &self.data_dir {
            settings.broker.data_dir.clone_from(dir); // Not as text: a path need not be Unicode.
        }
        Ok(settings)
    }

    /// The command line as data, for manual pages and completions.
    pub fn command() -> clap::Command {
        <Self as CommandFactory>::command()
    }

    fn check_no_cluster(&self) -> Result<(), FlagsError> {
        for (flag, value) in [("--peer-listen", &self.peer_listen), ("--peers", &self.peers), ("--rack", &self.rack)] {
            if value.is_some() {
                return Err(FlagsError::Cluster { flag });
            }
        }
        Ok(())
    }
}
