//! The table of settings, by section: description, accepted values, and parser.

use super::LogFormat;
use super::key::{SettingKey, ValueKind};
use crate::config::ZeroCopy;
use crate::config::text::{bytes, count, millis, show_bytes, show_millis};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// Far from where sums overflow.
const LARGE: u64 = 1 << 60;
const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;
const SECOND: u64 = 1_000;
const DAY: u64 = 86_400_000;
/// More would be a mistake: 16 million connections or topics.
const MANY: u64 = 1 << 24;

const OFF: &str = "off";
const AUTO: &str = "auto";

pub(super) const KEYS: [SettingKey; 28] = [
    SettingKey {
        name: "broker.data_dir",
        about: "The directory of all data",
        accepts: "a directory; created if missing",
        kind: ValueKind::Text,
        live: false,
        set: |to, text| (!text.is_empty()).then(|| to.broker.data_dir = PathBuf::from(text)),
        show: |of| Some(of.broker.data_dir.display().to_string()).filter(|dir| !dir.is_empty()),
    },
    SettingKey {
        name: "broker.node_id",
        about: "The number of this broker in its cluster",
        accepts: "a number from 1 to 2147483647",
        kind: ValueKind::Count,
        live: false,
        set: |to, text| put(&mut to.broker.node_id, count(text, 1..=i32::MAX as u64)),
        show: |of| Some(of.broker.node_id.to_string()),
    },
    SettingKey {
        name: "broker.memory",
        about: "Memory for connections (64KiB each, at most five eighths), requests (at most an eighth each) and answers",
        accepts: "a size from 16MiB, such as 1GiB",
        kind: ValueKind::Measure,
        live: false,
        set: |to, text| put(&mut to.broker.memory, bytes(text, 16 * MIB..=LARGE)),
        show: |of| Some(show_bytes(of.broker.memory)),
    },
    SettingKey {
        name: "broker.auto_create_topics",
        about: "Whether producing to an unknown topic creates it",
        accepts: "true or false",
        kind: ValueKind::Switch,
        live: true,
        set: |to, text| put(&mut to.broker.auto_create_topics, text.parse::<bool>().ok()),
        show: |of| Some(of.broker.auto_create_topics.to_string()),
    },
    SettingKey {
        name: "network.listen",
        about: "The address that clients connect to",
        accepts: "ADDRESS:PORT, such as 127.0.0.1:9092; port 0 takes any free port",
        kind: ValueKind::Text,
        live: false,
        set: |to, text| put(&mut to.broker.listen, text.parse::<SocketAddr>().ok()),
        show: |of| of.broker.listen.map(|address| address.to_string()),
    },
    SettingKey {
        name: "network.http",
        about: "The address that serves health and metrics",
        accepts: "ADDRESS:PORT, such as 127.0.0.1:9094; off for none",
        kind: ValueKind::Text,
        live: false,
        set: |to, text| {
            let address = if text == OFF { None } else { Some(text.parse().ok()?) };
            put(&mut to.broker.http, Some(address))
        },
        show: |of| Some(of.broker.http.map_or(OFF.to_owned(), |address| address.to_string())),
    },
    SettingKey {
        name: "network.advertise",
        about: "The address that clients are told to use, if it differs from network.listen",
        accepts: "HOST:PORT, such as broker-1.example:9092",
        kind: ValueKind::Text,
        live: false,
        set: |to, text| put(&mut to.broker.advertise, is_host_and_port(text).then(|| text.to_owned())),
        show: |of| of.broker.advertise.clone(),
    },
    SettingKey {
        name: "network.max_connections",
        about: "The most client connections; further ones are refused and closed",
        accepts: "a number from 1 to 16777216",
        kind: ValueKind::Count,
        live: false,
        set: |to, text| put(&mut to.broker.max_connections, count(text, 1..=MANY)),
        show: |of| Some(of.broker.max_connections.to_string()),
    },
    SettingKey {
        name: "network.frame_bytes_max",
        about: "The longest request or answer",
        accepts: "a size from 1MiB to below 1GiB, such as 100MiB",
        kind: ValueKind::Measure,
        live: false,
        set: |to, text| put(&mut to.broker.frame_bytes_max, bytes(text, MIB..=GIB - 1)),
        show: |of| Some(show_bytes(of.broker.frame_bytes_max as u64)),
    },
    SettingKey {
        name: "network.requests_in_flight_max",
        about: "The most unanswered requests of one connection; with more, the broker stops reading from it",
        accepts: "a number from 1 to 65536",
        kind: ValueKind::Count,
        live: false,
        set: |to, text| put(&mut to.broker.requests_in_flight_max, count(text, 1..=65_536)),
        show: |of| Some(of.broker.requests_in_flight_max.to_string()),
    },
    SettingKey {
        name: "network.handshake_timeout",
        about: "The time for a new connection to identify its protocol",
        accepts: "a duration from 1ms to 1d, such as 10s",
        kind: ValueKind::Measure,
        live: false,
        set: |to, text| put(&mut to.broker.handshake_timeout, duration(text, 1..=DAY)),
        show: |of| Some(show_duration(of.broker.handshake_timeout)),
    },
    SettingKey {
        name: "network.frame_timeout",
        about: "The time for a request to arrive, from its first byte on and once there is memory for it",
        accepts: "a duration from 1ms to 1d, such as 1m",
        kind: ValueKind::Measure,
        live: false,
        set: |to, text| put(&mut to.broker.frame_timeout, duration(text, 1..=DAY)),
        show: |of| Some(show_duration(of.broker.frame_timeout)),
    },
    SettingKey {
        name: "network.idle_timeout",
        about: "The time that a connection may stay open without a request",
        accepts: "a duration from 1s to 1d, such as 10m",
        kind: ValueKind::Measure,
        live: false,
        set: |to, text| put(&mut to.broker.idle_timeout, duration(text, SECOND..=DAY)),
        show: |of| Some(show_duration(of.broker.idle_timeout)),
    },
    SettingKey {
        name: "network.write_timeout",
        about: "The time for a client to read 64 KiB of its answers, or all of them if they are less; then it is disconnected",
        accepts: "a duration from 1ms to 1d, such as 1m",
        kind: ValueKind::Measure,
        live: false,
        set: |to, text| put(&mut to.broker.write_timeout, duration(text, 1..=DAY)),
        show: |of| Some(show_duration(of.broker.write_timeout)),
    },
    SettingKey {
        name: "disk.reserve_bytes",
        about: "Disk space that producers cannot use, so that deletes and retention work on a full disk",
        accepts: "a size, such as 1GiB; auto for 2 % of the file system and at least 64MiB",
        kind: ValueKind::Measure,
        live: true,
        set: |to, text| {
            let reserve = if text == AUTO { None } else { Some(bytes(text, 0..=LARGE)?) };
            put(&mut to.broker.disk_reserve_bytes, Some(reserve))
        },
        show: |of| Some(of.broker.disk_reserve_bytes.map_or(AUTO.to_owned(), show_bytes)),
    },
    SettingKey {
        name: "disk.flush_delay",
        about: "The time after which records are flushed that no producer waits for",
        accepts: "a duration up to 1m, such as 5ms",
        kind: ValueKind::Measure,
        live: true,
        set: |to, text| put(&mut to.broker.flush_delay, duration(text, 0..=60 * SECOND)),
        show: |of| Some(show_duration(of.broker.flush_delay)),
    },
    SettingKey {
        name: "disk.retention_check",
        about: "The interval between checks for old segments",
        accepts: "a duration from 10ms to 1d, such as 30s",
        kind: ValueKind::Measure,
        live: true,
        set: |to, text| put(&mut to.broker.retention_check, duration(text, 10..=DAY)),
        show: |of| Some(show_duration(of.broker.retention_check)),
    },
    SettingKey {
        name: "backup.dir",
        about: "The directory below which the running broker makes backups on request; it lies outside broker.data_dir",
        accepts: "a directory; without one such backups are refused",
        kind: ValueKind::Text,
        // Otherwise any client could make the broker write anywhere.
        live: false,
        set: |to, text| (!text.is_empty()).then(|| to.broker.backup_dir = Some(PathBuf::from(text))),
        show: |of| of.broker.backup_dir.as_ref().map(|dir| dir.display().to_string()),
    },
    SettingKey {
        name: "fetch.bytes_max",
        about: "The most bytes of records in one answer; at least 64KiB below network.frame_bytes_max",
        accepts: "a size from 64KiB to below 1GiB, such as 55MiB",
        kind: ValueKind::Measure,
        live: true,
        set: |to, text| put(&mut to.broker.fetch_bytes_max, bytes(text, 64 * KIB..=GIB - 1)),
        show: |of| Some(show_bytes(of.broker.fetch_bytes_max as u64)),
    },
    SettingKey {
        name: "fetch.zero_copy",
        about: "Whether records go from file to socket inside the kernel; auto does so except over loopback",
        accepts: "auto, always or never",
        kind: ValueKind::Text,
        live: false,
        set: |to, text| {
            to.broker.fetch_zero_copy = match text {
                AUTO => ZeroCopy::Auto,
                "always" => ZeroCopy::Always,
                "never" => ZeroCopy::Never,
                _ => return None,
            };
            Some(())
        },
        show: |of| {
            let text = match of.broker.fetch_zero_copy {
                ZeroCopy::Auto => AUTO,
                ZeroCopy::Always => "always",
                ZeroCopy::Never => "never",
            };
            Some(text.to_owned())
        },
    },
    SettingKey {
        name: "groups.offsets_retention",
        about: "The time that a consumer group without members keeps its offsets",
        accepts: "a duration from 1s to 3650d, such as 7d",
        kind: ValueKind::Measure,
        live: true,
        set: |to, text| put(&mut to.broker.offsets_retention, duration(text, SECOND..=3650 * DAY)),
        show: |of| Some(show_duration(of.broker.offsets_retention)),
    },
    SettingKey {
        name: "producers.named_max",
        about: "The most named producers; a claim of another name is refused",
        accepts: "a number from 0 to 16777216",
        kind: ValueKind::Count,
        live: true,
        set: |to, text| put(&mut to.broker.producers.named, count(text, 0..=MANY)),
        show: |of| Some(of.broker.producers.named.to_string()),
    },
    SettingKey {
        name: "producers.named_retention",
        about: "The time that a named producer is kept after its last claim or batch",
        accepts: "a duration from 1s to 3650d, such as 7d",
        kind: ValueKind::Measure,
        live: true,
        set: |to, text| put(&mut to.broker.producers.named_retention, duration(text, SECOND..=3650 * DAY)),
        show: |of| Some(show_duration(of.broker.producers.named_retention)),
    },
    SettingKey {
        name: "metadata.topics_max",
        about: "The most topics",
        accepts: "a number from 1 to 16777216",
        kind: ValueKind::Count,
        live: true,
        set: |to, text| put(&mut to.broker.limits.topics, count(text, 1..=MANY)),
        show: |of| Some(of.broker.limits.topics.to_string()),
    },
    SettingKey {
        name: "metadata.partitions_max",
        about: "The most partitions of all topics together",
        accepts: "a number from 1 to 16777216",
        kind: ValueKind::Count,
        live: true,
        set: |to, text| put(&mut to.broker.limits.partitions, count(text, 1..=MANY)),
        show: |of| Some(of.broker.limits.partitions.to_string()),
    },
    SettingKey {
        name: "metadata.partitions_per_topic_max",
        about: "The most partitions of one topic",
        accepts: "a number from 1 to 16777216",
        kind: ValueKind::Count,
        live: true,
        set: |to, text| put(&mut to.broker.limits.partitions_per_topic, count(text, 1..=MANY)),
        show: |of| Some(of.broker.limits.partitions_per_topic.to_string()),
    },
    SettingKey {
        name: "logging.format",
        about: "The format of log lines",
        accepts: "text or json",
        kind: ValueKind::Text,
        live: false,
        set: |to, text| {
            to.log_format = match text {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return None,
            };
            Some(())
        },
        show: |of| {
            let text = match of.log_format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            };
            Some(text.to_owned())
        },
    },
    SettingKey {
        name: "logging.level",
        about: "The level of log lines",
        accepts: "off, error, warn, info, debug or trace, also by module as in info,grower_broker::group=debug",
        kind: ValueKind::Text,
        live: true,
        set: |to, text| {
            let level = text.split(',').all(is_level).then(|| text.to_owned());
            put(&mut to.log_level, level)
        },
        show: |of| Some(of.log_level.clone()),
    },
];

/// Stores a parsed value, if it is valid and fits.
fn put<T, Field>(field: &mut Field, value: Option<T>) -> Option<()>
where
    Field: TryFrom<T>,
{
    *field = Field::try_from(value?).ok()?;
    Some(())
}

fn duration(text: &str, allowed: RangeInclusive<u64>) -> Option<Duration> {
    millis(text, allowed).map(Duration::from_millis)
}

fn show_duration(duration: Duration) -> String {
    show_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Whether it is `LEVEL` or `MODULE=LEVEL`. A module alone would be a filter too, but is more likely a mistyped level.
fn is_level(directive: &str) -> bool {
    let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
    level.trim().parse::<LevelFilter>().is_ok()
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let plain = |c: char| c.is_ascii_graphic() && !"/@\"'\\,".contains(c);
        !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}
