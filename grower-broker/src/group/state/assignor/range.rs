//! The range assignor: neighbouring partitions to one member. With equal partition counts, partition `n` of every
//! topic goes to the same member.

use super::{Assignment, PartitionSet};

pub(super) fn assign(assignment: &Assignment<'_>) -> Vec<PartitionSet> {
    let mut shares = assignment.nothing();
    for (name, topic) in assignment.topics {
        let wanting = assignment.wanting(name);
        let mut partitions = topic.partitions();
        for (rank, at) in wanting.iter().enumerate() {
            let share = share(topic.partitions as usize, wanting.len(), rank);
            shares[*at].extend(partitions.by_ref().take(share));
        }
    }
    shares
}

/// The number of `partitions` for the member of this rank; the first members take the remainder.
fn share(partitions: usize, members: usize, rank: usize) -> usize {
    partitions / members + usize::from(rank < partitions % members)
}
