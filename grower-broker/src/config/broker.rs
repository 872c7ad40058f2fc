//! The typed settings of one broker, with defaults.
//!
//! A program that embeds the broker fills in a [`BrokerConfig`] itself; the daemon builds one from a file, the
//! environment and its flags.

use super::{MetadataLimits, ProducerLimits};
use std::net::SocketAddr;
use std::path::{PathBuf, absolute};
use std::time::Duration;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// The settings that a broker starts with.
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
    /// The directory of all data. Created if missing.
    pub data_dir: PathBuf,
    /// The address that clients connect to; none serves no sockets. Port 0 takes any free port.
    pub listen: Option<SocketAddr>,
    /// The address that serves `/healthz`, `/readyz` and `/metrics`, if any. Requests are answered for an address, for
    /// `localhost`, and for the host of `advertise`.
    pub http: Option<SocketAddr>,
    /// The address that clients are told to use, as `host:port`; none tells them `listen`.
    pub advertise: Option<String>,
    /// The number of this broker in its cluster, from 1.
    pub node_id: u32,
    /// Memory for connections, requests and answers together, in bytes. When it is used up, the broker reads no more
    /// from sockets until some is free. It also bounds `max_connections` (five eighths of it at 64 KiB each) and
    /// `frame_bytes_max` (an eighth of it).
    pub memory: u64,
    /// Whether producing to an unknown topic creates it.
    pub auto_create_topics: bool,
    /// The most client connections; further ones are refused and closed.
    pub max_connections: usize,
    /// The longest frame in bytes, of a request or an answer. Below 1 GiB.
    pub frame_bytes_max: usize,
    /// The most unanswered requests of one connection; with more, the broker stops reading from it.
    pub requests_in_flight_max: usize,
    /// The time for a new connection to send its preface.
    pub handshake_timeout: Duration,
    /// The time for a frame to arrive, from its first byte on and once there is memory for it.
    pub frame_timeout: Duration,
    /// The time that a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// The time for a client to read 64 KiB of its answers, or all of them if they are less.
    pub write_timeout: Duration,
    /// The time after which written bytes are flushed without a waiter; one thread does that, partition by partition.
    pub flush_delay: Duration,
    /// Disk space that producers cannot use, in bytes; none means the larger of 64 MiB and 2 % of the file system.
    pub disk_reserve_bytes: Option<u64>,
    /// The directory below which clients may have the broker make backups; none refuses them.
    pub backup_dir: Option<PathBuf>,
    /// The interval between checks for old segments when nothing else calls for it.
    pub retention_check: Duration,
    /// The time that a group without members keeps its offsets.
    pub offsets_retention: Duration,
    /// The most bytes of batches in one answer to a fetch. Less than `frame_bytes_max`.
    pub fetch_bytes_max: usize,
    /// The way of log bytes into a socket.
    pub fetch_zero_copy: ZeroCopy,
    /// Limits on topics and partitions.
    pub limits: MetadataLimits,
    /// Limits on named producers.
    pub producers: ProducerLimits,
}

/// Whether bytes go from a log file to a socket inside the kernel.
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

/// The largest size of an answer without its batches.
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
            producers: ProducerLimits::default(),
        }
    }

    /// Checks that the values are consistent.
    pub fn check(&self) -> Result<(), BrokerConfigError> {
        if self.data_dir.as_os_str().is_empty() {
            return Err(BrokerConfigError::NoDataDir);
        }
        // Compares only the paths: the file system of the backups may not answer. The backup itself resolves links.
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

/// Inconsistent settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerConfigError {
    /// There is no data directory.
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
    fn the_defaults_are_consistent() {
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
