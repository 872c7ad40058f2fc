//! Processes that commit from outside a group without members, each for its own partition.

use super::super::*;
use super::OUTSIDERS;
use grower_protocol::ids::CommitterId;

const HAYLOFT: TopicId = TopicId::from_bytes([3; 16]);

/// The partition, number and offset of a commit.
type Sent = (usize, u64, u64);

pub(super) struct Outsiders {
    /// The number and the offset of each one's newest commit.
    newest: Vec<(u64, u64)>,
    /// Abandoned commits under way.
    late: Vec<Sent>,
    /// The newest acknowledged commit of each partition.
    commits: BTreeMap<TopicIdPartition, u64>,
}

impl Outsiders {
    pub(super) fn new(coordinator: &mut Coordinator) -> Self {
        let hayloft = CatalogTopic { topic: HAYLOFT, partitions: OUTSIDERS as u32 };
        coordinator.topics.insert(name("hayloft"), hayloft);
        Self { newest: vec![(0, 0); OUTSIDERS], late: Vec::new(), commits: BTreeMap::new() }
    }

    /// Reads another record and commits it.
    pub(super) fn commit(&mut self, who: usize, at_once: bool, coordinator: &mut Coordinator) {
        let (sequence, position) = &mut self.newest[who];
        *sequence += 1;
        *position = (*position + 1).min(LOG_END.value());
        let sent = (who, *sequence, *position);
        if at_once { self.deliver(sent, coordinator) } else { self.late.push(sent) }
    }

    /// Delivers a delayed commit.
    pub(super) fn arrive(&mut self, number: usize, coordinator: &mut Coordinator) {
        if number < self.late.len() {
            let sent = self.late.swap_remove(number);
            self.deliver(sent, coordinator);
        }
    }

    /// Drops all commits under way: the coordinator stopped.
    pub(super) fn lose_connections(&mut self) {
        self.late.clear();
    }

    fn deliver(&mut self, (who, sequence, offset): Sent, coordinator: &mut Coordinator) {
        let (id, partition) =
            (CommitterId::new(&format!("outsider {who}")).unwrap(), topic_id_partition(HAYLOFT, who as u32));
        let (committer, offsets) = (CommitterIdentity::Outside(id), vec![to_commit(partition, offset)]);
        let committed = coordinator.commit_all(OffsetCommit { group: hay(), committer, sequence, offsets });
        coordinator.sync();
        match committed {
            Ok(part) => {
                part.unwrap();
                let back = self.commits.insert(partition, offset).filter(|before| offset < *before);
                assert_eq!(back, None, "a late commit took {partition:?} back to {offset}");
            }
            Err(failure) => assert_eq!(failure.code, ErrorCode::InvalidRequest, "{failure}"),
        }
    }

    pub(super) fn check(&self, coordinator: &Coordinator) {
        for (partition, offset) in &self.commits {
            assert_eq!(coordinator.committed_by(&hay(), *partition), Some(*offset), "{partition:?}");
        }
    }
}

fn hay() -> GroupId {
    GroupId::new("hay").unwrap()
}
