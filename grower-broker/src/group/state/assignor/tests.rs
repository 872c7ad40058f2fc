use super::*;
use grower_protocol::ids::TopicId;
use proptest::prelude::*;

struct Case {
    members: Vec<(MemberId, BTreeSet<TopicName>)>,
    topics: BTreeMap<TopicName, CatalogTopic>,
    before: BTreeMap<TopicIdPartition, MemberId>,
}

fn topic(number: usize) -> TopicName {
    TopicName::new(&format!("t{number}")).unwrap()
}

impl Case {
    /// Topics with these many partitions; members that subscribe to these topics.
    fn new(partitions: &[u32], members: &[&[usize]]) -> Self {
        let subscribed = |(number, partitions): (usize, &u32)| {
            (topic(number), CatalogTopic { topic: TopicId::from_bytes([number as u8; 16]), partitions: *partitions })
        };
        // Names that sort against the order of joining.
        let member = |(at, topics): (usize, &&[usize])| {
            (MemberId::new(&format!("m{}", 99 - at)).unwrap(), topics.iter().map(|number| topic(*number)).collect())
        };
        Self {
            members: members.iter().enumerate().map(member).collect(),
            topics: partitions.iter().enumerate().map(subscribed).collect(),
            before: BTreeMap::new(),
        }
    }

    fn assign(&self, assignor: Assignor) -> Vec<PartitionSet> {
        let assignment = Assignment {
            subscribers: self.members.iter().map(|(member, topics)| Subscriber { member, topics }).collect(),
            topics: &self.topics,
            before: self.before.iter().map(|(partition, member)| (*partition, member)).collect(),
        };
        assignor.assign(&assignment)
    }

    /// Makes an assignment the one that was before.
    fn remember(&mut self, shares: &[PartitionSet]) {
        let owned = |((member, _), partitions): (&(MemberId, _), &PartitionSet)| {
            partitions.iter().map(|partition| (*partition, member.clone())).collect::<Vec<_>>()
        };
        self.before = self.members.iter().zip(shares).flat_map(owned).collect();
    }
}

/// `topic:partition` of each member.
fn show(shares: &[PartitionSet]) -> String {
    let partitions = |partitions: &PartitionSet| {
        let shown =
            partitions.iter().map(|partition| format!("{}:{}", partition.topic.as_bytes()[0], partition.partition));
        shown.collect::<Vec<_>>().join(" ")
    };
    shares.iter().map(partitions).collect::<Vec<_>>().join(" | ")
}

#[test]
fn each_assignor_assigns_by_its_rule() {
    let case = Case::new(&[5, 2], &[&[0, 1], &[0, 1], &[0]]);
    insta::assert_snapshot!(show(&case.assign(Assignor::Range)), @"0:0 0:1 1:0 | 0:2 0:3 1:1 | 0:4");
    insta::assert_snapshot!(show(&case.assign(Assignor::RoundRobin)), @"0:0 0:3 1:0 | 0:1 0:4 1:1 | 0:2");
    insta::assert_snapshot!(show(&case.assign(Assignor::Sticky)), @"0:0 0:3 1:0 | 0:1 1:1 | 0:2 0:4");
}

#[test]
fn sticky_moves_only_as_much_as_balance_needs() {
    let mut case = Case::new(&[6], &[&[0], &[0]]);
    let shares = case.assign(Assignor::Sticky);
    insta::assert_snapshot!(show(&shares), @"0:0 0:2 0:4 | 0:1 0:3 0:5");
    case.remember(&shares);
    case.members.push((MemberId::new("new").unwrap(), BTreeSet::from([topic(0)])));
    let shares = case.assign(Assignor::Sticky);
    insta::assert_snapshot!(show(&shares), @"0:0 0:2 | 0:1 0:3 | 0:4 0:5");
    case.remember(&shares);
    case.members.remove(0);
    insta::assert_snapshot!(show(&case.assign(Assignor::Sticky)), @"0:0 0:1 0:3 | 0:2 0:4 0:5");
}

#[test]
fn assignors_are_found_by_name() {
    for assignor in Assignor::ALL {
        assert_eq!(Assignor::named(assignor.name()), Some(assignor));
    }
    assert_eq!(Assignor::named("Range"), None);
}

fn cases() -> impl Strategy<Value = (Vec<u32>, Vec<Vec<usize>>, Vec<usize>)> {
    let partitions = prop::collection::vec(0u32..6, 1..4);
    let members = prop::collection::vec(prop::collection::vec(0usize..4, 0..4), 0..6);
    (partitions, members, prop::collection::vec(0usize..6, 0..24))
}

