use super::*;

fn from_toml(text: &str) -> Result<BrokerSettings, String> {
    let mut settings = BrokerSettings::default();
    settings.read_text(Path::new("grower.toml"), text).map_err(|error| error.to_string())?;
    Ok(settings)
}

fn from_env(variables: &[(&str, &str)]) -> Result<BrokerSettings, String> {
    let mut settings = BrokerSettings::default();
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    settings.read_env(variables).map_err(|error| error.to_string())?;
    Ok(settings)
}

#[test]
fn printed_settings_can_be_read_back() {
    assert_eq!(from_toml(&BrokerSettings::default().to_toml()), Ok(BrokerSettings::default()));
    let mut settings = BrokerSettings::default();
    for (key, value) in [
        ("broker.data_dir", "/srv/\"odd\" \\ dir"),
        ("broker.node_id", "7"),
        ("broker.memory", "1500MB"),
        ("broker.auto_create_topics", "true"),
        ("network.listen", "[::1]:0"),
        ("network.http", "off"),
        ("network.advertise", "[2001:db8::1]:9092"),
        ("network.idle_timeout", "1h 30m"),
        ("disk.reserve_bytes", "0"),
        ("disk.flush_delay", "0"),
        ("fetch.zero_copy", "never"),
        ("metadata.topics_max", "3"),
        ("logging.format", "json"),
    ] {
        settings.read_flag("--test", key, value).unwrap();
    }
    assert_ne!(settings, BrokerSettings::default());
    assert_eq!(from_toml(&settings.to_toml()), Ok(settings));
}

