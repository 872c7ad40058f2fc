//! Where the group begins: decided once for a topic. A partition that comes later is read from its first record,
//! whichever member reads it, and whatever that one was told.

use super::*;

/// Where members are told to begin: among the records, so that they have some to read.
const BEGIN: u64 = 40;

impl World {
    /// What the member in a seat asks: all partitions that there are of its topics, whatever it owns.
    pub(super) fn start_of(&self, seat: usize) -> Option<(Member, Vec<PartitionKey>)> {
        let member = self.processes[seat].as_ref()?.member.clone();
        let topics = self.coordinator.topics.iter().filter(|(name, _)| member.topics.contains(name));
        let partitions: Vec<PartitionKey> = topics.flat_map(|(_, topic)| topic.partitions()).collect();
        (!partitions.is_empty()).then_some((member, partitions))
    }

    pub(super) fn start_as(&mut self, member: &Member, partitions: &[PartitionKey]) {
        use ErrorCode::{FencedInstance, FencedMember, UnknownMember, UnknownPartition};
        let started = self.coordinator.start(member, partitions, BEGIN);
        self.coordinator.sync();
        let positions = match started {
            Ok(positions) => positions,
            Err(failure) => {
                assert!(
                    [FencedInstance, FencedMember, UnknownMember, UnknownPartition].contains(&failure.code),
                    "{failure}"
                );
                return;
            }
        };
        let begun: BTreeSet<TopicId> = self.commits.keys().map(|partition| partition.topic).collect();
        let told: BTreeMap<PartitionKey, u64> = positions
            .iter()
            .map(|at| (PartitionKey { topic: at.topic, partition: at.partition }, at.offset.value()))
            .collect();
        assert!(told.keys().eq(&partitions.iter().copied().collect::<BTreeSet<_>>()), "each partition has a position");
        for (partition, offset) in told {
            let begins = if begun.contains(&partition.topic) { 0 } else { BEGIN };
            let expected = *self.commits.entry(partition).or_insert(begins);
            assert_eq!(offset, expected, "{} begins {partition:?} there", member.id);
        }
    }
}
