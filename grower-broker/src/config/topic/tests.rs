use super::*;
use insta::assert_snapshot;

fn set(key: &str, value: &str) -> Result<TopicConfig, ConfigError> {
    TopicConfig::parse(&[(key.to_owned(), value.to_owned())])
}

fn refusal(key: &str, value: &str) -> String {
    set(key, value).unwrap_err().to_string()
}

#[test]
fn defaults_are_those_of_the_design() {
    let lines: Vec<_> = TopicConfig::default()
        .describe(&BTreeMap::new())
        .into_iter()
        .map(|entry| format!("{}={}", entry.key, entry.value))
        .collect();
    assert_snapshot!(lines.join("\n"), @"
    cleanup.policy=delete
    delete.retention.ms=1d
    flush=fsync
    index.interval.bytes=4KiB
    max.message.bytes=1MiB
    message.timestamp.after.max.ms=1h
    min.cleanable.dirty.ratio=0.5
    min.compaction.lag.ms=0
    retention.bytes=-1
    retention.messages=-1
    retention.ms=5d
    segment.bytes=1GiB
    segment.messages=-1
    segment.ms=1d
    ");
}

#[test]
fn described_values_can_be_set_again() {
    let described = TopicConfig::default().describe(&BTreeMap::new());
    let configs: Vec<_> = described.into_iter().map(|entry| (entry.key, entry.value)).collect();
    assert_eq!(TopicConfig::parse(&configs), Ok(TopicConfig::default()));
}

#[test]
fn sizes_and_durations_accept_units() {
    assert_eq!(set("segment.bytes", "64MiB").unwrap().segment_bytes, 64 << 20);
    assert_eq!(set("segment.bytes", "1048576").unwrap().segment_bytes, 1 << 20);
    assert_eq!(set("retention.ms", "5d").unwrap().retention_ms, Some(432_000_000));
    assert_eq!(set("retention.ms", "1h 30m").unwrap().retention_ms, Some(5_400_000));
    assert_eq!(set("retention.ms", "250").unwrap().retention_ms, Some(250));
    assert_eq!(set("retention.ms", "-1").unwrap().retention_ms, None);
    assert_eq!(set("index.interval.bytes", "0").unwrap().index_interval_bytes, 0);
    assert_eq!(set("cleanup.policy", "delete,compact").unwrap().cleanup_policy, CleanupPolicy::CompactDelete);
    assert_eq!(set("min.cleanable.dirty.ratio", "0.25").unwrap().min_cleanable_dirty_permille, 250);
    assert_eq!(set("flush", "os").unwrap().flush, FlushPolicy::Os);
}

#[test]
fn hostile_values_are_refused() {
    let keys =
        ["segment.bytes", "segment.messages", "segment.ms", "retention.ms", "retention.bytes", "max.message.bytes"];
    let values =
        ["-2", "0", "9e18", "99999999999999999999", "", "NaN", "1 parsec", "9999999PiB", "18446744073709551615"];
    for key in keys {
        for value in values {
            assert!(set(key, value).is_err(), "{key}={value}");
        }
    }
    for ratio in ["-0.1", "1.1", "NaN", "inf", "half", ""] {
        assert!(set("min.cleanable.dirty.ratio", ratio).is_err(), "{ratio}");
    }
    assert!(set("segment.bytes", "-1").is_err());
    assert!(set("segment.ms", &" 1s".repeat(1_000)).is_err());
}

#[test]
fn a_refused_value_is_named_with_the_accepted_values() {
    assert_snapshot!(refusal("retention.ms", "-2"), @r#"retention.ms="-2" is not allowed: it takes a duration from 1ms to 100 years, such as 5d; -1 for no limit"#);
    assert_snapshot!(refusal("cleanup.policy", "compress"), @r#"cleanup.policy="compress" is not allowed: it takes delete, compact, or compact,delete for both"#);
    assert_snapshot!(refusal("flush", &"x".repeat(1000)), @r#"flush="xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.." is not allowed: it takes fsync, or os to let acks run ahead of the disk"#);
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest() {
    assert_snapshot!(refusal("segment.byte", "1"), @r#"there is no topic config "segment.byte" (did you mean segment.bytes?); known are cleanup.policy, delete.retention.ms, flush, index.interval.bytes, max.message.bytes, message.timestamp.after.max.ms, min.cleanable.dirty.ratio, min.compaction.lag.ms, retention.bytes, retention.messages, retention.ms, segment.bytes, segment.messages, segment.ms"#);
    assert_snapshot!(refusal("compression", "1"), @r#"there is no topic config "compression"; known are cleanup.policy, delete.retention.ms, flush, index.interval.bytes, max.message.bytes, message.timestamp.after.max.ms, min.cleanable.dirty.ratio, min.compaction.lag.ms, retention.bytes, retention.messages, retention.ms, segment.bytes, segment.messages, segment.ms"#);
}

#[test]
fn a_key_set_twice_is_refused() {
    let twice = [("flush".to_owned(), "os".to_owned()), ("flush".to_owned(), "fsync".to_owned())];
    assert_snapshot!(TopicConfig::parse(&twice).unwrap_err(), @"flush is set more than once");
}

#[test]
fn a_stored_config_of_a_later_version_does_not_hide_the_others() {
    let stored = BTreeMap::from([("flush".to_owned(), "os".to_owned()), ("of.the.future".to_owned(), "7".to_owned())]);
    let config = TopicConfig::from_stored(&stored);
    assert_eq!(config.flush, FlushPolicy::Os);
    let sources: Vec<_> = config.describe(&stored).into_iter().filter(|e| e.source == ConfigSource::Topic).collect();
    assert_eq!(sources.len(), 1);
}
