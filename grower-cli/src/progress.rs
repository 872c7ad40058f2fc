//! How far groups are, partition by partition: in offsets, in records and in time.

use grower_client::ids::{Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_client::{Admin, AdminError, GroupInspection, ListedOffset, OffsetSpec};
use std::collections::{BTreeMap, BTreeSet};

/// How far one group is with one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) topic: TopicName,
    pub(crate) partition: PartitionId,
    /// The log start offset.
    pub(crate) start: Offset,
    /// The high watermark.
    pub(crate) end: Offset,
    pub(crate) committed: Option<Offset>,
    /// Records between the two, from the log's start if nothing is committed.
    pub(crate) lag: u64,
    /// How old the first of them is; none if it cannot be read.
    pub(crate) lag_ms: Option<u64>,
    pub(crate) owner: Option<Owner>,
}

/// Who holds a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) member: String,
    pub(crate) since: Timestamp,
    pub(crate) giving_up: bool,
}

type Place = (TopicId, PartitionId);

/// The names of all topics.
pub(crate) async fn topic_names(admin: &Admin) -> Result<BTreeMap<TopicId, TopicName>, AdminError> {
    let topics = admin.metadata().await?.topics;
    Ok(topics.into_iter().flatten().map(|topic| (topic.id, topic.name)).collect())
}

/// How far a group is with all its partitions: records, and how old the oldest of them is if that is known of each.
pub(crate) fn in_all(rows: &[Progress]) -> (u64, Option<u64>) {
    let oldest: Option<Vec<u64>> = rows.iter().map(|row| row.lag_ms).collect();
    (rows.iter().map(|row| row.lag).sum(), oldest.map(|all| all.into_iter().max().unwrap_or(0)))
}

/// For each group every partition that it committed or holds, of topics that are still there, sorted.
pub(crate) async fn of_groups(
    admin: &Admin,
    groups: &[GroupInspection],
    names: &BTreeMap<TopicId, TopicName>,
    now: Timestamp,
) -> Result<Vec<Vec<Progress>>, AdminError> {
    let asked: Vec<Asked> = groups.iter().flat_map(|group| Asked::of(group, names)).collect();
    let listed = admin.list_offsets(asked.iter().flat_map(Asked::lookups)).await?;
    let mut listed = listed.into_iter();
    let mut rows = asked.iter().map(|asked| {
        let mut next = || listed.next().and_then(Result::ok);
        let (start, end, oldest) = (next(), next(), next());
        asked.progress(start?.offset?, end?.offset?, oldest, now) // None: the topic was deleted meanwhile.
    });
    let per_group = |group: &GroupInspection| {
        let count = Asked::of(group, names).len();
        let mut rows: Vec<Progress> = rows.by_ref().take(count).flatten().collect();
        rows.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        rows
    };
    Ok(groups.iter().map(per_group).collect())
}

/// What there is to find out of one partition for one group.
struct Asked {
    topic: TopicName,
    partition: PartitionId,
    committed: Option<Offset>,
    owner: Option<Owner>,
}

impl Asked {
    fn of(group: &GroupInspection, names: &BTreeMap<TopicId, TopicName>) -> Vec<Self> {
        let committed: BTreeMap<Place, Offset> =
            group.group.offsets.iter().map(|c| ((c.topic, c.partition), c.offset)).collect();
        let owners = owners(group);
        let places: BTreeSet<&Place> = committed.keys().chain(owners.keys()).collect();
        let asked = |place: &Place| {
            let (topic, committed) = (names.get(&place.0)?.clone(), committed.get(place).copied());
            Some(Self { topic, partition: place.1, committed, owner: owners.get(place).cloned() })
        };
        places.into_iter().filter_map(asked).collect()
    }

    fn lookups(&self) -> impl Iterator<Item = (&str, PartitionId, OffsetSpec)> {
        let oldest = OffsetSpec::FirstFrom(self.committed.unwrap_or_default());
        let specs = [OffsetSpec::Beginning, OffsetSpec::End, oldest];
        specs.into_iter().map(|spec| (self.topic.as_str(), self.partition, spec))
    }

    fn progress(&self, start: Offset, end: Offset, oldest: Option<ListedOffset>, now: Timestamp) -> Option<Progress> {
        let lag = end.since(self.committed.unwrap_or(start).max(start));
        let oldest = oldest.and_then(|listed| listed.timestamp);
        Some(Progress {
            topic: self.topic.clone(),
            partition: self.partition,
            start,
            end,
            committed: self.committed,
            lag,
            lag_ms: if lag == 0 { Some(0) } else { oldest.map(|oldest| now.millis_since(oldest)) },
            owner: self.owner.clone(),
        })
    }
}

fn owners(group: &GroupInspection) -> BTreeMap<Place, Owner> {
    let held = group.members.iter().flat_map(|member| member.holds.iter().map(move |held| (member, held)));
    held.map(|(member, held)| {
        let owner = Owner { member: member.member.to_string(), since: held.since, giving_up: held.giving_up };
        ((held.topic, held.partition), owner)
    })
    .collect()
}
