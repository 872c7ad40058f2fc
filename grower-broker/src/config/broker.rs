//! What can be set for one broker, typed and with its defaults.
//!
//! A process that embeds the broker fills in a [`BrokerConfig`] itself; the daemon builds one from a file, the environment and
//! its flags.

use super::MetadataLimits;
use std::net::SocketAddr;
use std::path::{PathBuf, absolute};
use std::time::Duration;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// Everything a broker needs to know before it starts.
///
/// ```
/// use grower_broker::config::BrokerConfig;
///
/// let config = BrokerConfig { auto_create_topics: true, ..BrokerConfig::at("/var/lib/grower") };
/// assert!(config.check().is_ok());
/// assert_eq!(config.listen, None); // Reached from within the process only.
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Where everything is stored. Created if it is not there.
    pub data_dir: PathBuf,
    /// Where clients connect; none serves no sockets. Port 0 takes any free port.
    pub listen: Option<SocketAddr>,
    /// Where `/healthz`, `/readyz` and `/metrics` are served; none serves them nowhere. Answered is who asks for an
    /// address, for `localhost`, or for the host of `advertise`.
    pub http: Option<SocketAddr>,
    /// What clients are told to connect to, as `host:port`; none tells them `listen`.
    pub advertise: Option<String>,
    /// Which broker of its cluster this is. From 1.
    pub node_id: u32,
    /// Bytes that connections, requests and answers may take together. When they are used up, nothing
    /// more is read from sockets until some are free. It also bounds `max_connections` (five eighths of it at 64 KiB each)
    /// and `frame_bytes_max` (an eighth of it).
    pub memory: u64,
    /// Whether a topic that somebody produces to comes into being by that.
    pub auto_create_topics: bool,
    /// Open client connections; further ones are told that there are too many, and closed.
    pub max_connections: usize,
    /// The longest frame in bytes, of a request or an answer. Below 1 GiB.
    pub frame_bytes_max: usize,
    /// Requests of one connection that may be in work or unanswered; with more, it is not read from.
    pub requests_in_flight_max: usize,
    /// How long a new connection may take for its preface.
    pub handshake_timeout: Duration,
    /// How long a frame may take once its first byte has come and there is memory for it.
    pub frame_timeout: Duration,
    /// The time that a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// How long a peer may take for 64 KiB of what is there for it, or for all of it if that is less.
    pub write_timeout: Duration,
    /// Written bytes are flushed after this time even if nobody waits for it; one thread does that, partition by partition.
    pub flush_delay: Duration,
    /// Bytes of disk kept free from producers; none means the larger of 64 MiB and 2 % of the file system.
    pub disk_reserve_bytes: Option<u64>,
    /// Whoever is connected may have the broker make backups below this directory; none refuses them.
    pub backup_dir: Option<PathBuf>,
    /// The interval between checks for old segments when nothing else calls for it.
    pub retention_check: Duration,
    /// How long a group without members keeps its offsets.
    pub offsets_retention: Duration,
    /// The most bytes of batches in one answer to a fetch. Less than `frame_bytes_max`.
    pub fetch_bytes_max: usize,
    /// How log bytes get into a socket.
    pub fetch_zero_copy: ZeroCopy,
    /// How many topics and partitions there may be.
    pub limits: MetadataLimits,
}

/// Whether bytes go from log file to socket inside the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroCopy {
    /// Over a network, not over loopback: copying is faster there.
    #[default]
    Auto,
    /// Wherever there is a plain socket.
    Always,
    /// Nowhere.
    Never,
}

/// What an answer may need beside its batches.
const FETCH_ENVELOPE: usize = 64 * KIB;

