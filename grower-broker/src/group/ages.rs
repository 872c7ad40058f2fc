//! When each group was last heard of, by the calendar: what groups without members remember is forgotten after a while.

use super::record::GroupRecord;
use grower_protocol::ids::{GroupId, Timestamp};
use std::collections::BTreeMap;

/// The dates of the newest records of groups. They follow from the log, so they survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ages(BTreeMap<GroupId, Timestamp>);

impl Ages {
    /// A record is in the log since `date`.
    pub fn note(&mut self, record: &GroupRecord, date: Timestamp) {
        match record {
            GroupRecord::Group { group, state: None } => drop(self.0.remove(group)),
            GroupRecord::Group { group, .. }
            | GroupRecord::Member { group, state: Some(_), .. }
            | GroupRecord::Offset { group, state: Some(_), .. } => {
                let newest = self.0.entry(group.clone()).or_insert(date);
                *newest = date.max(*newest);
            }
            // Of a group that is gone, a late tombstone makes none.
            GroupRecord::Member { group, .. } | GroupRecord::Offset { group, .. } => {
                self.0.entry(group.clone()).and_modify(|newest| *newest = date.max(*newest));
            }
            GroupRecord::Floor { .. } => {}
        }
    }

    /// Groups of which nothing was heard for longer than this, sorted. Those with members are alive all the same.
    pub fn silent_for(&self, millis: u64, now: Timestamp) -> Vec<GroupId> {
        let silent = |(_, newest): &(&GroupId, &Timestamp)| millis < now.millis_since(**newest);
        self.0.iter().filter(silent).map(|(group, _)| group.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::GroupState;
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn record(group: &str, there: bool) -> GroupRecord {
        let state = there.then(|| GroupState { epoch: 1, assignor: String::new() });
        GroupRecord::Group { group: GroupId::new(group).unwrap(), state }
    }

    #[test]
    fn a_group_is_as_old_as_its_newest_record_and_gone_with_its_tombstone() {
        let mut ages = Ages::default();
        ages.note(&record("a", true), at(100));
        ages.note(&record("b", true), at(200));
        ages.note(&record("b", true), at(150));
        let silent =
            |ages: &Ages, now| ages.silent_for(50, at(now)).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(silent(&ages, 150).is_empty());
        assert_eq!(silent(&ages, 151), ["a"]);
        assert_eq!(silent(&ages, 251), ["a", "b"]);
        ages.note(&record("a", false), at(251));
        assert_eq!(silent(&ages, 251), ["b"]);
        assert!(silent(&ages, -1).is_empty(), "a clock that went back forgets nothing");
    }
}
