//! Consumer groups as several commands show them: progress in each partition, state, memory.

use grower_client::ids::{Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_client::{
    Admin, AdminError, CommittedOffset, ConnectError, GroupDescription, GroupMemory, GroupState, OffsetSpec,
    RequestError,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Progress of one group in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupProgress {
    pub(crate) topic: TopicName,
    pub(crate) partition: PartitionId,
    /// The log start offset.
    pub(crate) start: Offset,
    /// The high watermark.
    pub(crate) end: Offset,
    pub(crate) committed: Option<Offset>,
    /// The first offset of the records that the group has read and the log lost: readers go back there.
    pub(crate) lost_from: Option<Offset>,
    /// Records that the group still has to read: from the committed offset, the first lost offset, or the log start
    /// up to the high watermark.
    pub(crate) lag: u64,
    /// Age of the first of them; none if it cannot be read.
    pub(crate) lag_ms: Option<u64>,
    pub(crate) owner: Option<PartitionOwner>,
}

/// The member that owns a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionOwner {
    pub(crate) member: String,
    pub(crate) since: Timestamp,
    pub(crate) pending_revocation: bool,
}

type PartitionOfTopicId = (TopicId, PartitionId);

/// Maps topic ids to names.
pub(crate) async fn topic_names(admin: &Admin) -> Result<BTreeMap<TopicId, TopicName>, AdminError> {
    let topics = admin.metadata().await?.topics;
    Ok(topics.into_iter().flatten().map(|topic| (topic.id, topic.name)).collect())
}

/// Sums up all partitions of a group: the lag in records, and the largest age if every age is known.
pub(crate) fn total_lag(rows: &[GroupProgress]) -> (u64, Option<u64>) {
    let oldest: Option<Vec<u64>> = rows.iter().map(|row| row.lag_ms).collect();
    (rows.iter().map(|row| row.lag).sum(), oldest.map(|all| all.into_iter().max().unwrap_or(0)))
}

/// Fetches, for each group, its progress in the partitions that it committed or holds, sorted, without deleted topics.
pub(crate) async fn fetch_progress(
    admin: &Admin,
    groups: &[GroupDescription],
    names: &BTreeMap<TopicId, TopicName>,
    now: Timestamp,
) -> Result<Vec<Vec<GroupProgress>>, AdminError> {
    let positions: Vec<Vec<GroupPosition>> = groups.iter().map(|group| GroupPosition::of(group, names)).collect();
    let spans = spans(admin, positions.iter().flatten()).await?;
    let mut all: Vec<Vec<GroupProgress>> = positions
        .into_iter()
        .map(|positions| positions.into_iter().filter_map(|position| position.progress(&spans)).collect())
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
    /// The next offset that a reader of the group fetches.
    fn next(&self) -> Offset {
        self.lost_from.or(self.committed).unwrap_or(self.start).max(self.start)
    }
}

/// Fetches log start and high watermark of each partition once, however many groups read it. Deleted partitions are
/// left out.
async fn spans(admin: &Admin, positions: impl Iterator<Item = &GroupPosition>) -> Result<Spans, AdminError> {
    let partitions: BTreeSet<(TopicName, PartitionId)> =
        positions.map(|position| (position.topic.clone(), position.partition)).collect();
    let ends = |(topic, partition): &(TopicName, PartitionId)| {
        [OffsetSpec::Beginning, OffsetSpec::End].map(|spec| (topic.clone(), *partition, spec))
    };
    let listed = admin.list_offsets(partitions.iter().flat_map(ends)).await?;
    let mut listed = listed.into_iter().map(|listed| listed.ok().and_then(|listed| listed.offset));
    let mut next = || listed.next().flatten();
    Ok(partitions
        .into_iter()
        .filter_map(|partition| {
            let span = (next(), next());
            Some((partition, span.0?..span.1?))
        })
        .collect())
}

type Spans = BTreeMap<(TopicName, PartitionId), Range<Offset>>;

/// The committed offset, loss and owner of one group in one partition, before the partition's offsets are known.
struct GroupPosition {
    topic: TopicName,
    partition: PartitionId,
    committed: Option<Offset>,
    lost_from: Option<Offset>,
    owner: Option<PartitionOwner>,
}

impl GroupPosition {
    fn of(group: &GroupDescription, names: &BTreeMap<TopicId, TopicName>) -> Vec<Self> {
        let committed: BTreeMap<PartitionOfTopicId, &CommittedOffset> =
            group.offsets.iter().map(|committed| ((committed.topic, committed.partition), committed)).collect();
        let owners = owners(group);
        let partitions: BTreeSet<&PartitionOfTopicId> = committed.keys().chain(owners.keys()).collect();
        let position = |partition: &PartitionOfTopicId| {
            let (topic, committed) = (names.get(&partition.0)?.clone(), committed.get(partition));
            Some(Self {
                topic,
                partition: partition.1,
                committed: committed.map(|committed| committed.offset),
                lost_from: committed.and_then(|committed| committed.lost_from),
                owner: owners.get(partition).cloned(),
            })
        };
        partitions.into_iter().filter_map(position).collect()
    }

    /// Returns the progress, with an age only if the lag is 0. None if the topic was deleted meanwhile.
    fn progress(self, spans: &Spans) -> Option<GroupProgress> {
        let Self { topic, partition, committed, lost_from, owner } = self;
        let topic_partition = (topic, partition);
        let Range { start, end } = spans.get(&topic_partition)?.clone();
        let (topic, partition) = topic_partition;
        let row = GroupProgress { topic, partition, start, end, committed, lost_from, lag: 0, lag_ms: None, owner };
        let lag = end.since(row.next());
        Some(GroupProgress { lag, lag_ms: (lag == 0).then_some(0), ..row })
    }
}

fn owners(group: &GroupDescription) -> BTreeMap<PartitionOfTopicId, PartitionOwner> {
    let held = group.members.iter().flat_map(|member| member.holds.iter().map(move |held| (member, held)));
    held.map(|(member, held)| {
        let owner = PartitionOwner {
            member: member.member.to_string(),
            since: held.since,
            pending_revocation: held.pending_revocation,
        };
        ((held.topic, held.partition), owner)
    })
    .collect()
}

/// Returns the name of a group's state.
pub(crate) fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "empty",
        GroupState::Stable => "stable",
        GroupState::Reconciling => "reconciling",
    }
}

/// Fetches the memory use of groups; none from a broker that lacks the request.
pub(crate) async fn group_memory(admin: &Admin) -> Result<Option<GroupMemory>, AdminError> {
    match admin.describe_group_memory().await {
        Ok(memory) => Ok(Some(memory)),
        Err(AdminError::Request(RequestError::Connect(ConnectError::MissingFeature { .. }))) => Ok(None),
        Err(error) => Err(error),
    }
}
