//! `produce TOPIC [FILE]`: one record a line.

mod at_end;
mod following;
mod in_flight;
mod line_sender;
mod report;
mod source;
mod unacknowledged;

use crate::options::{AckLevel, Compression, WrongUsage, key_value};
use crate::output::{EscapeError, is_reader_gone, unescaped};
use crate::session::Session;
use anyhow::{Context, bail};
use at_end::ExpectedEnd;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use following::Follower;
use grower_client::ids::{Offset, PartitionId};
use grower_client::{Partitioner, Producer, ProducerBuilder, Record};
use line_sender::LineSender;
use report::ProduceReport;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Write records: one a line, from a file or from standard input
///
/// Only a newline ends a line. An empty line is an empty record. Carriage returns, NUL bytes and bytes that are not
/// UTF-8 are kept. A last line without newline counts.
#[derive(Debug, Args)]
#[command(
    after_long_help = "A line is refused if it is longer than the topic's max.message.bytes, or if its record with headers and up to 80 \
bytes of overhead makes too large a batch. Standard error names its number, and the other lines are sent. The exit status is 0 only if \
every line was acknowledged, else 1; each record has 120 seconds for its ack. \
Ctrl-C, SIGTERM and SIGHUP (a closed terminal) stop reading and wait for the acks of the lines read; a second signal exits at once, \
with status 1. If lines are not acknowledged, because a partition is offline or the broker is unreachable, reading stops, and the error \
names exactly those lines.

--follow keeps reading as the file grows, like tail -F: through rotation (the old file to its end first, then the new one) \
and truncation. A note of progress says up to which byte every line is acknowledged. It is FILE.TOPIC.grower-place next to the file; in \
--state-dir, and for a very long name, it is FILE.HASH.grower-place, with a hash of the path and the topic. The next run continues there, \
also after a crash, and also in files rotated meanwhile (FILE.1, FILE-20261121, ..; not compressed ones). A second follower with the same \
note is refused. Delete the note to start over. If the file is missing, unreadable or not a regular file, the \
command waits for it. In --state-dir the note belongs to the path as given: if a folder of the path is a link that leads elsewhere by the next run, the rest of the old file \
comes first.

A file is recognised by its inode and time of creation, else by its first 64 KiB and the 4 KiB before the position:
  renamed, a new file in its place   its rest, rotations since, then the new file; late lines come late
  copied, then truncated             the rest from the copy (FILE.1, ..), then the file from its beginning
  truncated or rewritten, no copy    the file from its beginning; a warning says that lines may be missing
  another file, the same beginning   the bytes after the part that was read; a warning names the file
  another file, otherwise            the file from its beginning; a warning if the old one has unread lines
Every uncertain case prints a warning on standard error.

Each record gets a header `grower-follow` that identifies its line. It shows the next run which lines arrived after the last \
note, uncommitted ones included: a killed follower loses nothing, and its successor sends nothing twice. Duplicates are possible only \
with --acks none, or if the broker is so slow that it reads requests of the killed follower after those of its successor.

