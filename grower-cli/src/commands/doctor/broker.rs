//! Facts about a running broker.

use grower_client::{AdminError, Client, GroupMemory};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Whether a broker answered.
#[derive(Clone, Debug, Default)]
pub(crate) enum BrokerReply {
    /// Not asked: only the data directory is examined.
    #[default]
    NotAsked,
    /// No answer, and why.
    No(String),
    /// The answers.
    Yes(BrokerFacts),
}

/// The facts that a broker reports.
#[derive(Clone, Debug, Default)]
pub(crate) struct BrokerFacts {
    pub(crate) round_trip: Duration,
    /// How far its clock is ahead of this machine's, in milliseconds; negative if behind. The round trip bounds the
    /// error.
    pub(crate) skew_ms: i64,
    pub(crate) partitions: u64,
    pub(crate) segments: u64,
    pub(crate) memory_used: u64,
    pub(crate) memory_budget: u64,
    /// Memory use of groups, if the broker reports it.
    pub(crate) group_memory: Option<GroupMemory>,
    pub(crate) max_connections: u64,
    pub(crate) reserve: u64,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) damaged: u64,
}

/// Asks a broker.
pub(crate) async fn fetch_facts(client: &Client) -> Result<BrokerFacts, AdminError> {
    let admin = client.admin();
    admin.describe_broker().await?; // The next request measures no connection setup.
    let (began, before) = (Instant::now(), crate::session::now());
    let broker = admin.describe_broker().await?;
    let round_trip = began.elapsed();
    let settings = admin.describe_settings().await?;
    let setting = |key: &str| settings.iter().find(|setting| setting.key == key).and_then(|s| s.value.clone());
    let topics: Vec<_> = admin.describe_topics(None, true).await?.into_iter().flatten().collect();
    let partitions = || topics.iter().flat_map(|topic| &topic.partitions);
    let half = i64::try_from(round_trip.as_millis() / 2).unwrap_or(0);
    Ok(BrokerFacts {
        round_trip,
        skew_ms: broker.now.as_millis() - before.as_millis() - half,
        partitions: partitions().count() as u64,
        segments: partitions().map(|partition| partition.segments.len() as u64).sum(),
        memory_used: broker.memory_used,
        memory_budget: broker.memory_budget,
        group_memory: crate::groups::group_memory(&admin).await?,
        max_connections: setting("network.max_connections").and_then(|value| value.parse().ok()).unwrap_or(0),
        reserve: broker.disk.map_or(0, |disk| disk.reserve),
        data_dir: setting("broker.data_dir").map(PathBuf::from),
        damaged: partitions().map(|partition| partition.damaged.len() as u64).sum(),
    })
}
