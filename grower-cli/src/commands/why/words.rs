//! Numbers and times as parts of sentences.

use crate::output::{in_groups, span_for_people};
use grower_client::ids::{Offset, Timestamp};
use std::time::Duration;

/// `1 record`, `1,200 records`.
pub(super) fn records(count: u64) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{} records", in_groups(count)) }
}

/// `1,200 records (4 s)`.
pub(super) fn lag(count: u64, millis: Option<u64>) -> String {
    match millis {
        Some(millis) => format!("{} ({})", records(count), span(millis)),
        None => records(count),
    }
}

pub(super) fn span(millis: u64) -> String {
    span_for_people(Duration::from_millis(millis))
}

pub(super) fn since(then: Timestamp, now: Timestamp) -> String {
    span(now.millis_since(then))
}

/// `offsets 3..5, 9..10`.
pub(super) fn ranges(ranges: &[(Offset, Offset)]) -> String {
    let ranges: Vec<String> = ranges.iter().map(|(from, to)| format!("{from}..{to}")).collect();
    format!("offsets {}", ranges.join(", "))
}
