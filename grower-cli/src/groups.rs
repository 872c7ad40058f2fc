//! Consumer groups as several commands show them: progress in each partition, state, memory.

use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use grower_client::ids::{Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_client::{
    Admin, AdminError, ConnectError, GroupInspection, GroupMemory, GroupState, OffsetSpec, RequestError,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How far one group is with one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupProgress {
    pub(crate) topic: TopicName,
    pub(crate) partition: PartitionId,
    /// The log start offset.
    pub(crate) start: Offset,
    /// The high watermark.
    pub(crate) end: Offset,
    pub(crate) committed: Option<Offset>,
    /// The log lost what the group has read from this offset on: readers go back there.
    pub(crate) lost_from: Option<Offset>,
    /// Records that the group will read: those between the two, from where the log lost what was read, and from the log's
    /// start if nothing is committed.
    pub(crate) lag: u64,
    /// How old the first of them is; none if it cannot be read.
    pub(crate) lag_ms: Option<u64>,
    pub(crate) owner: Option<PartitionOwner>,
}

/// Who holds a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionOwner {
    pub(crate) member: String,
    pub(crate) since: Timestamp,
    pub(crate) giving_up: bool,
}

type PartitionKey = (TopicId, PartitionId);

/// The names of all topics.
pub(crate) async fn topic_names(admin: &Admin) -> Result<BTreeMap<TopicId, TopicName>, AdminError> {
    let topics = admin.metadata().await?.topics;
    Ok(topics.into_iter().flatten().map(|topic| (topic.id, topic.name)).collect())
}

/// How far a group is with all its partitions: records, and how old the oldest of them is if that is known of each.
pub(crate) fn in_all(rows: &[GroupProgress]) -> (u64, Option<u64>) {
    let oldest: Option<Vec<u64>> = rows.iter().map(|row| row.lag_ms).collect();
    (rows.iter().map(|row| row.lag).sum(), oldest.map(|all| all.into_iter().max().unwrap_or(0)))
}

/// How many groups are asked at once for their positions.
const ASKED_AT_ONCE: usize = 16;

/// For each group every partition that it committed or holds, of topics that are still there, sorted.
pub(crate) async fn of_groups(
    admin: &Admin,
    groups: &[GroupInspection],
    names: &BTreeMap<TopicId, TopicName>,
    now: Timestamp,
) -> Result<Vec<Vec<GroupProgress>>, AdminError> {
    let mut all_losses = Vec::new();
    for groups in groups.chunks(ASKED_AT_ONCE) {
        let asked: Vec<_> = groups.iter().map(|group| losses(admin, group).boxed()).collect();
        all_losses.extend(try_join_all(asked).await?);
    }
    let position = |(group, losses)| GroupPosition::of(group, losses, names);
    let places: Vec<Vec<GroupPosition>> = groups.iter().zip(&all_losses).map(position).collect();
    let spans = spans(admin, places.iter().flatten()).await?;
    let mut all: Vec<Vec<GroupProgress>> = places
        .into_iter()
        .map(|places| places.into_iter().filter_map(|place| place.progress(&spans)).collect())
        .collect();
    let mut behind: Vec<&mut GroupProgress> = all.iter_mut().flatten().filter(|row| row.lag != 0).collect();
    let oldest = |row: &&mut GroupProgress| (row.topic.clone(), row.partition, OffsetSpec::FirstFrom(row.next()));
    let listed = admin.list_offsets(behind.iter().map(oldest).collect::<Vec<_>>()).await?;
    for (row, oldest) in behind.iter_mut().zip(listed) {
        row.lag_ms = oldest.ok().and_then(|listed| listed.timestamp).map(|oldest| now.millis_since(oldest));
    }
    all.iter_mut().for_each(|rows| rows.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition))));
    Ok(all)
}

impl GroupProgress {
    /// Where a reader of the group goes on.
    fn next(&self) -> Offset {
        self.lost_from.or(self.committed).unwrap_or(self.start).max(self.start)
    }
}

