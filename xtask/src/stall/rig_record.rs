//! The records of the rig: each names its writer and its number, so that the log alone shows order and repeats.

use anyhow::Context;
use grower_client::ConsumerRecord;
use std::collections::HashMap;

/// The content of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RigRecord {
    /// The producer that wrote it; each has a name of its own.
    pub(super) writer: String,
    /// The position among the writer's records of the partition, in the order of hand-in.
    pub(super) number: u64,
}

impl RigRecord {
    pub(super) fn value(&self) -> String {
        let padding = ".".repeat((self.number * 7919 % 200) as usize);
        format!("{} {} {padding}", self.writer, self.number)
    }

    pub(super) fn parse(record: &ConsumerRecord) -> anyhow::Result<Self> {
        let value = record.value.as_deref().context("no value")?;
        let text = std::str::from_utf8(value)?;
        let mut words = text.split(' ');
        let (writer, number) = (words.next().context("no writer")?, words.next().context("no number")?);
        let parsed = Self { writer: writer.to_owned(), number: number.parse()? };
        anyhow::ensure!(parsed.value() == text, "{text:?} is no record of the rig");
        Ok(parsed)
    }
}

/// Checks that the records of a partition come once each, in the order of hand-in, without a gap of offsets.
#[derive(Default)]
pub(super) struct OrderCheck {
    next_offset: u64,
    /// The last number of each writer.
    last: HashMap<String, u64>,
}

impl OrderCheck {
    /// The next offset to come.
    pub(super) fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Checks the next record. An error names the broken promise.
    pub(super) fn check(&mut self, record: &ConsumerRecord) -> anyhow::Result<RigRecord> {
        let (offset, expected) = (record.offset.value(), self.next_offset);
        anyhow::ensure!(offset == expected, "offset {offset} came instead of {expected}");
        self.next_offset += 1;
        let parsed = RigRecord::parse(record)?;
        let last = self.last.insert(parsed.writer.clone(), parsed.number);
        if let Some(last) = last.filter(|last| parsed.number <= *last) {
            anyhow::bail!("offset {offset}: number {} of {} comes behind number {last}", parsed.number, parsed.writer);
        }
        Ok(parsed)
    }
}
