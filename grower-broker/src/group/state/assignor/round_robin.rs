//! The round-robin assignor: one partition after the other, around the members.

use super::{Assignment, PartitionSet};

pub(super) fn assign(assignment: &Assignment<'_>) -> Vec<PartitionSet> {
    let mut shares = assignment.empty_shares();
    let mut next = 0;
    for (name, topic) in assignment.topics {
        let subscribers = assignment.subscribers_of(name);
        for partition in topic.partitions() {
            // The first subscriber of the topic from `next` on, wrapping around the end.
            let from = subscribers.partition_point(|at| *at < next);
            let Some(at) = subscribers.get(from).or(subscribers.first()) else { break };
            shares[*at].insert(partition);
            next = *at + 1;
        }
    }
    shares
}
