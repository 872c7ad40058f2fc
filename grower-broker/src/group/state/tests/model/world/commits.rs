//! Members that read and commit their positions.

use super::*;

impl World {
    pub(super) fn commit(&mut self, at: usize) {
        let Some(process) = &mut self.processes[at] else { return };
        for partition in process.reads(self.clock) {
            if let Some(offset) = self.advance(at, partition) {
                let member = self.committer(at);
                self.commit_as(&member, partition, offset);
            }
        }
    }

    pub(super) fn send_commit(&mut self, at: usize, repeat: bool) {
        let Some(process) = &self.processes[at] else { return };
        let partition = process.reads(self.clock).first().copied();
        if let Some((partition, offset)) =
            partition.and_then(|partition| Some((partition, self.advance(at, partition)?)))
        {
            let member = self.committer(at);
            if repeat {
                self.commit_as(&member, partition, offset);
            }
            self.late.push((member, partition, offset));
        }
    }

    /// Seeks a record back and commits that.
    pub(super) fn seek_back(&mut self, at: usize) {
        let Some(process) = &mut self.processes[at] else { return };
        let reads = process.reads(self.clock);
        let Some((partition, position)) = process.positions.iter_mut().find(|(partition, _)| reads.contains(partition))
        else {
            return;
        };
        *position = position.saturating_sub(1);
        let (partition, offset) = (*partition, *position);
        let member = self.committer(at);
        self.commits.remove(&partition);
        self.commit_as(&member, partition, offset);
        if !self.commits.contains_key(&partition) {
            // Refused, since the member does not own the partition: the old offset stays.
            self.commits.extend(self.coordinator.committed(partition).map(|offset| (partition, offset)));
        }
    }

    /// The process with its next commit number.
    fn committer(&mut self, at: usize) -> Member {
        let process = self.processes[at].as_mut().expect("it reads");
        process.member.commits += 1;
        process.member.clone()
    }

    /// Reads another record of a partition, from the committed offset on. None if the start position is refused.
    fn advance(&mut self, at: usize, partition: TopicIdPartition) -> Option<u64> {
        if !self.commits.contains_key(&partition) {
            let (member, partitions) = self.start_of(at)?;
            self.start_as(&member, &partitions);
        }
        let committed = *self.commits.get(&partition)?;
        let process = self.processes[at].as_mut().expect("it reads");
        let position = process.positions.entry(partition).or_insert(committed);
        *position = (*position + 1).min(LOG_END.value());
        Some(*position)
    }

    pub(super) fn commit_as(&mut self, member: &Member, partition: TopicIdPartition, offset: u64) {
        use ErrorCode::{FencedInstance, FencedMember, InvalidRequest, NotAssigned, UnknownMember, UnknownPartition};
        let committed = self.coordinator.commit(Some(member), partition, offset);
        self.coordinator.sync();
        match committed.and_then(|part| part) {
            Err(failure) => {
                let overtaken = failure.code == InvalidRequest;
                let codes = [FencedInstance, FencedMember, NotAssigned, UnknownMember, UnknownPartition];
                assert!(overtaken || codes.contains(&failure.code), "{failure}");
            }
            Ok(()) => {
                let back = self.commits.insert(partition, offset).filter(|before| offset < *before);
                assert_eq!(back, None, "{} took back the commit of {partition:?} to {offset}", member.id);
            }
        }
    }
}
