//! The status and the settings of a broker.

use crate::ids::{NodeId, Timestamp, TopicId};
use serde::{Deserialize, Serialize};

/// Describes the status of a broker at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerDescription {
    /// The broker's id.
    pub node: NodeId,
    /// The broker's version.
    pub version: String,
    /// The current time of the broker's clock.
    pub now: Timestamp,
    /// The time since it began to serve.
    pub uptime_ms: u64,
    /// The number of open client connections.
    pub connections: u64,
    /// The used part of the memory budget in bytes.
    pub memory_used: u64,
    /// The memory budget in bytes.
    pub memory_budget: u64,
    /// The number of fsyncs and the latency of recent ones.
    pub fsync: FsyncDescription,
    /// The volume of the data directory; none if the operating system does not report it.
    pub disk: Option<DiskDescription>,
    /// The traffic of every topic, including internal ones, sorted by id.
    pub topics: Vec<TopicTraffic>,
}

/// The number and the latency of fsyncs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsyncDescription {
    /// The number of fsyncs since the start.
    pub count: u64,
    /// The median latency of recent fsyncs.
    pub p50_micros: u64,
    /// The 99th percentile of the latency of recent fsyncs.
    pub p99_micros: u64,
}

/// The volume of the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskDescription {
    /// The size of the volume in bytes.
    pub total: u64,
    /// The free space in bytes.
    pub free: u64,
    /// The free space in bytes below which the broker refuses producers.
    pub reserve: u64,
    /// The decrease of `free` over the last observed time; none until enough time has passed since the start.
    pub used_up: Option<UsedUp>,
}

/// A change of free space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedUp {
    /// The decrease in bytes; negative if free space grew.
    pub bytes: i64,
    /// The duration of the change.
    pub over_ms: u64,
}

/// The traffic of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicTraffic {
    /// The topic.
    pub topic: TopicId,
    /// The traffic since the broker started.
    pub total: Traffic,
    /// The traffic of the last `recent_ms`.
    pub recent: Traffic,
    /// The duration of `recent`: a minute, or less after a start.
    pub recent_ms: u64,
}

/// Counts of records and of batch bytes, in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// The records appended.
    pub records_in: u64,
    /// The bytes appended.
    pub bytes_in: u64,
    /// The records sent to readers.
    pub records_out: u64,
    /// The bytes sent to readers.
    pub bytes_out: u64,
}

/// One setting of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingEntry {
    /// The key in the form `section.key`.
    pub key: String,
    /// The value in its text form; none if it is not set.
    pub value: Option<String>,
    /// The origin of the value.
    pub source: SettingSource,
    /// The value without the changes made at run time.
    pub started_with: Option<String>,
    /// Whether a change needs a restart of the broker.
    pub needs_restart: bool,
    /// The meaning of the setting.
    pub about: String,
    /// The values that the setting accepts.
    pub accepts: String,
}

/// The origin of a setting's value, in ascending order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SettingSource {
    /// The value is the default.
    Default,
    /// The value was given at the start, by the named file and line, variable or flag.
    Start(String),
    /// The value was changed at run time, for good.
    Changed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::{TOPIC, request_rows, rows};
    use crate::message::{Request, Response};

    #[test]
    fn messages_about_a_broker_keep_their_bytes() {
        let requests = [
            Request::DescribeBroker,
            Request::DescribeSettings,
            Request::AlterSettings { settings: vec![("logging.level".to_owned(), Some("debug".to_owned()))] },
        ];
        insta::assert_snapshot!(request_rows(&requests), @"
        DescribeBroker 15
        DescribeSettings 16
        AlterSettings 17010d6c6f6767696e672e6c6576656c01056465627567
        ");
        let responses =
            [Response::DescribeBroker(broker_description()), Response::DescribeSettings(vec![setting_entry()])];
        insta::assert_snapshot!(rows(&responses), @"
        DescribeBroker 0f010176020203040506070801090a0b01010c0107070707070707070707070707070707fb2c01fb2d01fb2e01fb2f010d0e0f1011
        DescribeSettings 1001016b01017601032d2d6b000101610163
        ");
    }

    fn broker_description() -> BrokerDescription {
        let traffic = |by| Traffic { records_in: by, bytes_in: by + 1, records_out: by + 2, bytes_out: by + 3 };
        BrokerDescription {
            node: NodeId::new(1),
            version: "v".to_owned(),
            now: Timestamp::from_millis(1),
            uptime_ms: 2,
            connections: 3,
            memory_used: 4,
            memory_budget: 5,
            fsync: FsyncDescription { count: 6, p50_micros: 7, p99_micros: 8 },
            disk: Some(DiskDescription {
                total: 9,
                free: 10,
                reserve: 11,
                used_up: Some(UsedUp { bytes: -1, over_ms: 12 }),
            }),
            topics: vec![TopicTraffic { topic: TOPIC, total: traffic(300), recent: traffic(13), recent_ms: 17 }],
        }
    }

    fn setting_entry() -> SettingEntry {
        SettingEntry {
            key: "k".to_owned(),
            value: Some("v".to_owned()),
            source: SettingSource::Start("--k".to_owned()),
            started_with: None,
            needs_restart: true,
            about: "a".to_owned(),
            accepts: "c".to_owned(),
        }
    }
}
