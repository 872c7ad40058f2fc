//! Config files and topic configs.

use crate::Target;
use grower_broker::config::settings::BrokerSettings;
use grower_broker::config::topic::TopicConfig;
use std::collections::BTreeMap;
use std::path::Path;

pub(super) const CONFIG: Target = Target {
    name: "config",
    about: "a config file: a valid one means the same when it is printed and read again",
    run: settings,
    seeds: || vec![BrokerSettings::default().to_toml().into_bytes(), b"[network]\nhttp = \"off\"\n".to_vec()],
    allocates: 16 << 20,
};

pub(super) const TOPIC_CONFIG: Target = Target {
    name: "topic-config",
    about: "configs of a topic, KEY=VALUE lines",
    run: topic,
    seeds: || {
        vec![b"retention.ms=5d\nsegment.bytes=64MiB\nflush=os\ncleanup.policy=compact\nretention.bytes=-1".to_vec()]
    },
    allocates: 1 << 20,
};

fn settings(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut read = BrokerSettings::default();
    if read.read_text(Path::new("grower.toml"), text).is_err() {
        return;
    }
    let mut again = BrokerSettings::default();
    again.read_text(Path::new("printed.toml"), &read.to_toml()).expect("what is printed can be read");
    assert_eq!(again, read);
}

fn topic(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let configs: Vec<(String, String)> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let stored = TopicConfig::from_stored(&configs.iter().cloned().collect());
    let Ok(config) = TopicConfig::parse(&configs) else { return };
    assert_eq!(stored, config, "what was accepted is what is stored");
    let described = config.describe(&BTreeMap::new()).into_iter().map(|entry| (entry.key, entry.value));
    assert_eq!(
        TopicConfig::parse(&described.collect::<Vec<_>>()).ok(),
        Some(config),
        "each described value can be set"
    );
}