#[test]
fn the_defaults_are_those_of_the_design() {
    insta::assert_snapshot!(BrokerSettings::default().to_toml(), @r#"
    [broker]
    # The directory of all data (a directory; created if missing).
    # data_dir =
    # The number of this broker in its cluster (a number from 1 to 2147483647).
    node_id = 1
    # Memory for connections (64KiB each, at most five eighths), requests (at most an eighth each) and answers (a size from 16MiB, such as 1GiB).
    memory = "1GiB"
    # Whether producing to an unknown topic creates it (true or false).
    auto_create_topics = false

    [network]
    # The address that clients connect to (ADDRESS:PORT, such as 127.0.0.1:9092; port 0 takes any free port).
    listen = "127.0.0.1:9092"
    # The address that serves health and metrics (ADDRESS:PORT, such as 127.0.0.1:9094; off for none).
    http = "127.0.0.1:9094"
    # The address that clients are told to use, if it differs from network.listen (HOST:PORT, such as broker-1.example:9092).
    # advertise =
    # The most client connections; further ones are refused and closed (a number from 1 to 16777216).
    max_connections = 10000
    # The longest request or answer (a size from 1MiB to below 1GiB, such as 100MiB).
    frame_bytes_max = "100MiB"
    # The most unanswered requests of one connection; with more, the broker stops reading from it (a number from 1 to 65536).
    requests_in_flight_max = 256
    # The time for a new connection to identify its protocol (a duration from 1ms to 1d, such as 10s).
    handshake_timeout = "10s"
    # The time for a request to arrive, from its first byte on and once there is memory for it (a duration from 1ms to 1d, such as 1m).
    frame_timeout = "1m"
    # The time that a connection may stay open without a request (a duration from 1s to 1d, such as 10m).
    idle_timeout = "10m"
    # The time for a client to read 64 KiB of its answers, or all of them if they are less; then it is disconnected (a duration from 1ms to 1d, such as 1m).
    write_timeout = "1m"

    [disk]
    # Disk space that producers cannot use, so that deletes and retention work on a full disk (a size, such as 1GiB; auto for 2 % of the file system and at least 64MiB).
    reserve_bytes = "auto"
    # The time after which records are flushed that no producer waits for (a duration up to 1m, such as 5ms).
    flush_delay = "5ms"
    # The interval between checks for old segments (a duration from 10ms to 1d, such as 30s).
    retention_check = "30s"

    [backup]
    # The directory below which the running broker makes backups on request; it lies outside broker.data_dir (a directory; without one such backups are refused).
    # dir =

    [fetch]
    # The most bytes of records in one answer; at least 64KiB below network.frame_bytes_max (a size from 64KiB to below 1GiB, such as 55MiB).
    bytes_max = "55MiB"
    # Whether records go from file to socket inside the kernel; auto does so except over loopback (auto, always or never).
    zero_copy = "auto"

    [groups]
    # The time that a consumer group without members keeps its offsets (a duration from 1s to 3650d, such as 7d).
    offsets_retention = "7d"

    [producers]
    # The most named producers; a claim of another name is refused (a number from 0 to 16777216).
    named_max = 10000
    # The time that a named producer is kept after its last claim or batch (a duration from 1s to 3650d, such as 7d).
    named_retention = "7d"

    [metadata]
    # The most topics (a number from 1 to 16777216).
    topics_max = 20000
    # The most partitions of all topics together (a number from 1 to 16777216).
    partitions_max = 100000
    # The most partitions of one topic (a number from 1 to 16777216).
    partitions_per_topic_max = 10000

    [logging]
    # The format of log lines (text or json).
    format = "text"
    # The level of log lines (off, error, warn, info, debug or trace, also by module as in info,grower_broker::group=debug).
    level = "info"
    "#);
}

#[test]
fn later_sources_win() {
    let mut settings = from_toml("[broker]\nmemory = \"1GiB\"\nnode_id = 2\n[fetch]\nbytes_max = 1048576").unwrap();
    let env = [("GROWER__BROKER__MEMORY", "2GiB"), ("GROWER__BROKER__NODE_ID", "3"), ("GROWER_LOG", "debug")];
    settings.read_env(env.map(|(name, value)| (name.into(), value.into()))).unwrap();
    settings.read_flag("--memory", "broker.memory", "3GiB").unwrap();
    let broker = settings.broker;
    assert_eq!((broker.memory, broker.node_id, broker.fetch_bytes_max), (3 << 30, 3, 1 << 20));
}

#[test]
fn a_flag_wins_over_an_invalid_variable_and_an_empty_one_is_ignored() {
    let mut settings = BrokerSettings::default();
    settings.read_flag("--memory", "broker.memory", "3GiB").unwrap();
    let env = [("GROWER__BROKER__MEMORY", "much"), ("GROWER__NETWORK__LISTEN", ""), ("GROWER__BROKER__NODE_ID", "3")];
    settings.read_env(env.map(|(name, value)| (name.into(), value.into()))).unwrap();
    assert_eq!((settings.broker.memory, settings.broker.node_id), (3 << 30, 3));
    assert_eq!(settings.broker.listen, BrokerSettings::default().broker.listen);
    assert!(from_env(&[("GROWER__BROKER__MEMORY", "much")]).is_err());
}

#[test]
fn grower_log_and_rust_log_set_the_log_level() {
    let level = |variables: &[(&str, &str)]| from_env(variables).map(|settings| settings.log_level);
    let ours = ("GROWER__LOGGING__LEVEL", "warn");
    assert_eq!(level(&[]).unwrap(), "info");
    assert_eq!(level(&[("RUST_LOG", "error")]).unwrap(), "error");
    assert_eq!(level(&[("GROWER_LOG", "info,a::b=debug"), ours, ("RUST_LOG", "error")]).unwrap(), "info,a::b=debug");
    assert_eq!(level(&[("GROWER_LOG", ""), ours]).unwrap(), "warn");
    assert!(level(&[("GROWER_LOG", "loud")]).is_err());
}

#[test]
fn an_invalid_rust_log_does_not_stop_the_start() {
    let settings = from_env(&[("RUST_LOG", "a=b=c"), ("GROWER__LOGGING__LEVEL", "warn")]).unwrap();
    assert_eq!(settings.log_level, "warn");
    assert!(settings.passed_over.is_some_and(|told| told.contains("RUST_LOG")), "it is told");
}

#[test]
fn measures_are_text_with_a_unit_or_plain_numbers() {
    let text = "[broker]\nmemory = 0x4000_0000\n[network]\nidle_timeout = 90000\nframe_timeout = '1m 30s'";
    let broker = from_toml(text).unwrap().broker;
    assert_eq!(broker.memory, 1 << 30);
    assert_eq!(broker.idle_timeout, broker.frame_timeout);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_known_keys() {
    insta::assert_snapshot!(from_toml("[disk]\n\nflush_dely = '5ms'").unwrap_err(), @r#"grower.toml:3: there is no setting "disk.flush_dely" (did you mean disk.flush_delay?); known are disk.reserve_bytes, disk.flush_delay, disk.retention_check"#);
    insta::assert_snapshot!(from_toml("listen = '127.0.0.1:0'").unwrap_err(), @r#"grower.toml:1: there is no setting "listen" (did you mean network.listen?); known are broker.data_dir, broker.node_id, broker.memory, broker.auto_create_topics, network.listen, network.http, network.advertise, network.max_connections, network.frame_bytes_max, network.requests_in_flight_max, network.handshake_timeout, network.frame_timeout, network.idle_timeout, network.write_timeout, disk.reserve_bytes, disk.flush_delay, disk.retention_check, backup.dir, fetch.bytes_max, fetch.zero_copy, groups.offsets_retention, producers.named_max, producers.named_retention, metadata.topics_max, metadata.partitions_max, metadata.partitions_per_topic_max, logging.format, logging.level"#);
    insta::assert_snapshot!(from_toml("[disk.reserve]\nbytes = 1").unwrap_err(), @r#"grower.toml:1: there is no setting "disk.reserve"; known are disk.reserve_bytes, disk.flush_delay, disk.retention_check"#);
    insta::assert_snapshot!(from_env(&[("GROWER__FETCH__ZEROCOPY", "auto")]).unwrap_err(), @r#"GROWER__FETCH__ZEROCOPY: there is no setting "fetch.zerocopy" (did you mean fetch.zero_copy?); known are fetch.bytes_max, fetch.zero_copy"#);
    insta::assert_snapshot!(from_env(&[("GROWER__", "")]).unwrap_err(), @r#"GROWER__: there is no setting ""; known are broker.data_dir, broker.node_id, broker.memory, broker.auto_create_topics, network.listen, network.http, network.advertise, network.max_connections, network.frame_bytes_max, network.requests_in_flight_max, network.handshake_timeout, network.frame_timeout, network.idle_timeout, network.write_timeout, disk.reserve_bytes, disk.flush_delay, disk.retention_check, backup.dir, fetch.bytes_max, fetch.zero_copy, groups.offsets_retention, producers.named_max, producers.named_retention, metadata.topics_max, metadata.partitions_max, metadata.partitions_per_topic_max, logging.format, logging.level"#);
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    for (line, value) in [
        ("[broker]\nmemory = true", "broker.memory = true "),
        ("[broker]\nmemory = 1.5", "broker.memory = 1.5 "),
        ("[broker]\nauto_create_topics = 'true'", "broker.auto_create_topics = \"true\" "),
        ("[broker]\nauto_create_topics = 1", "broker.auto_create_topics = 1 "),
        ("[broker]\ndata_dir = 5", "broker.data_dir = 5 "),
        ("[broker]\nnode_id = '5'", "broker.node_id = \"5\" "),
        ("[broker]\nnode_id = [\n1, 2]", "broker.node_id = [ "),
        ("[network]\nlisten = 9092", "network.listen = 9092 "),
        ("[network]\nlisten = { port = 1 }", "network.listen = { port = 1 } "),
    ] {
        let refused = from_toml(line).unwrap_err();
        assert!(refused.starts_with("grower.toml:2: ") && refused.contains(value), "{line:?}: {refused}");
    }
}

#[test]
fn a_value_out_of_bounds_is_refused() {
    for (key, value) in [
        ("broker.data_dir", " "),
        ("broker.node_id", "0"),
        ("broker.node_id", "-1"),
        ("broker.memory", "15MiB"),
        ("broker.memory", "9e18"),
        ("broker.auto_create_topics", "yes"),
        ("network.listen", "localhost:9092"),
        ("network.listen", "127.0.0.1"),
        ("network.listen", "127.0.0.1:65536"),
        ("network.listen", "off"),
        ("network.advertise", "broker"),
        ("network.advertise", "broker:0"),
        ("network.advertise", ":9092"),
        ("network.advertise", "a b:9092"),
        ("network.frame_bytes_max", "1GiB"),
        ("network.idle_timeout", "0"),
        ("network.max_connections", "0"),
        ("network.max_connections", "99999999999999999999"),
        ("disk.flush_delay", "2m"),
        ("fetch.zero_copy", "Auto"),
        ("logging.format", "xml"),
    ] {
        let mut settings = BrokerSettings::default();
        let refused = settings.read_flag("--flag", key, value).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("--flag: {key} = {value:?} is not allowed: it takes ")), "{refused}");
        assert_eq!(settings, BrokerSettings::default());
    }
}

#[test]
fn invalid_toml_is_refused_in_one_line() {
    insta::assert_snapshot!(from_toml("[broker]\nnode_id = 1\nnode_id = 2").unwrap_err(), @r#"grower.toml:3: duplicate key: "node_id""#);
    insta::assert_snapshot!(from_toml("[broker]\n[broker]").unwrap_err(), @r#"grower.toml:2: duplicate key: "broker""#);
    insta::assert_snapshot!(from_toml("[broker]\nmemory = 1GiB").unwrap_err(), @r#"grower.toml:2: string values must be quoted, expected literal string: "1GiB""#);
    insta::assert_snapshot!(from_toml("{\"broker\": {}}").unwrap_err(), @"grower.toml:1: invalid key-value pair, expected key");
    insta::assert_snapshot!(from_toml("broker = \0").unwrap_err(), @r#"grower.toml:1: string values must be quoted, expected literal string: "\0""#);
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_first_line() {
    assert_eq!(from_toml("\u{feff}[broker]\r\nnode_id = 2\r\n").unwrap().broker.node_id, 2);
}

#[test]
fn a_value_that_is_not_unicode_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let value = OsString::from_vec(b"127.0.0.1:9\xff".to_vec());
    let refused = BrokerSettings::default().read_env([("GROWER__NETWORK__LISTEN".into(), value)]).unwrap_err();
    assert!(refused.to_string().contains("network.listen"), "{refused}");
}

fn read_file(path: &Path) -> Result<BrokerSettings, String> {
    let mut settings = BrokerSettings::default();
    settings.read_file(path).map_err(|error| error.to_string())?;
    Ok(settings)
}

#[test]
fn a_file_over_the_length_limit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grower.toml");
    std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let refused = read_file(&path).unwrap_err();
    assert!(refused.contains("longer than 1048576 bytes"), "{refused}");
}

#[test]
fn a_link_to_a_file_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("real.toml"), dir.path().join("link.toml"));
    std::fs::write(&path, "[broker]\nnode_id = 5").unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(read_file(&link).unwrap().broker.node_id, 5);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("latin1.toml"), b"[broker]\ndata_dir = '/srv/\xe4'").unwrap();
    for name in ["missing.toml", "latin1.toml", ""] {
        let path = dir.path().join(name);
        let refused = read_file(&path).unwrap_err();
        assert!(refused.starts_with(&format!("cannot read the config file {}", path.display())), "{refused}");
    }
}
