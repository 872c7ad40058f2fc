//! The range assignor: neighbouring partitions to one member. With equal partition counts, partition `n` of every
//! topic goes to the same member.

use super::{Assignment, PartitionSet};

pub(super) fn assign(assignment: &Assignment<'_>) -> Vec<PartitionSet> {
    let mut shares = assignment.empty_shares();
    for (name, topic) in assignment.topics {
        let subscribers = assignment.subscribers_of(name);
        let mut partitions = topic.partitions();
        for (rank, at) in subscribers.iter().enumerate() {
            let share = share(topic.partitions as usize, subscribers.len(), rank);
            shares[*at].extend(partitions.by_ref().take(share));
        }
    }
    shares
}

/// The number of `partitions` for the member of this rank; the first members take the remainder.
fn share(partitions: usize, members: usize, rank: usize) -> usize {
    partitions / members + usize::from(rank < partitions % members)
}