--expect-end N writes all lines in one batch if --partition ends at offset N, so at most one of several commands that expect the same \
end succeeds. Otherwise nothing is written, the error names the actual end, and the exit status is 1; the JSON form is then \
{\"topic\",\"partition\",\"expected_end\",\"end\"}. All lines together must fit max.message.bytes.

Table form: a summary at the end. JSON: an object for each acknowledged line, in the order of lines: \
{\"topic\",\"partition\",\"offset\",\"timestamp\",\"line\",\"durability\"}; \
line counts from 1, timestamp is in milliseconds, durability is \"fsynced\", \"written\" (in the memory of the operating \
system: what --acks leader gives, and topics with flush=os) or \"none\"; with --acks none the offset is null.

Examples:
  grower-cli produce events big.log --compression zstd
  printf 'user1:login\\nuser2:logout\\n' | grower-cli produce events --key-separator :
  echo \"leader: $HOSTNAME\" | grower-cli produce terms --partition 0 --expect-end 41
  grower-cli produce events /var/log/syslog --follow --header host=web1
  grower-cli produce events /var/log/syslog --follow --state-dir ~/.local/state/grower"
)]
pub struct ProduceCommand {
    /// The topic
    topic: String,
    /// The file, or a FIFO, which is read until its last writer closes it; standard input if missing or -
    file: Option<PathBuf>,
    /// Key of every record
    #[arg(long, value_name = "K", conflicts_with = "key_separator")]
    key: Option<String>,
    /// Split each line at the first S into key and value; a line without S has no key. \t, \0, \x1f and the like
    /// stand for the bytes they name, \\ for a backslash
    #[arg(long, value_name = "S", value_parser = separator)]
    key_separator: Option<Bytes>,
    /// A header of every record; may be repeated
    #[arg(long = "header", value_name = "K=V", value_parser = key_value)]
    headers: Vec<(String, String)>,
    /// Partition of every record, instead of a partitioner
    #[arg(long, value_name = "N", conflicts_with = "partitioner")]
    partition: Option<u32>,
    /// Write all lines in one batch if the partition ends at offset N, else nothing
    #[arg(long, value_name = "N", requires = "partition", value_parser = clap::value_parser!(u64).range(..=Offset::MAX.value()))]
    #[arg(conflicts_with_all = ["follow", "batch_bytes", "batch_records", "linger"])]
    expect_end: Option<u64>,
    /// How each record's partition is chosen
    #[arg(long, value_name = "NAME", default_value = "default")]
    partitioner: PartitionerName,
    /// When a record counts as acknowledged
    #[arg(long, value_name = "LEVEL", default_value = "all")]
    acks: AckLevel,
    /// How batches are compressed
    #[arg(long, value_name = "CODEC", default_value = "none")]
    compression: Compression,
    /// How long a batch waits for more records, in milliseconds. Records also gather while a request is in flight.
    /// The wait ends early once the limit of lines in flight is reached
    #[arg(long, value_name = "MS", default_value_t = 0)]
    linger: u64,
    /// The largest batch, in bytes before compression; a batch too large for the topic is split [default: 1 MiB]
    #[arg(long, value_name = "N")]
    batch_bytes: Option<usize>,
    /// The largest batch, in records [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_records: Option<u32>,
    /// Keep reading as the file grows, through rotation, and continue where an earlier run stopped
    #[arg(long, requires = "file")]
    follow: bool,
    /// The directory for the note of progress of --follow [default: next to the file]
    #[arg(long, value_name = "DIR", requires = "follow")]
    state_dir: Option<PathBuf>,
}

/// The default of the largest batch, in bytes.
const BATCH_BYTES: usize = 1 << 20;

/// Names of partitioners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PartitionerName {
    /// By key where there is one, else sticky
    Default,
    /// One partition for a while, at least 16 KiB, then the next
    Sticky,
    /// One after the other
    RoundRobin,
    /// By key (murmur2, as Kafka's clients); records without one share a partition
    Key,
}

