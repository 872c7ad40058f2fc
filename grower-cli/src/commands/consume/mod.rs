//! `consume TOPIC...`: prints records.

mod deleted;
mod ends;
mod offline;
mod print;

use crate::options::WrongUsage;
use crate::output::{ReaderGone, Template, counted, reader_left};
use crate::position_spec::PositionSpec;
use crate::session::{Session, interrupted, now};
use anyhow::{Context, bail, ensure};
use clap::Args;
use deleted::DeletedTopics;
use ends::PartitionEnds;
use grower_client::ids::PartitionId;
use grower_client::{
    Client, ConsumeError, Consumer, ConsumerRecord, ErrorCode, OffsetSpec, OnDamage, OnGap, StartFrom,
};
use offline::OfflinePartitions;
use print::Printer;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::{Duration, Instant};

/// Read records
///
/// Prints each record's value and a newline. Without a group it reads from the beginning, and commits nothing. With
/// --group it shares the partitions with the other members of the group, continues at the committed offsets, and
/// commits the printed records: each second, before it releases partitions, and at its end.
#[derive(Debug, Args)]
#[command(after_long_help = "--format prints each record as the template says, and nothing else:
  %t topic   %p partition   %o offset   %k key   %v value   %h headers as name=value,..
  %T time as 2026-11-21T08:30:00.125Z   %m time in milliseconds   %K %V bytes of key and value
  %% percent sign   \\n \\t \\r \\0 \\\\ \\xHH

