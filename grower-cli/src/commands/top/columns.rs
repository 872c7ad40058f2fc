//! The columns of both tables. Headings, widths, cells and sorting follow from these lists.

use super::model::{GroupLine, TopicLine};
use crate::groups::state_name;
use crate::output::{bytes_for_people, escaped, in_groups, in_short, millis_for_people};

/// A column of a table with lines `L`.
pub(crate) struct TopColumn<L> {
    pub(crate) heading: &'static str,
    /// In characters; the first column also takes what the others leave.
    pub(crate) width: u16,
    /// The text of its cell.
    pub(crate) text: fn(&L) -> String,
    /// The number to sort by. Lines of equal numbers are sorted by name.
    pub(crate) number: fn(&L) -> u64,
}

/// The columns of the topics. The first one is the name.
pub(crate) const TOPIC_COLUMNS: &[TopColumn<TopicLine>] = &[
    column("TOPIC", 10, |topic| topic.name.to_string(), |_| 0),
    column("PARTS", 6, |topic| in_short(topic.partitions), |topic| topic.partitions),
    column("RECORDS", 9, |topic| in_short(topic.records), |topic| topic.records),
    column("SIZE", 10, |topic| bytes_for_people(topic.bytes), |topic| topic.bytes),
    column("RECS IN", 9, |topic| in_short(topic.rate.records_in), |topic| topic.rate.records_in),
    column("IN/S", 10, |topic| bytes_for_people(topic.rate.bytes_in), |topic| topic.rate.bytes_in),
    column("RECS OUT", 9, |topic| in_short(topic.rate.records_out), |topic| topic.rate.records_out),
    column("OUT/S", 10, |topic| bytes_for_people(topic.rate.bytes_out), |topic| topic.rate.bytes_out),
];

/// The columns of the groups. The first one is the name.
pub(crate) const GROUP_COLUMNS: &[TopColumn<GroupLine>] = &[
    column("GROUP", 16, |group| escaped(&group.name).into_owned(), |_| 0),
    column("STATE", 12, |group| state_name(group.state).to_owned(), |group| group.state as u64),
    column("MEMBERS", 8, |group| in_groups(group.members), |group| group.members),
    column("LAG", 14, |group| in_groups(group.lag), |group| group.lag),
    column(
        "BEHIND",
        12,
        |group| group.lag_ms.map(millis_for_people).unwrap_or_default(),
        |group| group.lag_ms.unwrap_or(u64::MAX),
    ),
];

const fn column<L>(heading: &'static str, width: u16, text: fn(&L) -> String, number: fn(&L) -> u64) -> TopColumn<L> {
    TopColumn { heading, width, text, number }
}
