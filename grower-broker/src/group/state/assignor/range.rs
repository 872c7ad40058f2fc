//! Neighbouring partitions to one member: partition `n` of all topics that a group reads goes to the same member.

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

/// How many of `partitions` the member of this rank gets: the first ones take what does not divide.
fn share(partitions: usize, members: usize, rank: usize) -> usize {
    partitions / members + usize::from(rank < partitions % members)
}
