//! Collects valid lines that were not acknowledged, and those of them that may be stored nevertheless.

use crate::output::{counted, in_groups};
use grower_client::{Outcome, ProduceError};
use std::fmt;

/// The lines by number, added in the order of the input.
#[derive(Default)]
pub(super) struct Unacknowledged {
    first: Option<ProduceError>,
    lines: LineRanges,
    in_doubt: LineRanges,
}

impl Unacknowledged {
    pub(super) fn add(&mut self, line: u64, why: ProduceError) {
        self.lines.add(line);
        if why.outcome() == Outcome::Unknown {
            self.in_doubt.add(line);
        }
        self.first.get_or_insert(why);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Returns an error with all line numbers, if there are any. `sent_up_to` is the last line that was sent, unless
    /// it was the last of the input.
    pub(super) fn into_error(self, sent_up_to: Option<u64>, acknowledged: u64) -> Option<anyhow::Error> {
        let Self { first, lines, in_doubt } = self;
        let mut text = format!("not acknowledged: {lines}");
        if !in_doubt.0.is_empty() {
            let which = if in_doubt.0 == lines.0 { "all".to_owned() } else { in_doubt.to_string() };
            text = format!("{text}; possibly stored: {which}");
        }
        if let Some(last) = sent_up_to {
            text = format!("{text}; not sent: every line after {last}");
        }
        text = format!("{text}; acknowledged: {}", counted(acknowledged, "line"));
        first.map(|first| anyhow::Error::new(first).context(text))
    }
}

/// Ascending line numbers as inclusive ranges.
#[derive(Default, PartialEq, Eq)]
struct LineRanges(Vec<(u64, u64)>);

impl LineRanges {
    fn add(&mut self, line: u64) {
        match self.0.last_mut() {
            Some((_, last)) if *last + 1 == line => *last = line,
            _ => self.0.push((line, line)),
        }
    }
}

impl fmt::Display for LineRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: u64 = self.0.iter().map(|(first, last)| last - first + 1).sum();
        f.write_str(if count == 1 { "line " } else { "lines " })?;
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        if self.0.len() > 1 { write!(f, " ({} lines)", in_groups(count)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::message_of;
    use std::time::Duration;

    fn failure(in_doubt: bool) -> ProduceError {
        let topic_partition = grower_client::TopicPartition {
            topic: grower_client::ids::TopicName::new("t").unwrap(),
            partition: grower_client::ids::PartitionId::new(1),
        };
        ProduceError::TimedOut { topic_partition, after: Duration::from_secs(1), in_doubt, last: None }
    }

    fn message_of_lines(lines: impl IntoIterator<Item = (u64, bool)>, sent_up_to: Option<u64>) -> String {
        let mut unacknowledged = Unacknowledged::default();
        lines.into_iter().for_each(|(line, in_doubt)| unacknowledged.add(line, failure(in_doubt)));
        message_of(&unacknowledged.into_error(sent_up_to, 7).unwrap())
    }

    #[test]
    fn exactly_the_unacknowledged_lines_are_named() {
        insta::assert_snapshot!(message_of_lines([(2, false)], None), @"not acknowledged: line 2; acknowledged: 7 lines: t/1: not acknowledged within 1s; it was not written");
        insta::assert_snapshot!(message_of_lines([2, 4, 5, 6, 9].map(|line| (line, line == 5)), Some(12)), @"not acknowledged: lines 2, 4-6, 9 (5 lines); possibly stored: line 5; not sent: every line after 12; acknowledged: 7 lines: t/1: not acknowledged within 1s; it was not written");
        insta::assert_snapshot!(message_of_lines([(3, true), (4, true)], Some(4)), @"not acknowledged: lines 3-4; possibly stored: all; not sent: every line after 4; acknowledged: 7 lines: t/1: not acknowledged within 1s; it may have been written");
    }
}