JSON: {\"topic\",\"partition\",\"offset\",\"timestamp\",\"key\",\"value\",\"headers\"}; timestamp in milliseconds; key and value are strings \
or null, and key_base64 or value_base64 where they are not UTF-8; headers is an array of [name, value].

Order holds within a partition. --until-end stops at the high watermark that each partition has at the start. \
A damaged record on disk ends it with an error that names the offsets; --skip-damaged continues after them. \
A closed pipe, as in `| head`, ends it without failure, also while no record arrives. Ctrl-C, SIGTERM and SIGHUP (a closed terminal) \
commit and exit; a second signal exits at once.

consume names an offline partition on standard error and reads the others. It reads the partition once that is served again. With \
--until-end an offline partition makes the exit status 1.

Examples:
  grower-cli consume events --until-end > copy.log
  grower-cli consume events --from time:-5m --format '%T %p:%o %k %v\\n'
  grower-cli consume orders payments --group billing --output json")]
pub struct ConsumeCommand {
    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Read as a member of this consumer group
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// Read this partition only; may be repeated
    #[arg(long = "partition", value_name = "N")]
    partitions: Vec<u32>,
    /// Where to start: beginning, end, committed, offset:N, time:RFC3339, or time:-5m for five minutes ago [default:
    /// committed with --group, else beginning]. With --group it applies only to partitions without a committed
    /// offset. An offset before the log start means the log start; an offset after the end is refused
    #[arg(long, value_name = "POSITION")]
    from: Option<PositionSpec>,
    /// Stop after this many records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The largest number of records per poll
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Stop at the present end of each partition
    #[arg(long)]
    until_end: bool,
    /// Continue after damaged records, and name them on standard error
    #[arg(long)]
    skip_damaged: bool,
    /// How to print each record
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<Template>,
}

/// Timeout of a poll, after which the ends are checked again.
const POLL_TIMEOUT: Duration = Duration::from_millis(200);
/// Timeout of a poll once only starting offsets are missing.
const START_POLL_TIMEOUT: Duration = Duration::from_millis(20);
/// The largest number of records per poll in a group.
const GROUP_BATCH_MAX: u32 = 500;
/// How often the group's offsets are committed, and the ends reviewed.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

impl ConsumeCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let client = &session.client;
        let partitions = self.read_partitions(client).await?;
        self.check_offset(client, &partitions).await?;
        let mut offline = OfflinePartitions::default();
        let in_group = self.group.is_some() && self.partitions.is_empty();
        let ends = match self.until_end {
            true => Some(PartitionEnds::fetch(&client.admin(), &partitions, in_group, &mut offline).await?),
            false => None,
        };
        let consumer = self.consumer(client, &partitions).await?;
        let mut consuming = ConsumeLoop {
            client,
            group: self.group.as_deref(),
            consumer,
            printer: Printer::new(session.output, self.format.clone()),
            deleted: DeletedTopics::new(&self.topics),
            offline,
            ends,
            records_left: self.limit.unwrap_or(u64::MAX),
            last_review: Instant::now(),
        };
        let result = consuming.run().await;
        let unread = consuming.offline.check();
        let closed = consuming.close().await;
        result.and(closed).and(unread)
    }

    /// Returns the partitions to read. Fails if a topic or a partition does not exist.
    async fn read_partitions(&self, client: &Client) -> anyhow::Result<Vec<(String, PartitionId)>> {
        let mut found = Vec::new();
        for topic in &self.topics {
            let described = client.admin().describe_topic(topic, false).await;
            let described = described.with_context(|| format!("cannot read {topic}"))?;
            let existing: Vec<PartitionId> = described.partitions.iter().map(|partition| partition.partition).collect();
            let wanted: Vec<PartitionId> = self.partitions.iter().copied().map(PartitionId::new).collect();
            if let Some(missing) = wanted.iter().find(|partition| !existing.contains(partition)) {
                let count = counted(existing.len(), "partition");
                bail!("{topic} has no partition {missing}: it has {count}, counted from 0");
            }
            let read = if wanted.is_empty() { existing } else { wanted };
            found.extend(read.into_iter().map(|partition| (topic.clone(), partition)));
        }
        Ok(found)
    }

    /// Refuses an offset after the end of a partition: to wait for it would skip the records before it. Partitions
    /// with a committed offset do not count.
    async fn check_offset(&self, client: &Client, partitions: &[(String, PartitionId)]) -> anyhow::Result<()> {
        let Some(PositionSpec::Offset(offset)) = self.from else { return Ok(()) };
        let committed = match &self.group {
            Some(group) => ends::committed(client, group).await?,
            None => BTreeMap::new(),
        };
        let topics = client.admin().metadata().await?.topics;
        let ids: BTreeMap<_, _> =
            topics.into_iter().flatten().map(|topic| (topic.name.to_string(), topic.id)).collect();
        let is_committed = |(topic, partition): &&(String, PartitionId)| {
            ids.get(topic).is_some_and(|id| committed.contains_key(&(*id, *partition)))
        };
        let uncommitted: Vec<_> = partitions.iter().filter(|partition| !is_committed(partition)).collect();
        let lookups = uncommitted.iter().map(|(topic, partition)| (topic.as_str(), *partition, OffsetSpec::End));
        for ((topic, partition), end) in uncommitted.iter().zip(client.admin().list_offsets(lookups).await?) {
            let end = match end {
                Err(error) if error.code() == Some(ErrorCode::PartitionOffline) => continue, // Reading it reports the error.
                end => end?.offset.unwrap_or_default(),
            };
            ensure!(
                offset <= end,
                "{topic}/{partition}: offset {offset} is after the end, {end}; --from end waits for new records"
            );
        }
        Ok(())
    }

    async fn consumer(&self, client: &Client, partitions: &[(String, PartitionId)]) -> anyhow::Result<Consumer> {
        let start = self.start()?;
        let mut builder = client.consumer().from(start).max_poll_records(self.batch as usize);
        if self.until_end {
            builder = builder.on_gap(|_| OnGap::Report); // Records after a gap may be newer than the end.
        }
        if self.skip_damaged {
            builder = builder.on_damage(OnDamage::Skip);
        }
        if let Some(group) = &self.group {
            builder = builder.group(group.as_str()).auto_commit(Some(COMMIT_EVERY));
            // A partition moves only once the polled records are printed: keep that short.
            builder = builder.max_poll_records(self.batch.min(GROUP_BATCH_MAX) as usize);
        }
        builder = if self.group.is_some() && self.partitions.is_empty() {
            builder.subscribe(self.topics.iter().map(String::as_str))
        } else {
            builder.assign(partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition)))
        };
        Ok(builder.build().await?)
    }

    fn start(&self) -> anyhow::Result<StartFrom> {
        Ok(match (self.from, &self.group) {
            (None, Some(_)) => StartFrom::Committed,
            (None, None) | (Some(PositionSpec::Beginning), _) => StartFrom::Beginning,
            (Some(PositionSpec::End), _) => StartFrom::End,
            (Some(PositionSpec::Committed), Some(_)) => StartFrom::Committed,
            (Some(PositionSpec::Committed), None) => {
                bail!(WrongUsage("--from committed needs --group: only groups commit offsets"))
            }
            (Some(PositionSpec::Offset(offset)), _) => StartFrom::Offset(offset),
            (Some(PositionSpec::Time(when)), _) => StartFrom::Time(when.resolve(now())),
        })
    }
}

/// A running consumer. In a group each poll commits the records of the poll before. Records are therefore printed and
/// flushed before the next poll, and unwanted ones are given back.
struct ConsumeLoop<'a> {
    client: &'a Client,
    group: Option<&'a str>,
    consumer: Consumer,
    printer: Printer,
    deleted: DeletedTopics,
    offline: OfflinePartitions,
    ends: Option<PartitionEnds>,
    records_left: u64,
    last_review: Instant,
}

