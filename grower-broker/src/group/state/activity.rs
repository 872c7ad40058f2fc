//! The time of each group's newest record, and of its newest commit of each partition.
//!
//! Groups without members are deleted when they have been inactive for the retention time. Operators see the commit
//! times.
//!
//! A group is inactive only if two clocks agree. Wall-clock dates survive a restart, but a clock that jumps makes all
//! of them old at once. The monotonic clock never jumps, but it starts with the process and knows only records since
//! then.

use super::record::GroupRecord;
use super::topic_id_partition::TopicIdPartition;
use grower_protocol::ids::{GroupId, Timestamp};
use grower_protocol::message::CommitTime;
use std::collections::BTreeMap;

/// Times of the newest records of all groups. They follow from the log, so they survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupActivity(BTreeMap<GroupId, LastActivity>);

/// Times of one group's newest records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LastActivity {
    newest: Option<Timestamp>,
    /// The same by the monotonic clock; none if the group has written nothing since the start.
    newest_monotonic: Option<Timestamp>,
    commits: BTreeMap<TopicIdPartition, Timestamp>,
}

impl GroupActivity {
    /// Takes in a record that a start found in the log, where it is since `wall`.
    pub fn found(&mut self, record: &GroupRecord, wall: Timestamp) {
        self.take(record, RecordTime { wall, steady: None });
    }

    /// Takes in a record that was appended now: `wall` by the wall clock, `steady` by the monotonic one.
    pub fn note(&mut self, record: &GroupRecord, wall: Timestamp, steady: Timestamp) {
        self.take(record, RecordTime { wall, steady: Some(steady) });
    }

    fn take(&mut self, record: &GroupRecord, time: RecordTime) {
        match record {
            GroupRecord::Group { group, state: None } => drop(self.0.remove(group)),
            GroupRecord::Group { group, .. } | GroupRecord::Member { group, state: Some(_), .. } => {
                self.0.entry(group.clone()).or_default().note(time);
            }
            GroupRecord::Offset { group, partition, state: Some(_) } => {
                let age = self.0.entry(group.clone()).or_default();
                age.note(time);
                age.commits.insert(*partition, time.wall);
            }
            // A late tombstone must not bring back a deleted group.
            GroupRecord::Member { group, .. } => {
                self.0.entry(group.clone()).and_modify(|age| age.note(time));
            }
            GroupRecord::Offset { group, partition, .. } => {
                if let Some(age) = self.0.get_mut(group) {
                    age.note(time);
                    age.commits.remove(partition);
                }
            }
            GroupRecord::MinimumEpoch { .. } => {}
        }
    }

    /// The time of a group's newest commit of each partition.
    pub fn commits(&self, group: &GroupId) -> Vec<CommitTime> {
        let commits = self.0.get(group).into_iter().flat_map(|age| &age.commits);
        commits
            .map(|(partition, at)| CommitTime { topic: partition.topic, partition: partition.partition, at: *at })
            .collect()
    }

    /// Groups that wrote nothing for longer than this by both clocks, sorted. They may still have members.
    pub fn inactive_for(&self, millis: u64, wall: Timestamp, steady: Timestamp) -> Vec<GroupId> {
        let inactive = |(_, age): &(&GroupId, &LastActivity)| {
            age.newest.is_some_and(|newest| millis < wall.millis_since(newest))
                && age.newest_monotonic.is_none_or(|newest| millis < steady.millis_since(newest))
        };
        self.0.iter().filter(inactive).map(|(group, _)| group.clone()).collect()
    }
}

/// When a record was appended: by the wall clock, and by the monotonic one if that was in this process.
#[derive(Clone, Copy)]
struct RecordTime {
    wall: Timestamp,
    steady: Option<Timestamp>,
}

impl LastActivity {
    fn note(&mut self, RecordTime { wall, steady }: RecordTime) {
        self.newest = self.newest.max(Some(wall));
        self.newest_monotonic = self.newest_monotonic.max(steady);
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
    fn each_partition_keeps_the_time_of_its_newest_commit() {
        use super::super::record::StoredOffset;
        use grower_protocol::ids::{Offset, PartitionId, TopicId};
        let key =
            |number| TopicIdPartition { topic: TopicId::from_bytes([1; 16]), partition: PartitionId::new(number) };
        let commit = |number, there: bool| GroupRecord::Offset {
            group: GroupId::new("g").unwrap(),
            partition: key(number),
            state: there.then(|| StoredOffset { offset: Offset::ZERO, leader_epoch: None, metadata: String::new() }),
        };
        let mut activity = GroupActivity::default();
        activity.found(&commit(0, true), at(100));
        activity.found(&commit(1, true), at(200));
        activity.found(&commit(0, true), at(300));
        let dates = |activity: &GroupActivity| {
            let commits = activity.commits(&GroupId::new("g").unwrap());
            commits.iter().map(|commit| (commit.partition.value(), commit.at.as_millis())).collect::<Vec<_>>()
        };
        assert_eq!(dates(&activity), [(0, 300), (1, 200)]);
        activity.found(&commit(0, false), at(400));
        assert_eq!(dates(&activity), [(1, 200)]);
        activity.found(&record("g", false), at(500));
        assert_eq!(dates(&activity), []);
    }

    #[test]
    fn a_groups_age_is_that_of_its_newest_record_until_its_tombstone() {
        let mut activity = GroupActivity::default();
        activity.found(&record("a", true), at(100));
        activity.found(&record("b", true), at(200));
        activity.found(&record("b", true), at(150));
        let inactive = |activity: &GroupActivity, now| {
            activity.inactive_for(50, at(now), at(0)).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(inactive(&activity, 150).is_empty());
        assert_eq!(inactive(&activity, 151), ["a"]);
        assert_eq!(inactive(&activity, 251), ["a", "b"]);
        activity.found(&record("a", false), at(251));
        assert_eq!(inactive(&activity, 251), ["b"]);
        assert!(inactive(&activity, -1).is_empty(), "a clock that went back forgets nothing");
    }

    #[test]
    fn a_wall_clock_jump_makes_no_active_group_inactive() {
        let mut activity = GroupActivity::default();
        activity.note(&record("a", true), at(100), at(100));
        let inactive = |date, now| activity.inactive_for(50, at(date), at(now)).len();
        assert_eq!(inactive(1_000_000, 150), 0);
        assert_eq!(inactive(1_000_000, 151), 1);
        assert_eq!(inactive(150, 1_000_000), 0);
    }
}
