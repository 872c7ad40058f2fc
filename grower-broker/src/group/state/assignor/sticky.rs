//! The sticky assignor: members keep their partitions as far as the result is balanced.

use super::{Assignment, PartitionSet};
use grower_protocol::ids::{MemberId, TopicId};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn assign(assignment: &Assignment<'_>) -> Vec<PartitionSet> {
    let mut shares = Shares::keep(assignment);
    shares.hand_out(assignment);
    shares.balance();
    shares.owned
}

struct Shares {
    owned: Vec<PartitionSet>,
    /// The topics that each subscriber can take.
    wants: Vec<BTreeSet<TopicId>>,
    /// Load and subscriber, least loaded first.
    by_load: BTreeSet<(usize, usize)>,
}

impl Shares {
    /// Starts from the partitions that subscribers had and still subscribe to.
    fn keep(assignment: &Assignment<'_>) -> Self {
        let ranks: BTreeMap<&MemberId, usize> =
            assignment.subscribers.iter().enumerate().map(|(at, subscriber)| (subscriber.member, at)).collect();
        let mut owned = assignment.empty_shares();
        for (name, topic) in assignment.topics {
            for partition in topic.partitions() {
                let before = assignment.before.get(&partition).and_then(|member| ranks.get(member));
                if let Some(at) = before.filter(|at| assignment.subscribers[**at].topics.contains(name)) {
                    owned[*at].insert(partition);
                }
            }
        }
        let topics_of = |names: &BTreeSet<_>| {
            let wanted = assignment.topics.iter().filter(|(name, _)| names.contains(*name));
            wanted.map(|(_, topic)| topic.topic).collect()
        };
        let wants = assignment.subscribers.iter().map(|subscriber| topics_of(subscriber.topics)).collect();
        let by_load = owned.iter().enumerate().map(|(at, partitions)| (partitions.len(), at)).collect();
        Self { owned, wants, by_load }
    }

    /// Gives every unowned partition to its least loaded subscriber.
    fn hand_out(&mut self, assignment: &Assignment<'_>) {
        let taken: PartitionSet = self.owned.iter().flatten().copied().collect();
        for partition in assignment
            .topics
            .values()
            .flat_map(|topic| topic.partitions())
            .filter(|partition| !taken.contains(partition))
        {
            let lightest = self.by_load.iter().find(|(_, at)| self.wants[*at].contains(&partition.topic)).copied();
            if let Some((_, at)) = lightest {
                self.change(at, |partitions| partitions.insert(partition));
            }
        }
    }

    /// Moves partitions from the most to the least loaded, while that makes the difference smaller.
    fn balance(&mut self) {
        let mut receivers = self.by_load.clone();
        while let Some((load, receiver)) = receivers.pop_first() {
            let heavier = self.by_load.iter().rev().take_while(|(other, _)| load + 2 <= *other);
            // The last partitions move first: the rest of a topic stays together.
            let wanted = |partitions: &PartitionSet| {
                partitions.iter().rev().find(|s| self.wants[receiver].contains(&s.topic)).copied()
            };
            let Some((giver, partition)) =
                heavier.into_iter().find_map(|(_, at)| Some((*at, wanted(&self.owned[*at])?)))
            else {
                continue; // No other subscriber has anything for it.
            };
            let giver_waits = receivers.remove(&(self.owned[giver].len(), giver));
            self.change(giver, |partitions| partitions.remove(&partition));
            self.change(receiver, |partitions| partitions.insert(partition));
            receivers.insert((load + 1, receiver));
            if giver_waits {
                receivers.insert((self.owned[giver].len(), giver));
            }
        }
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut PartitionSet) -> bool) {
        self.by_load.remove(&(self.owned[at].len(), at));
        change(&mut self.owned[at]);
        self.by_load.insert((self.owned[at].len(), at));
    }
}
