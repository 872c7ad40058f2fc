//! The round-robin assignor: one partition after the other, around the members.

use super::{Assignment, PartitionSet};

pub(super) fn assign(assignment: &Assignment<'_>) -> Vec<PartitionSet> {
    let mut shares = assignment.nothing();
    let mut next = 0;
    for (name, topic) in assignment.topics {
        let wanting = assignment.wanting(name);
        for partition in topic.partitions() {
            // The first subscriber of the topic from `next` on, wrapping around the end.
            let from = wanting.partition_point(|at| *at < next);
            let Some(at) = wanting.get(from).or(wanting.first()) else { break };
            shares[*at].insert(partition);
            next = *at + 1;
        }
    }
    shares
}
