//! Counts the records of each key with a group of workers. Each partition's counts are a file, and its name has the next
//! offset to count, so each record counts exactly once.
//!
//! ```text
//! worker 127.0.0.1:9092 orders counters /var/lib/counters [SESSION_MS]
//! ```
//!
//! All workers of the group share the folder. A worker prints which partitions come and go, and runs until it is killed.

use grower_client::ids::Offset;
use grower_client::{Client, ConsumerBuilder, ConsumerEvent, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use std::{fs, io, process};

/// The counts of one partition.
#[derive(Default)]
pub struct Counts {
    /// The first record that is not counted.
    pub next: u64,
    /// The number of records by key.
    pub by_key: BTreeMap<String, u64>,
}

impl Counts {
    /// Reads the newest counts of a partition; a new one has none.
    pub fn load(folder: &Path, partition: &TopicPartition) -> io::Result<Self> {
        let Some(newest) = files(folder, partition)?.pop() else { return Ok(Self::default()) };
        let text = fs::read_to_string(folder.join(&newest))?;
        let counts = text.lines().filter_map(|line| line.split_once('\t'));
        let by_key = counts.map(|(key, count)| (key.to_owned(), count.parse().unwrap_or_default())).collect();
        let next = newest.rsplit('@').next().and_then(|next| next.parse().ok());
        Ok(Self { next: next.ok_or(io::ErrorKind::InvalidData)?, by_key })
    }

    /// Adds a file with its offset in the name, and removes older ones. So a worker that was stopped for long, and has
    /// lost the partition meanwhile, cannot replace newer counts.
    fn save(&self, folder: &Path, partition: &TopicPartition) -> io::Result<()> {
        let name = name(partition, self.next);
        let new = folder.join(format!("new-{}-{name}", process::id())); // Another worker may have the same process id.
        let counts = self.by_key.iter().map(|(key, count)| format!("{key}\t{count}\n"));
        fs::write(&new, counts.collect::<String>())?;
        fs::rename(new, folder.join(&name))?;
        for older in files(folder, partition)?.into_iter().filter(|file| *file < name) {
            drop(fs::remove_file(folder.join(older))); // Another worker may have removed it.
        }
        Ok(())
    }
}

fn name(partition: &TopicPartition, next: u64) -> String {
    format!("{}{next:020}", prefix(partition))
}

fn prefix(partition: &TopicPartition) -> String {
    format!("{}-{}@", partition.topic, partition.partition)
}

/// The files of a partition, the newest last.
fn files(folder: &Path, partition: &TopicPartition) -> io::Result<Vec<String>> {
    let all = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut files = all.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.starts_with(&prefix(partition)));
    files.sort();
    Ok(files)
}

/// Works as a member of the group that the builder names, until an error ends it.
pub async fn work(member: ConsumerBuilder, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut consumer = member.build().await?;
    let mut counts: BTreeMap<TopicPartition, Counts> = BTreeMap::new();
    while let Some(event) = consumer.next_event().await {
        match event? {
            ConsumerEvent::Assigned(partitions) => {
                for partition in partitions.into_iter().map(|assigned| assigned.topic_partition) {
                    let known = Counts::load(folder, &partition)?;
                    // A seek fails if the partition is lost again; then another event says so.
                    if consumer.seek(&partition.topic, partition.partition, Offset::new(known.next)).is_ok() {
                        println!("{partition} from {}", known.next);
                        counts.insert(partition, known);
                    }
                }
            }
            ConsumerEvent::Records(records) => {
                let mut changed = BTreeSet::new();
                for record in records {
                    let partition = counts.get_mut(&record.topic_partition()).ok_or("a record before its partition")?;
                    changed.insert(record.topic_partition());
                    let key = String::from_utf8_lossy(&record.key.unwrap_or_default()).into_owned();
                    *partition.by_key.entry(key).or_default() += 1;
                    partition.next = record.offset.value() + 1;
                }
                changed.iter().try_for_each(|partition| counts[partition].save(folder, partition))?;
            }
            ConsumerEvent::Revoking(revoking) => {
                revoking.partitions().iter().for_each(|partition| println!("{partition} moves"));
                counts.retain(|partition, _| !revoking.partitions().contains(partition));
                revoking.done([]).await?; // The counts are saved; nothing is left to do.
            }
            ConsumerEvent::Lost(lost) => {
                lost.iter().for_each(|partition| println!("{partition} is lost"));
                counts.retain(|partition, _| !lost.contains(partition));
            }
            _ => {}
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, topic, group, folder, session) = match &arguments[..] {
        [address, topic, group, folder] => (address, topic, group, folder, 10_000),
        [address, topic, group, folder, session] => (address, topic, group, folder, session.parse()?),
        _ => return Err("usage: worker ADDRESS TOPIC GROUP FOLDER [SESSION_MS]".into()),
    };
    let client =
        Client::builder().bootstrap([address.as_str()]).wait_for_broker(Duration::from_secs(60)).connect().await?;
    let member = client.consumer().group(group).subscribe([topic]).session_timeout(Duration::from_millis(session));
    work(member, Path::new(folder)).await
}
