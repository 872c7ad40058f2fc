//! Where the group begins: decided once for a topic. A partition that comes later is read from its first record,
//! whichever member reads it, and whatever that one was told.

use super::*;

/// Where members are told to begin: among the records, so that they have some to read.
const BEGIN: u64 = 40;

impl World {
    /// What the member in a seat asks: all partitions that there are of its topics, whatever it owns.
    pub(super) fn start_of(&self, seat: usize) -> Option<(Member, Vec<Slot>)> {
        let member = self.processes[seat].as_ref()?.member.clone();
        let topics = self.coordinator.topics.iter().filter(|(name, _)| member.topics.contains(name));
        let slots: Vec<Slot> = topics.flat_map(|(_, topic)| topic.slots()).collect();
        (!slots.is_empty()).then_some((member, slots))
    }

    pub(super) fn start_as(&mut self, member: &Member, slots: &[Slot]) {
        use ErrorCode::{FencedInstance, FencedMember, UnknownMember, UnknownPartition};
        let started = self.coordinator.start(member, slots, BEGIN);
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
        let begun: BTreeSet<TopicId> = self.commits.keys().map(|slot| slot.topic).collect();
        let told: BTreeMap<Slot, u64> =
            positions.iter().map(|at| (Slot { topic: at.topic, partition: at.partition }, at.offset.value())).collect();
        assert!(told.keys().eq(&slots.iter().copied().collect::<BTreeSet<_>>()), "each partition has a position");
        for (slot, offset) in told {
            let begins = if begun.contains(&slot.topic) { 0 } else { BEGIN };
            let expected = *self.commits.entry(slot).or_insert(begins);
            assert_eq!(offset, expected, "{} begins {slot:?} there", member.id);
        }
    }
}
