//! Members that read, and commit how far they have come.

use super::*;

impl World {
    pub(super) fn commit(&mut self, seat: usize) {
        let Some(process) = &mut self.processes[seat] else { return };
        for slot in process.reads(self.clock) {
            if let Some(offset) = self.advance(seat, slot) {
                let member = self.committer(seat);
                self.commit_as(&member, slot, offset);
            }
        }
    }

    pub(super) fn send_commit(&mut self, seat: usize, repeat: bool) {
        let Some(process) = &self.processes[seat] else { return };
        let slot = process.reads(self.clock).first().copied();
        if let Some((slot, offset)) = slot.and_then(|slot| Some((slot, self.advance(seat, slot)?))) {
            let member = self.committer(seat);
            if repeat {
                self.commit_as(&member, slot, offset);
            }
            self.late.push((member, slot, offset));
        }
    }

    /// It goes on a record earlier, and says so.
    pub(super) fn seek_back(&mut self, seat: usize) {
        let Some(process) = &mut self.processes[seat] else { return };
        let reads = process.reads(self.clock);
        let Some((slot, position)) = process.positions.iter_mut().find(|(slot, _)| reads.contains(slot)) else {
            return;
        };
        *position = position.saturating_sub(1);
        let (slot, offset) = (*slot, *position);
        let member = self.committer(seat);
        self.commits.remove(&slot);
        self.commit_as(&member, slot, offset);
        if !self.commits.contains_key(&slot) {
            // Refused, since it is none of the member's any more: what was there before is there still.
            self.commits.extend(self.coordinator.committed(slot).map(|offset| (slot, offset)));
        }
    }

    /// The process as it commits once more.
    fn committer(&mut self, seat: usize) -> Member {
        let process = self.processes[seat].as_mut().expect("it reads");
        process.member.commits += 1;
        process.member.clone()
    }

    /// The member reads another record of a partition, from the committed offset on. None if it cannot learn where its group
    /// begins.
    fn advance(&mut self, seat: usize, slot: Slot) -> Option<u64> {
        if !self.commits.contains_key(&slot) {
            let (member, slots) = self.start_of(seat)?;
            self.start_as(&member, &slots);
        }
        let committed = *self.commits.get(&slot)?;
        let process = self.processes[seat].as_mut().expect("it reads");
        let position = process.positions.entry(slot).or_insert(committed);
        *position = (*position + 1).min(LOG_END.value());
        Some(*position)
    }

    pub(super) fn commit_as(&mut self, member: &Member, slot: Slot, offset: u64) {
        use ErrorCode::{FencedInstance, FencedMember, InvalidRequest, NotAssigned, UnknownMember, UnknownPartition};
        let committed = self.coordinator.commit(Some(member), slot, offset);
        self.coordinator.sync();
        match committed.and_then(|part| part) {
            Err(failure) => {
                let overtaken = failure.code == InvalidRequest;
                let codes = [FencedInstance, FencedMember, NotAssigned, UnknownMember, UnknownPartition];
                assert!(overtaken || codes.contains(&failure.code), "{failure}");
            }
            Ok(()) => {
                let back = self.commits.insert(slot, offset).filter(|before| offset < *before);
                assert_eq!(back, None, "{} took back the commit of {slot:?} to {offset}", member.id);
            }
        }
    }
}