proptest! {
    #[test]
    fn every_subscribed_partition_has_one_subscribing_owner((partitions, members, before) in cases()) {
        let subscriptions: Vec<&[usize]> = members.iter().map(Vec::as_slice).collect();
        let mut case = Case::new(&partitions, &subscriptions);
        let keys: Vec<TopicIdPartition> = case.topics.values().flat_map(|topic| topic.partitions()).collect();
        let owners = keys.iter().zip(&before).filter_map(|(partition, at)| Some((*partition, case.members.get(*at)?.0.clone())));
        case.before = owners.collect();
        let wanted: PartitionSet = case.topics.iter()
            .filter(|(name, _)| case.members.iter().any(|(_, topics)| topics.contains(*name)))
            .flat_map(|(_, topic)| topic.partitions())
            .collect();
        for assignor in Assignor::ALL {
            let shares = case.assign(assignor);
            prop_assert_eq!(shares.iter().map(BTreeSet::len).sum::<usize>(), wanted.len());
            prop_assert_eq!(&shares.iter().flatten().copied().collect::<PartitionSet>(), &wanted);
            for ((_, topics), share) in case.members.iter().zip(&shares) {
                let wants: BTreeSet<TopicId> = topics.iter().filter_map(|name| case.topics.get(name)).map(|t| t.topic).collect();
                prop_assert!(share.iter().all(|partition| wants.contains(&partition.topic)));
            }
        }
    }

    #[test]
    fn shares_differ_by_at_most_one_and_are_deterministic(
        partitions in prop::collection::vec(0u32..9, 1..4),
        members in 1usize..6,
        before in prop::collection::vec(0usize..6, 24),
    ) {
        let topics: Vec<usize> = (0..partitions.len()).collect();
        let all: Vec<&[usize]> = vec![&topics; members];
        let mut case = Case::new(&partitions, &all);
        let keys: Vec<TopicIdPartition> = case.topics.values().flat_map(|topic| topic.partitions()).collect();
        case.before = keys.iter().zip(&before).filter_map(|(partition, at)| Some((*partition, case.members.get(*at)?.0.clone()))).collect();
        let spread = |loads: Vec<usize>| loads.iter().max().unwrap() - loads.iter().min().unwrap();
        for assignor in [Assignor::RoundRobin, Assignor::Sticky] {
            let shares = case.assign(assignor);
            prop_assert!(spread(shares.iter().map(BTreeSet::len).collect()) <= 1, "{:?} {}", assignor, show(&shares));
            prop_assert_eq!(case.assign(assignor), shares);
        }
        let shares = case.assign(Assignor::Range);
        prop_assert_eq!(&case.assign(Assignor::Range), &shares);
        for topic in case.topics.values() {
            let of_topic = |share: &PartitionSet| share.iter().filter(|partition| partition.topic == topic.topic).count();
            prop_assert!(spread(shares.iter().map(of_topic).collect()) <= 1, "{}", show(&shares));
        }
    }

    #[test]
    fn sticky_moves_as_little_as_an_even_assignment_allows(
        partitions in 1u32..30,
        members in 1usize..6,
        before in prop::collection::vec(0usize..6, 30),
    ) {
        let all: [&[usize]; 6] = [&[0]; 6];
        let mut case = Case::new(&[partitions], &all[..members]);
        let keys: Vec<TopicIdPartition> = case.topics.values().flat_map(|topic| topic.partitions()).collect();
        case.before = keys.iter().zip(&before).filter_map(|(partition, at)| Some((*partition, case.members.get(*at)?.0.clone()))).collect();
        let mut had: Vec<usize> = case.members.iter().map(|(id, _)| case.before.values().filter(|owner| *owner == id).count()).collect();
        let kept: usize = case.members.iter().zip(case.assign(Assignor::Sticky)).map(|((id, _), share)| {
            share.iter().filter(|partition| case.before.get(partition) == Some(id)).count()
        }).sum();
        // The larger shares go to the members that had most: then no member could keep more.
        had.sort_unstable_by(|a, b| b.cmp(a));
        let (small, larger) = (partitions as usize / members, partitions as usize % members);
        let most: usize = had.iter().enumerate().map(|(at, had)| *had.min(&(small + usize::from(at < larger)))).sum();
        prop_assert_eq!(kept, most);
    }

    #[test]
    fn sticky_is_balanced_and_stable(partitions in 1u32..30, members in 1usize..6, before in prop::collection::vec(0usize..6, 30)) {
        let all: [&[usize]; 6] = [&[0]; 6];
        let mut case = Case::new(&[partitions], &all[..members]);
        let keys: Vec<TopicIdPartition> = case.topics.values().flat_map(|topic| topic.partitions()).collect();
        case.before = keys.iter().zip(&before).filter_map(|(partition, at)| Some((*partition, case.members.get(*at)?.0.clone()))).collect();
        let shares = case.assign(Assignor::Sticky);
        let loads: Vec<usize> = shares.iter().map(BTreeSet::len).collect();
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{:?}", loads);
        // A member that had too much keeps at least the smaller share.
        let smaller = partitions as usize / members;
        for ((member, _), share) in case.members.iter().zip(&shares) {
            let had: PartitionSet = case.before.iter().filter(|(_, owner)| *owner == member).map(|(partition, _)| *partition).collect();
            prop_assert!(had.len().min(smaller) <= share.intersection(&had).count());
        }
        case.remember(&shares);
        prop_assert_eq!(case.assign(Assignor::Sticky), shares);
    }
}