impl ConsumeLoop<'_> {
    /// Prints until the end, the limit, or Ctrl-C.
    async fn run(&mut self) -> anyhow::Result<()> {
        let (mut interrupt, mut reader_left) = (pin!(interrupted()), pin!(reader_left()));
        loop {
            let records = tokio::select! {
                biased;
                () = &mut interrupt => return Ok(()),
                () = &mut reader_left => return Err(ReaderGone.into()),
                records = self.records() => records?,
            };
            let Some(records) = records else { return Ok(()) };
            if let Err(error) = self.print(&records) {
                self.give_back(&records)?; // They were not printed.
                return Err(error);
            }
        }
    }

    /// Polls once. Returns no records if none arrived, and `None` at the end.
    async fn records(&mut self) -> anyhow::Result<Option<Vec<ConsumerRecord>>> {
        if self.records_left == 0 || self.check_end().await? {
            return Ok(None);
        }
        let only_starts = self.ends.as_ref().is_some_and(PartitionEnds::is_empty);
        match self.consumer.poll(if only_starts { START_POLL_TIMEOUT } else { POLL_TIMEOUT }).await {
            Ok(records) => return Ok(Some(records)),
            Err(ConsumeError::Gap(gap)) => self.ends.iter_mut().for_each(|ends| ends.handle_gap(&gap)),
            Err(error) => self.handle_partition_error(error)?,
        }
        Ok(Some(Vec::new()))
    }

    /// Handles an error of one topic or partition, so that the others are still read.
    fn handle_partition_error(&mut self, error: ConsumeError) -> anyhow::Result<()> {
        let error = match self.offline.handle_error(error) {
            Ok(topic_partition) => {
                if self.ends.as_mut().is_some_and(|ends| ends.drop_partition(&topic_partition)) {
                    self.offline.mark_unread(topic_partition);
                }
                return Ok(());
            }
            Err(error) => error,
        };
        let topic = self.deleted.handle_error(error).map_err(explain)?;
        if let Some(ends) = &mut self.ends {
            ends.drop_topic(&topic);
        }
        Ok(())
    }

    fn print(&mut self, records: &[ConsumerRecord]) -> anyhow::Result<()> {
        let mut unwanted = Vec::new();
        for record in records {
            if self.records_left == 0 || self.ends.as_ref().is_some_and(|ends| ends.is_past(record)) {
                unwanted.push(record);
                continue;
            }
            self.deleted.topic_returned(record.topic.as_str());
            self.offline.partition_returned(record.topic.as_str(), record.partition);
            self.printer.print(record)?;
            self.records_left -= 1;
        }
        self.printer.flush()?;
        self.give_back(unwanted)
    }

    /// Moves each partition of these records back to the first of them, and pauses it.
    fn give_back<'r>(&self, records: impl IntoIterator<Item = &'r ConsumerRecord>) -> anyhow::Result<()> {
        let mut given_back = BTreeSet::new();
        for record in records {
            if given_back.insert((&record.topic, record.partition)) {
                // The seek fails if the partition moved to another member: nothing to give back.
                if self.consumer.seek(record.topic.as_str(), record.partition, record.offset).is_ok() {
                    self.consumer.pause(record.topic.as_str(), record.partition)?;
                }
            }
        }
        Ok(())
    }

    /// Drops the partitions that are read to their ends. True once none is left.
    async fn check_end(&mut self) -> anyhow::Result<bool> {
        let Some(ends) = &mut self.ends else { return Ok(false) };
        if let Some(group) = self.group
            && !ends.check_started(&self.consumer, self.client, group).await?
        {
            return Ok(false);
        }
        ends.drop_reached(&self.consumer);
        if ends.is_empty() || self.last_review.elapsed() < COMMIT_EVERY {
            return Ok(ends.is_empty());
        }
        self.last_review = Instant::now();
        ends.review(&self.client.admin()).await?;
        if let (Some(group), false) = (self.group, ends.is_empty()) {
            // Other members may own the remaining partitions: their commits count.
            ends.drop_committed(self.client, group).await?;
        }
        Ok(ends.is_empty())
    }

    async fn close(mut self) -> anyhow::Result<()> {
        Ok(self.consumer.close().await?)
    }
}

/// Adds advice to an error about damage.
fn explain(error: ConsumeError) -> anyhow::Error {
    let damaged = error.code() == Some(ErrorCode::CorruptLog);
    let error = anyhow::Error::new(error);
    if damaged { error.context("damaged on disk; --skip-damaged continues after it") } else { error }
}
