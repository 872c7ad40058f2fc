//! When each group was last heard of: what groups without members remember is forgotten after a while.
//! And when it committed what, for those who look after it.
//!
//! A group is silent if it is so by two clocks. Dates survive a restart, and a wall clock that jumps makes them old at once.
//! The other clock never jumps and begins with the process, so it says nothing of groups not heard of since the start.

use super::partition_key::PartitionKey;
use super::record::GroupRecord;
use grower_protocol::ids::{GroupId, Timestamp};
use grower_protocol::message::CommitTime;
use std::collections::BTreeMap;

/// The dates of the newest records of groups. They follow from the log, so they survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupActivity(BTreeMap<GroupId, LastActivity>);

/// Of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LastActivity {
    newest: Option<Timestamp>,
    /// The same by the clock that never jumps; none if nothing was heard since the start.
    heard: Option<Timestamp>,
    commits: BTreeMap<PartitionKey, Timestamp>,
}

impl GroupActivity {
    /// A record was found in the log; it is there since `date`.
    pub fn found(&mut self, record: &GroupRecord, date: Timestamp) {
        self.take(record, RecordTime { date, at: None });
    }

    /// A record is in the log since now: by the calendar, and by a clock that never jumps.
    pub fn note(&mut self, record: &GroupRecord, date: Timestamp, at: Timestamp) {
        self.take(record, RecordTime { date, at: Some(at) });
    }

    fn take(&mut self, record: &GroupRecord, heard: RecordTime) {
        match record {
            GroupRecord::Group { group, state: None } => drop(self.0.remove(group)),
            GroupRecord::Group { group, .. } | GroupRecord::Member { group, state: Some(_), .. } => {
                self.0.entry(group.clone()).or_default().hear(heard);
            }
            GroupRecord::Offset { group, partition, state: Some(_) } => {
                let age = self.0.entry(group.clone()).or_default();
                age.hear(heard);
                age.commits.insert(*partition, heard.date);
            }
            // Of a group that is gone, a late tombstone makes none.
            GroupRecord::Member { group, .. } => {
                self.0.entry(group.clone()).and_modify(|age| age.hear(heard));
            }
            GroupRecord::Offset { group, partition, .. } => {
                if let Some(age) = self.0.get_mut(group) {
                    age.hear(heard);
                    age.commits.remove(partition);
                }
            }
            GroupRecord::MinimumEpoch { .. } => {}
        }
    }

    /// When a group last committed, by partition.
    pub fn commits(&self, group: &GroupId) -> Vec<CommitTime> {
        let commits = self.0.get(group).into_iter().flat_map(|age| &age.commits);
        commits
            .map(|(partition, at)| CommitTime { topic: partition.topic, partition: partition.partition, at: *at })
            .collect()
    }

    /// Groups of which nothing was heard for longer than this by both clocks, sorted. Those with members are alive all the
    /// same.
    pub fn inactive_for(&self, millis: u64, date: Timestamp, now: Timestamp) -> Vec<GroupId> {
        let silent = |(_, age): &(&GroupId, &LastActivity)| {
            age.newest.is_some_and(|newest| millis < date.millis_since(newest))
                && age.heard.is_none_or(|heard| millis < now.millis_since(heard))
        };
        self.0.iter().filter(silent).map(|(group, _)| group.clone()).collect()
    }
}

/// When a record came: its date, and when that was by the clock that never jumps.
#[derive(Clone, Copy)]
struct RecordTime {
    date: Timestamp,
    at: Option<Timestamp>,
}

impl LastActivity {
    fn hear(&mut self, RecordTime { date, at }: RecordTime) {
        self.newest = self.newest.max(Some(date));
        self.heard = self.heard.max(at);
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::StoredGroup;
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn record(group: &str, there: bool) -> GroupRecord {
        let state = there.then(|| StoredGroup { epoch: 1, assignor: String::new() });
        GroupRecord::Group { group: GroupId::new(group).unwrap(), state }
    }

    #[test]
    fn each_offset_has_the_date_of_its_last_commit_until_it_is_forgotten() {
        use super::super::record::StoredOffset;
        use grower_protocol::ids::{Offset, PartitionId, TopicId};
        let partition =
            |partition| PartitionKey { topic: TopicId::from_bytes([1; 16]), partition: PartitionId::new(partition) };
        let commit = |partition, there: bool| GroupRecord::Offset {
            group: GroupId::new("g").unwrap(),
            partition: partition(partition),
            state: there.then(|| StoredOffset { offset: Offset::ZERO, leader_epoch: None, metadata: String::new() }),
        };
        let mut ages = GroupActivity::default();
        ages.found(&commit(0, true), at(100));
        ages.found(&commit(1, true), at(200));
        ages.found(&commit(0, true), at(300));
        let dates = |ages: &GroupActivity| {
            let commits = ages.commits(&GroupId::new("g").unwrap());
            commits.iter().map(|commit| (commit.partition.value(), commit.at.as_millis())).collect::<Vec<_>>()
        };
        assert_eq!(dates(&ages), [(0, 300), (1, 200)]);
        ages.found(&commit(0, false), at(400));
        assert_eq!(dates(&ages), [(1, 200)]);
        ages.found(&record("g", false), at(500));
        assert_eq!(dates(&ages), []);
    }

    #[test]
    fn a_group_is_as_old_as_its_newest_record_and_gone_with_its_tombstone() {
        let mut ages = GroupActivity::default();
        ages.found(&record("a", true), at(100));
        ages.found(&record("b", true), at(200));
        ages.found(&record("b", true), at(150));
        let silent = |ages: &GroupActivity, now| {
            ages.inactive_for(50, at(now), at(0)).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(silent(&ages, 150).is_empty());
        assert_eq!(silent(&ages, 151), ["a"]);
        assert_eq!(silent(&ages, 251), ["a", "b"]);
        ages.found(&record("a", false), at(251));
        assert_eq!(silent(&ages, 251), ["b"]);
        assert!(silent(&ages, -1).is_empty(), "a clock that went back forgets nothing");
    }

    #[test]
    fn a_date_that_jumps_ahead_makes_no_group_silent_that_was_heard_of() {
        let mut ages = GroupActivity::default();
        ages.note(&record("a", true), at(100), at(100));
        let silent = |date, now| ages.inactive_for(50, at(date), at(now)).len();
        assert_eq!(silent(1_000_000, 150), 0);
        assert_eq!(silent(1_000_000, 151), 1);
        assert_eq!(silent(150, 1_000_000), 0);
    }
}