impl BrokerConfig {
    /// A broker that keeps its data in `dir` and serves no sockets.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: dir.into(),
            listen: None,
            http: None,
            advertise: None,
            node_id: 1,
            memory: GIB as u64,
            auto_create_topics: false,
            max_connections: 10_000,
            frame_bytes_max: 100 * MIB,
            requests_in_flight_max: 256,
            handshake_timeout: Duration::from_secs(10),
            frame_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(600),
            write_timeout: Duration::from_secs(60),
            flush_delay: Duration::from_millis(5),
            disk_reserve_bytes: None,
            backup_dir: None,
            retention_check: Duration::from_secs(30),
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            fetch_bytes_max: 55 * MIB,
            fetch_zero_copy: ZeroCopy::default(),
            limits: MetadataLimits::default(),
        }
    }

    /// Checks what one value alone does not show.
    pub fn check(&self) -> Result<(), BrokerConfigError> {
        if self.data_dir.as_os_str().is_empty() {
            return Err(BrokerConfigError::NoDataDir);
        }
        // By the names alone: the file system of the backups may not answer. A link is found out by the backup itself.
        let lies_within = |dir: &PathBuf| Some(absolute(dir).ok()?.starts_with(absolute(&self.data_dir).ok()?));
        if let Some(backup_dir) = self.backup_dir.as_ref().filter(|dir| lies_within(dir) == Some(true)) {
            return Err(BrokerConfigError::BackupsInData { backup_dir: backup_dir.clone() });
        }
        if GIB <= self.frame_bytes_max {
            return Err(BrokerConfigError::FrameTooLong { frame_bytes_max: self.frame_bytes_max });
        }
        if self.frame_bytes_max < self.fetch_bytes_max.saturating_add(FETCH_ENVELOPE) {
            let (fetch_bytes_max, frame_bytes_max) = (self.fetch_bytes_max, self.frame_bytes_max);
            return Err(BrokerConfigError::FetchTooLong { fetch_bytes_max, frame_bytes_max });
        }
        match (self.listen, &self.advertise) {
            (Some(listen), None) if listen.ip().is_unspecified() => Err(BrokerConfigError::NoAdvertise { listen }),
            _ => Ok(()),
        }
    }
}

/// Values that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerConfigError {
    /// Nowhere to store anything.
    #[error("no data directory is set: name one with --data-dir DIR")]
    NoDataDir,
    /// A backup would contain the backups before it.
    #[error("backup.dir is {}, and must not lie in the data directory: choose a directory outside", backup_dir.display())]
    BackupsInData {
        /// As set.
        backup_dir: PathBuf,
    },
    /// The first four bytes of a connection could mean either protocol.
    #[error("network.frame_bytes_max is {frame_bytes_max}, and must be below 1GiB")]
    FrameTooLong {
        /// As set, in bytes.
        frame_bytes_max: usize,
    },
    /// A full answer would not fit its frame.
    #[error(
        "fetch.bytes_max is {fetch_bytes_max}, and must be at least 64KiB below network.frame_bytes_max, which is {frame_bytes_max}"
    )]
    FetchTooLong {
        /// As set, in bytes.
        fetch_bytes_max: usize,
        /// As set, in bytes.
        frame_bytes_max: usize,
    },
    /// Clients cannot connect to "any address".
    #[error("{listen} means every address of this machine: name one for clients with --advertise HOST:PORT")]
    NoAdvertise {
        /// As set.
        listen: SocketAddr,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_go_together() {
        assert_eq!(BrokerConfig::at("data").check(), Ok(()));
    }

    #[test]
    fn a_frame_is_never_taken_for_the_other_protocol() {
        let config = BrokerConfig { frame_bytes_max: GIB, ..BrokerConfig::at("data") };
        assert_eq!(config.check(), Err(BrokerConfigError::FrameTooLong { frame_bytes_max: GIB }));
    }

    #[test]
    fn a_full_answer_fits_its_frame() {
        let config = BrokerConfig { frame_bytes_max: 55 * MIB, ..BrokerConfig::at("data") };
        assert!(matches!(config.check(), Err(BrokerConfigError::FetchTooLong { .. })));
    }

    #[test]
    fn a_wildcard_address_is_never_what_clients_are_told() {
        let wildcard = BrokerConfig { listen: "[::]:9092".parse().ok(), ..BrokerConfig::at("data") };
        assert!(matches!(wildcard.check(), Err(BrokerConfigError::NoAdvertise { .. })));
        let named = BrokerConfig { advertise: Some("broker.example:9092".to_owned()), ..wildcard };
        assert_eq!(named.check(), Ok(()));
    }
}
