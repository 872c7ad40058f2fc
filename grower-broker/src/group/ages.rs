//! When each group was last heard of, by the calendar: what groups without members remember is forgotten after a while.
//! And when it committed what, for those who look after it.

use super::record::GroupRecord;
use super::slot::Slot;
use grower_protocol::ids::{GroupId, Timestamp};
use grower_protocol::message::CommitTime;
use std::collections::BTreeMap;

/// The dates of the newest records of groups. They follow from the log, so they survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ages(BTreeMap<GroupId, Age>);

/// Of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Age {
    newest: Option<Timestamp>,
    commits: BTreeMap<Slot, Timestamp>,
}

impl Ages {
    /// A record is in the log since `date`.
    pub fn note(&mut self, record: &GroupRecord, date: Timestamp) {
        match record {
            GroupRecord::Group { group, state: None } => drop(self.0.remove(group)),
            GroupRecord::Group { group, .. } | GroupRecord::Member { group, state: Some(_), .. } => {
                self.0.entry(group.clone()).or_default().heard(date);
            }
            GroupRecord::Offset { group, slot, state: Some(_) } => {
                let age = self.0.entry(group.clone()).or_default();
                age.heard(date);
                age.commits.insert(*slot, date);
            }
            // Of a group that is gone, a late tombstone makes none.
            GroupRecord::Member { group, .. } => {
                self.0.entry(group.clone()).and_modify(|age| age.heard(date));
            }
            GroupRecord::Offset { group, slot, .. } => {
                if let Some(age) = self.0.get_mut(group) {
                    age.heard(date);
                    age.commits.remove(slot);
                }
            }
            GroupRecord::Floor { .. } => {}
        }
    }

    /// When a group last committed, by partition.
    pub fn commits(&self, group: &GroupId) -> Vec<CommitTime> {
        let commits = self.0.get(group).into_iter().flat_map(|age| &age.commits);
        commits.map(|(slot, at)| CommitTime { topic: slot.topic, partition: slot.partition, at: *at }).collect()
    }

    /// Groups of which nothing was heard for longer than this, sorted. Those with members are alive all the same.
    pub fn silent_for(&self, millis: u64, now: Timestamp) -> Vec<GroupId> {
        let silent = |(_, age): &(&GroupId, &Age)| age.newest.is_some_and(|newest| millis < now.millis_since(newest));
        self.0.iter().filter(silent).map(|(group, _)| group.clone()).collect()
    }
}

impl Age {
    fn heard(&mut self, date: Timestamp) {
        self.newest = self.newest.max(Some(date));
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
    fn each_offset_has_the_date_of_its_last_commit_until_it_is_forgotten() {
        use super::super::record::OffsetState;
        use grower_protocol::ids::{Offset, PartitionId, TopicId};
        let slot = |partition| Slot { topic: TopicId::from_bytes([1; 16]), partition: PartitionId::new(partition) };
        let commit = |partition, there: bool| GroupRecord::Offset {
            group: GroupId::new("g").unwrap(),
            slot: slot(partition),
            state: there.then(|| OffsetState { offset: Offset::ZERO, metadata: String::new() }),
        };
        let mut ages = Ages::default();
        ages.note(&commit(0, true), at(100));
        ages.note(&commit(1, true), at(200));
        ages.note(&commit(0, true), at(300));
        let dates = |ages: &Ages| {
            let commits = ages.commits(&GroupId::new("g").unwrap());
            commits.iter().map(|commit| (commit.partition.value(), commit.at.as_millis())).collect::<Vec<_>>()
        };
        assert_eq!(dates(&ages), [(0, 300), (1, 200)]);
        ages.note(&commit(0, false), at(400));
        assert_eq!(dates(&ages), [(1, 200)]);
        ages.note(&record("g", false), at(500));
        assert_eq!(dates(&ages), []);
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