/// From where on logs lost what a group has read.
async fn losses(admin: &Admin, group: &GroupInspection) -> Result<Losses, AdminError> {
    if group.group.offsets.iter().all(|committed| committed.offset == Offset::ZERO) {
        return Ok(Losses::new()); // Nothing was read.
    }
    let positions = admin.list_positions(group.group.group.as_str()).await?;
    Ok(positions.into_iter().filter_map(|at| Some(((at.topic, at.partition), at.lost_from?))).collect())
}

type Losses = BTreeMap<PartitionKey, Offset>;

/// Log start and high watermark of each partition, asked once however many groups read it; without those that are gone.
async fn spans(admin: &Admin, places: impl Iterator<Item = &GroupPosition>) -> Result<Spans, AdminError> {
    let places: BTreeSet<(TopicName, PartitionId)> =
        places.map(|place| (place.topic.clone(), place.partition)).collect();
    let ends = |(topic, partition): &(TopicName, PartitionId)| {
        [OffsetSpec::Beginning, OffsetSpec::End].map(|spec| (topic.clone(), *partition, spec))
    };
    let listed = admin.list_offsets(places.iter().flat_map(ends)).await?;
    let mut listed = listed.into_iter().map(|listed| listed.ok().and_then(|listed| listed.offset));
    let mut next = || listed.next().flatten();
    Ok(places
        .into_iter()
        .filter_map(|place| {
            let span = (next(), next());
            Some((place, span.0?..span.1?))
        })
        .collect())
}

type Spans = BTreeMap<(TopicName, PartitionId), Range<Offset>>;

/// What is known of one group in one partition without a look at the partition.
struct GroupPosition {
    topic: TopicName,
    partition: PartitionId,
    committed: Option<Offset>,
    lost_from: Option<Offset>,
    owner: Option<PartitionOwner>,
}

impl GroupPosition {
    fn of(group: &GroupInspection, losses: &Losses, names: &BTreeMap<TopicId, TopicName>) -> Vec<Self> {
        let committed: BTreeMap<PartitionKey, Offset> =
            group.group.offsets.iter().map(|c| ((c.topic, c.partition), c.offset)).collect();
        let owners = owners(group);
        let places: BTreeSet<&PartitionKey> = committed.keys().chain(owners.keys()).collect();
        let position = |place: &PartitionKey| {
            let (topic, committed) = (names.get(&place.0)?.clone(), committed.get(place).copied());
            let (lost_from, owner) = (losses.get(place).copied(), owners.get(place).cloned());
            Some(Self { topic, partition: place.1, committed, lost_from, owner })
        };
        places.into_iter().filter_map(position).collect()
    }

    /// How far the group is; how old the first record is that it lacks has to be asked for. None if the topic was deleted
    /// meanwhile.
    fn progress(self, spans: &Spans) -> Option<GroupProgress> {
        let Self { topic, partition, committed, lost_from, owner } = self;
        let place = (topic, partition);
        let Range { start, end } = spans.get(&place)?.clone();
        let (topic, partition) = place;
        let row = GroupProgress { topic, partition, start, end, committed, lost_from, lag: 0, lag_ms: None, owner };
        let lag = end.since(row.next());
        Some(GroupProgress { lag, lag_ms: (lag == 0).then_some(0), ..row })
    }
}

fn owners(group: &GroupInspection) -> BTreeMap<PartitionKey, PartitionOwner> {
    let held = group.members.iter().flat_map(|member| member.holds.iter().map(move |held| (member, held)));
    held.map(|(member, held)| {
        let owner = PartitionOwner { member: member.member.to_string(), since: held.since, giving_up: held.giving_up };
        ((held.topic, held.partition), owner)
    })
    .collect()
}

/// A group's state in words.
pub(crate) fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "empty",
        GroupState::Stable => "stable",
        GroupState::Reconciling => "reconciling",
    }
}

/// What groups take of memory; an older broker does not tell.
pub(crate) async fn group_memory(admin: &Admin) -> Result<Option<GroupMemory>, AdminError> {
    match admin.describe_group_memory().await {
        Ok(memory) => Ok(Some(memory)),
        Err(AdminError::Request(RequestError::Connect(ConnectError::MissingFeature { .. }))) => Ok(None),
        Err(error) => Err(error),
    }
}