impl ProduceCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self.carry(session).await {
            // Other commands succeed then, but here success means that every line was acknowledged.
            Err(error) if is_reader_gone(&error) => {
                bail!("the reader of the acks is gone: lines without a read ack may or may not be stored")
            }
            result => result,
        }
    }

    async fn carry(&self, session: &Session) -> anyhow::Result<()> {
        let line_bytes_max = self.line_bytes_max(session).await?;
        let producer = self.producer(session, line_bytes_max).await?;
        let report = ProduceReport::new(session.output, &self.topic);
        if self.follow {
            return self.follow(session, producer, report, line_bytes_max).await;
        }
        let source = source::open(self.file.as_deref(), line_bytes_max)?;
        if let (Some(partition), Some(offset)) = (self.partition, self.expect_end) {
            let bytes_max = self.batch_bytes_max(line_bytes_max);
            return self.append_at(ExpectedEnd { partition, offset }, &producer, report, source, bytes_max).await;
        }
        LineSender::new(self, producer, report).run(source).await
    }

    async fn follow(
        &self,
        session: &Session,
        producer: Producer,
        report: ProduceReport,
        limit: usize,
    ) -> anyhow::Result<()> {
        let path = self.file.as_deref().filter(|path| path.as_os_str() != "-");
        let path =
            path.ok_or(WrongUsage("--follow needs a file; without --follow, standard input is read to its end"))?;
        let state_dir = self.state_dir.as_deref();
        let Some(follower) = Follower::begin(&session.client, path, state_dir, &self.topic, limit).await? else {
            return Ok(());
        };
        let (source, keeper, arrived) = follower.start()?;
        LineSender::new(self, producer, report).with_note(keeper, arrived).run(source).await
    }

    /// Fetches the longest line that can be a record of the topic. Fails if the topic does not exist.
    async fn line_bytes_max(&self, session: &Session) -> anyhow::Result<usize> {
        let described = session.client.admin().describe_topic(&self.topic, false).await;
        let topic = described.with_context(|| format!("cannot write to {}", self.topic))?;
        let max = topic.configs.iter().find(|config| config.key == "max.message.bytes");
        let bytes = max.and_then(|config| config.value.parse::<bytesize::ByteSize>().ok());
        Ok(usize::try_from(bytes.map_or(1 << 20, |size| size.0))?)
    }

    async fn producer(&self, session: &Session, message_bytes_max: usize) -> anyhow::Result<Producer> {
        let mut builder = session
            .client
            .producer()
            .acks(self.acks.into())
            .compression(self.compression.into())
            .partitioner(self.partitioner.into())
            .linger(Duration::from_millis(self.linger));
        let bytes = self.batch_bytes.unwrap_or(BATCH_BYTES);
        builder = builder.batch_bytes(bytes.min(self.batch_bytes_max(message_bytes_max)));
        if let Some(records) = self.batch_records {
            builder = builder.batch_records(records);
        }
        Ok(builder.build().await?)
    }

    /// The largest batch, before compression, that the topic may accept. Larger ones are never built.
    fn batch_bytes_max(&self, message_bytes_max: usize) -> usize {
        let inflation = if self.compression == Compression::None { 1 } else { ProducerBuilder::INFLATION_MAX };
        message_bytes_max.saturating_mul(inflation)
    }

    /// Makes the record of a line.
    fn record(&self, topic: &Arc<str>, line: Bytes) -> Record {
        let (key, value) = self.split_key(line);
        let mut record = Record::new(topic.clone()).value(value);
        if let Some(key) = key {
            record = record.key(key);
        }
        if let Some(partition) = self.partition {
            record = record.partition(PartitionId::new(partition));
        }
        self.headers.iter().fold(record, |record, (name, value)| record.header(name.clone(), value.clone()))
    }

    fn split_key(&self, line: Bytes) -> (Option<Bytes>, Bytes) {
        if let Some(key) = &self.key {
            return (Some(Bytes::copy_from_slice(key.as_bytes())), line);
        }
        let Some(separator) = &self.key_separator else {
            return (None, line);
        };
        match line.windows(separator.len()).position(|window| window == separator) {
            Some(at) => (Some(line.slice(..at)), line.slice(at + separator.len()..)),
            None => (None, line),
        }
    }
}

/// Why a separator is refused.
#[derive(Debug, thiserror::Error)]
enum SeparatorError {
    #[error(transparent)]
    Escape(#[from] EscapeError),
    #[error("the separator is empty: omit --key-separator if lines have no keys")]
    Empty,
    #[error("a line never contains a newline")]
    Newline,
}

/// Reads a separator, with its escapes.
fn separator(text: &str) -> Result<Bytes, SeparatorError> {
    let bytes = unescaped(text)?;
    match bytes.contains(&b'\n') {
        true => Err(SeparatorError::Newline),
        false if bytes.is_empty() => Err(SeparatorError::Empty),
        false => Ok(Bytes::from(bytes)),
    }
}

impl From<PartitionerName> for Partitioner {
    fn from(name: PartitionerName) -> Self {
        match name {
            PartitionerName::Default => Self::Default,
            PartitionerName::Sticky => Self::Sticky,
            PartitionerName::RoundRobin => Self::RoundRobin,
            PartitionerName::Key => Self::Key,
        }
    }
}
