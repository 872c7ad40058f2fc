//! Start offsets: decided once for a topic. A later partition starts at its first record, for every member.

use super::*;

/// The proposed start position, with records on both sides.
const BEGIN: u64 = 40;

impl World {
    /// The request of a member: all partitions of its topics.
    pub(super) fn start_of(&self, at: usize) -> Option<(Member, Vec<TopicIdPartition>)> {
        let member = self.processes[at].as_ref()?.member.clone();
        let topics = self.coordinator.topics.iter().filter(|(name, _)| member.topics.contains(name));
        let partitions: Vec<TopicIdPartition> = topics.flat_map(|(_, topic)| topic.partitions()).collect();
        (!partitions.is_empty()).then_some((member, partitions))
    }

    pub(super) fn start_as(&mut self, member: &Member, partitions: &[TopicIdPartition]) {
        use ErrorCode::{FencedInstance, FencedMember, UnknownMember, UnknownPartition};
        let started = self.coordinator.start(member, partitions, BEGIN);
        self.coordinator.sync();
        let offsets = match started {
            Ok(offsets) => offsets,
            Err(failure) => {
                assert!(
                    [FencedInstance, FencedMember, UnknownMember, UnknownPartition].contains(&failure.code),
                    "{failure}"
                );
                return;
            }
        };
        let begun: BTreeSet<TopicId> = self.commits.keys().map(|partition| partition.topic).collect();
        let positions: BTreeMap<TopicIdPartition, u64> = offsets
            .iter()
            .map(|at| (TopicIdPartition { topic: at.topic, partition: at.partition }, at.offset.value()))
            .collect();
        assert!(
            positions.keys().eq(&partitions.iter().copied().collect::<BTreeSet<_>>()),
            "each partition has a position"
        );
        for (partition, offset) in positions {
            let begins = if begun.contains(&partition.topic) { 0 } else { BEGIN };
            let expected = *self.commits.entry(partition).or_insert(begins);
            assert_eq!(offset, expected, "{} begins {partition:?} there", member.id);
        }
    }
}
