//! The record header that identifies a line of a followed file.
//!
//! A follower killed between the broker's ack and its own note would send those lines again. The next run therefore
//! reads the topic: records after the offsets of the note that carry its mark are lines that have arrived. It also
//! waits for records that are appended but not yet committed.

use super::note::{Note, TopicSpan};
use grower_client::ids::{Offset, PartitionId};
use grower_client::{Client, ConsumerRecord, StartFrom};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// The header's name.
const HEADER: &str = "grower-follow";

/// Identifies a line of a followed file: the number of the file, and the line's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LineMark {
    /// The number of the file.
    pub(crate) incarnation: u32,
    /// The position of the line's first byte.
    pub(crate) start: u64,
}

impl LineMark {
    /// The header of the line's record.
    pub(crate) fn header(self, follower: &str) -> (&'static str, String) {
        (HEADER, format!("{follower}:{}:{}", self.incarnation, self.start))
    }

    /// Reads the mark of this follower in a record's headers.
    fn of(record: &ConsumerRecord, follower: &str) -> Option<Self> {
        let header = record.headers.iter().find(|header| header.name.as_ref() == HEADER.as_bytes())?;
        Self::parse(header.value.as_deref()?, follower)
    }

    /// Parses a header value. Any producer may write such a header: other values are ignored.
    fn parse(value: &[u8], follower: &str) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (incarnation, start) = text.strip_prefix(follower)?.strip_prefix(':')?.split_once(':')?;
        Some(Self { incarnation: incarnation.parse().ok()?, start: start.parse().ok()? })
    }
}

/// Lines that arrived after the note was written, each with a checksum of its record's value.
#[derive(Debug, Default)]
pub(crate) struct ArrivedLines(BTreeMap<LineMark, u32>);

impl ArrivedLines {
    /// Whether the line has arrived. The value is compared as well: a lost file may have had the number that another
    /// file has now.
    pub(crate) fn take(&mut self, mark: LineMark, value: &[u8]) -> bool {
        let has_arrived = self.0.get(&mark) == Some(&crc32fast::hash(value));
        if has_arrived {
            self.0.remove(&mark);
        }
        has_arrived
    }

    /// Finds lines that arrived after `note` was written, among the records appended so far.
    pub(crate) async fn find(client: &Client, topic: &str, note: &Note, now: &TopicSpan) -> anyhow::Result<Self> {
        let mut arrived = Self::default();
        for (partition, span) in &now.partitions {
            let from = note.unknown_from(*partition).max(span.start);
            arrived.find_in(client, (topic, *partition), note, from..span.end).await?;
        }
        Ok(arrived)
    }

    async fn find_in(
        &mut self,
        client: &Client,
        (topic, partition): (&str, PartitionId),
        note: &Note,
        Range { start, mut end }: Range<Offset>,
    ) -> anyhow::Result<()> {
        if end <= start {
            return Ok(());
        }
        let builder = client.consumer().assign([(topic, partition)]).from(StartFrom::Offset(start));
        let mut consumer = builder.build().await?;
        while consumer.position(topic, partition).unwrap_or(start) < end {
            let records = consumer.poll(Duration::from_secs(1)).await?;
            if records.is_empty() {
                // A restarted broker may have lost uncommitted records.
                let now = TopicSpan::describe(client, topic).await?;
                end = end.min(now.partitions.get(&partition).map_or(start, |now| now.end));
            }
            for record in &records {
                let value = record.value.as_deref().unwrap_or_default();
                let mark = LineMark::of(record, &note.follower).filter(|mark| note.leaves_open(*mark));
                self.0.extend(mark.map(|mark| (mark, crc32fast::hash(value))));
            }
        }
        Ok(consumer.close().await?)
    }
}

impl TopicSpan {
    /// Fetches the offsets of a topic.
    pub(crate) async fn describe(client: &Client, topic: &str) -> anyhow::Result<Self> {
        let described = client.admin().describe_topic(topic, false).await?;
        let partitions = described.partitions.iter();
        let partitions = partitions.map(|one| (one.partition, one.log_start..one.log_end)).collect();
        Ok(Self { id: described.id, partitions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_arrived_only_with_its_own_content() {
        let mark = LineMark { incarnation: 1, start: 0 };
        let mut arrived = ArrivedLines([(mark, crc32fast::hash(b"one"))].into());
        assert!(!arrived.take(mark, b"of another file with this number"));
        assert!(arrived.take(mark, b"one") && !arrived.take(mark, b"one"));
    }

    #[test]
    fn a_header_of_another_producer_is_never_parsed_as_a_mark() {
        let mark = LineMark { incarnation: u32::MAX, start: u64::MAX };
        let (_, sound) = mark.header("me:1");
        assert_eq!(LineMark::parse(sound.as_bytes(), "me:1"), Some(mark));
        let hostile: [&[u8]; 13] = [
            b"",
            b":",
            b"::",
            b"me:1",
            b"me:1:",
            b"me:1::",
            b"me:1:1",
            b"me:1:1:",
            b"me:1:-1:1",
            b"me:1:1:1:1",
            b"me:1:4294967296:1",
            b"me:1:1:18446744073709551616",
            b"me:1:1:\xff",
        ];
        for value in hostile {
            assert_eq!(LineMark::parse(value, "me:1"), None, "{value:?}");
        }
        for cut in 0..sound.len() {
            let parsed = LineMark::parse(&sound.as_bytes()[..cut], "me:1");
            assert!(parsed.is_none_or(|parsed| parsed.incarnation == u32::MAX), "{parsed:?}");
        }
        assert_eq!(LineMark::parse(sound.as_bytes(), "me"), None, "another follower, whose name begins like ours");
    }
}
