//! The header that tells which line of a followed file a record is.
//!
//! A follower killed after the broker's ack and before its own note would send those lines again. So it asks the topic:
//! records behind the offsets of its note that carry its mark are lines that have arrived.

use grower_client::ids::{Offset, PartitionId};
use grower_client::{Client, ConsumeError, ConsumerRecord, StartFrom};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The header's name.
const HEADER: &str = "grower-follow";

/// One line of a followed file: the how-manieth file, and the byte at which it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// Which file.
    pub(crate) incarnation: u32,
    /// Where in it.
    pub(crate) start: u64,
}

impl Mark {
    /// The header of the line's record.
    pub(crate) fn header(self, follower: &str) -> (&'static str, String) {
        (HEADER, format!("{follower}:{}:{}", self.incarnation, self.start))
    }

    /// Reads the mark of this follower in a record's headers.
    fn of(record: &ConsumerRecord, follower: &str) -> Option<Self> {
        let header = record.headers.iter().find(|header| header.name.as_ref() == HEADER.as_bytes())?;
        Self::parse(header.value.as_deref()?, follower)
    }

    /// Anybody may write such a header: what is no mark of ours says nothing.
    fn parse(value: &[u8], follower: &str) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (incarnation, start) = text.strip_prefix(follower)?.strip_prefix(':')?.split_once(':')?;
        Some(Self { incarnation: incarnation.parse().ok()?, start: start.parse().ok()? })
    }
}

/// The marks of `follower` in the records `from..ends` of each partition of a topic.
pub(crate) async fn marks_after(
    client: &Client,
    topic: &str,
    follower: &str,
    from: &BTreeMap<PartitionId, Offset>,
    ends: &BTreeMap<PartitionId, Offset>,
) -> Result<BTreeSet<Mark>, ConsumeError> {
    let mut marks = BTreeSet::new();
    for (partition, end) in ends {
        let start = from.get(partition).copied().unwrap_or_default();
        if *end <= start {
            continue;
        }
        let builder = client.consumer().assign([(topic, *partition)]).from(StartFrom::Offset(start));
        let mut consumer = builder.build().await?;
        while consumer.position(topic, *partition).unwrap_or(start) < *end {
            for record in consumer.poll(Duration::from_secs(1)).await? {
                marks.extend(Mark::of(&record, follower));
            }
        }
        consumer.close().await?;
    }
    Ok(marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_may_write_is_a_mark_of_ours_or_nothing() {
        let mark = Mark { incarnation: u32::MAX, start: u64::MAX };
        let (_, sound) = mark.header("me:1");
        assert_eq!(Mark::parse(sound.as_bytes(), "me:1"), Some(mark));
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
            assert_eq!(Mark::parse(value, "me:1"), None, "{value:?}");
        }
        for cut in 0..sound.len() {
            let parsed = Mark::parse(&sound.as_bytes()[..cut], "me:1");
            assert!(parsed.is_none_or(|parsed| parsed.incarnation == u32::MAX), "{parsed:?}");
        }
        assert_eq!(Mark::parse(sound.as_bytes(), "me"), None, "another follower, whose name begins like ours");
    }
}
