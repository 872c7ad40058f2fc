//! Findings about a topic: what its writers and readers wait for.

use super::finding::{FindingStatus, WhyFinding};
use super::words::{lag, ranges, records};
use crate::capacity::{Capacity, Rate};
use crate::output::rfc3339;
use grower_client::{AcceptedLossDescription, PartitionDescription, TopicDescription};
use std::collections::BTreeMap;

/// The facts about a topic at one time.
pub(crate) struct TopicFacts {
    pub(crate) topic: TopicDescription,
    /// Partitions that are not served, by `topic/partition`, and why.
    pub(crate) offline: BTreeMap<String, String>,
    /// Accepted losses.
    pub(crate) losses: Vec<AcceptedLossDescription>,
    pub(crate) capacity: Option<Capacity>,
    pub(crate) rate: Rate,
    /// The groups that read it.
    pub(crate) readers: Vec<ReaderFacts>,
}

/// Progress of one group in the topic.
#[derive(Clone, Debug)]
pub(crate) struct ReaderFacts {
    pub(crate) group: String,
    pub(crate) lag: u64,
    /// The largest age over its partitions.
    pub(crate) lag_ms: Option<u64>,
}

impl TopicFacts {
    /// The findings: the topic as a whole, its partitions where there is anything to report, its readers.
    pub(crate) fn findings(&self) -> Vec<WhyFinding> {
        let mut findings = vec![self.summary()];
        findings.extend(self.disk());
        findings.extend(self.flush());
        findings.extend(self.topic.partitions.iter().flat_map(|partition| self.partition(partition)));
        findings.extend(self.readers.iter().map(|reader| self.reader(reader)));
        if self.readers.is_empty() && self.offline.is_empty() {
            findings.push(WhyFinding::new(FindingStatus::Fine, self.name(), "no group reads it"));
        }
        findings
    }

    fn name(&self) -> String {
        format!("topic {}", self.topic.name)
    }

    fn summary(&self) -> WhyFinding {
        let partitions = &self.topic.partitions;
        let held: u64 = partitions.iter().map(|p| p.log_end.since(p.log_start)).sum();
        let ever: u64 = partitions.iter().map(|p| p.log_end.value()).sum();
        if held == 0 && !self.offline.is_empty() {
            let says =
                format!("nothing can be read: {} of {} partitions offline", self.offline.len(), partitions.len());
            return WhyFinding::new(FindingStatus::Wrong, self.name(), says);
        }
        let says = match (held, ever) {
            (0, 0) => "empty: nothing was ever written to it".to_owned(),
            (0, ever) => format!("empty: retention or a trim dropped {}", records(ever)),
            (held, _) if self.rate.records_in == 0 => format!("{}; almost no recent writes", records(held)),
            (held, _) => format!("{}; incoming {}", records(held), self.rate.incoming()),
        };
        WhyFinding::new(FindingStatus::Fine, self.name(), says)
    }

    fn disk(&self) -> Option<WhyFinding> {
        let capacity = self.capacity.as_ref()?;
        capacity.is_full().then(|| WhyFinding::new(FindingStatus::Wrong, "disk", capacity.describe()))
    }

    fn flush(&self) -> Option<WhyFinding> {
        let os = self.topic.configs.iter().any(|config| config.key == "flush" && config.value == "os");
        let says = "acks do not wait for the disk (flush=os): a power cut may lose acknowledged records";
        os.then(|| WhyFinding::new(FindingStatus::Fine, self.name(), says))
    }

    fn partition(&self, partition: &PartitionDescription) -> Vec<WhyFinding> {
        let name = format!("{}/{}", self.topic.name, partition.partition);
        let mut findings = Vec::new();
        if partition.leader.is_none() {
            let says = match self.offline.get(&name) {
                Some(why) => format!("offline, neither readable nor writable: {why}"),
                None => "no leader: neither readable nor writable".to_owned(),
            };
            findings.push(WhyFinding::new(FindingStatus::Wrong, &*name, says));
        }
        let unsynced = partition.log_end.since(partition.high_watermark);
        if unsynced != 0 {
            let says = format!("{} written and not yet synced: readers see them after the sync", records(unsynced));
            findings.push(WhyFinding::new(FindingStatus::Waits, &*name, says));
        }
        if !partition.damaged.is_empty() {
            let says = format!(
                "damaged on disk: {}; all others are served. Restore them from a backup, skip them with consume \
                 --skip-damaged, or give them up with log repair",
                ranges(&partition.damaged)
            );
            findings.push(WhyFinding::new(FindingStatus::Wrong, &*name, says));
        }
        // Losses below the log start no longer concern any reader.
        let losses = self.losses.iter().filter(|loss| loss.partition == partition.partition);
        findings.extend(losses.filter(|loss| partition.log_start < loss.end).map(|loss| accepted_loss(&name, loss)));
        findings
    }

    fn reader(&self, reader: &ReaderFacts) -> WhyFinding {
        let about = format!("group {}", reader.group);
        match reader.lag {
            0 if !self.offline.is_empty() => {
                WhyFinding::new(FindingStatus::Waits, about, "has read every served partition; the others are offline")
            }
            0 => WhyFinding::new(FindingStatus::Fine, about, "has read everything"),
            count => {
                let says = format!("is {} behind; grower-cli why {} says why", lag(count, reader.lag_ms), reader.group);
                WhyFinding::new(FindingStatus::Waits, about, says)
            }
        }
    }
}

fn accepted_loss(name: &str, loss: &AcceptedLossDescription) -> WhyFinding {
    let (AcceptedLossDescription { by, reason, .. }, at) = (loss, rfc3339(loss.at));
    let offsets = ranges(&[(loss.start, loss.end)]);
    let says = format!("{offsets} were given up as lost by {by} at {at} ({reason}): readers skip them");
    WhyFinding::new(FindingStatus::Fine, name, says)
}
