//! Everybody keeps what they have as far as that is fair.

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
    /// Which topics each subscriber can take.
    wants: Vec<BTreeSet<TopicId>>,
    /// Load and subscriber, lightest first.
    by_load: BTreeSet<(usize, usize)>,
}

impl Shares {
    /// What subscribers had and still want.
    fn keep(assignment: &Assignment<'_>) -> Self {
        let ranks: BTreeMap<&MemberId, usize> =
            assignment.subscribers.iter().enumerate().map(|(at, subscriber)| (subscriber.member, at)).collect();
        let mut owned = assignment.nothing();
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

    /// What nobody has goes to the lightest who wants it.
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

    /// From the heaviest to the lightest, while that makes the difference smaller.
    fn balance(&mut self) {
        let mut receivers = self.by_load.clone();
        while let Some((load, receiver)) = receivers.pop_first() {
            let heavier = self.by_load.iter().rev().take_while(|(other, _)| load + 2 <= *other);
            // The last partitions go first: what remains of a topic stays together.
            let wanted = |partitions: &PartitionSet| {
                partitions.iter().rev().find(|s| self.wants[receiver].contains(&s.topic)).copied()
            };
            let Some((giver, partition)) =
                heavier.into_iter().find_map(|(_, at)| Some((*at, wanted(&self.owned[*at])?)))
            else {
                continue; // Nobody can give it anything: it is done.
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
