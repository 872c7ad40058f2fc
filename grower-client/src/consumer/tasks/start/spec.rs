//! The start that a setting describes: known, or to be looked up.

use super::look_up_offsets;
use crate::cluster::Cluster;
use crate::consumer::settings::StartFrom;
use crate::consumer::state::SharedSubscription;
use crate::deadline::Deadline;
use crate::error::RequestError;
use crate::record::TopicPartition;
use grower_protocol::ids::{Offset, TopicId};
use grower_protocol::message::OffsetSpec;

/// The start of a partition: an offset, or one to look up.
#[derive(Clone, Copy)]
pub(super) enum StartSpec {
    Known(Offset),
    LookUp(OffsetSpec),
    /// This many offsets before the end, or the first record of a shorter log.
    BeforeEnd(u64),
}

/// The start that a lookup found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FoundStart {
    /// Not beyond the end of the log.
    pub(super) offset: Offset,
    /// The known start is beyond the end of the log.
    pub(super) is_beyond_end: bool,
}

impl StartSpec {
    /// Describes the start of a partition. One that its topic gained after the first look at it starts at its beginning.
    pub(super) fn of(
        shared: &SharedSubscription,
        topic_partition: &TopicPartition,
        topic: TopicId,
        from: Option<StartFrom>,
    ) -> Self {
        let seen = shared.lock().first_seen.get(&topic_partition.topic).copied();
        let came_later =
            seen.is_some_and(|(id, count)| id != Some(topic) || count <= topic_partition.partition.value());
        match from {
            _ if came_later => Self::LookUp(OffsetSpec::Beginning),
            None | Some(StartFrom::Beginning | StartFrom::Committed) => Self::LookUp(OffsetSpec::Beginning),
            Some(StartFrom::End) => Self::LookUp(OffsetSpec::End),
            Some(StartFrom::Time(time)) => Self::LookUp(OffsetSpec::AtOrAfter(time)),
            Some(StartFrom::Offset(offset)) => Self::Known(offset),
            Some(StartFrom::Last(offsets)) => Self::BeforeEnd(offsets),
        }
    }

    /// The offsets to look up: the start, or the bounds of the start.
    fn lookups(self) -> impl Iterator<Item = OffsetSpec> {
        let (first, second) = match self {
            Self::Known(_) => (OffsetSpec::End, None),
            Self::LookUp(spec) => (spec, None),
            Self::BeforeEnd(_) => (OffsetSpec::Beginning, Some(OffsetSpec::End)),
        };
        [first].into_iter().chain(second)
    }

    /// Takes the offsets that were found for [`StartSpec::lookups`].
    fn find<E>(self, mut found: impl Iterator<Item = Result<Offset, E>>) -> Option<Result<FoundStart, E>> {
        let (first, second) = (found.next()?, matches!(self, Self::BeforeEnd(_)).then(|| found.next()).flatten());
        let (first, second) = match (first, second.transpose()) {
            (Ok(first), Ok(second)) => (first, second),
            (Err(error), _) | (_, Err(error)) => return Some(Err(error)),
        };
        let (offset, is_beyond_end) = match self {
            Self::Known(offset) => (offset.min(first), first < offset),
            Self::LookUp(_) => (first, false),
            Self::BeforeEnd(offsets) => {
                let wanted = Offset::new(second?.value().saturating_sub(offsets));
                (wanted.max(first), false)
            }
        };
        Some(Ok(FoundStart { offset, is_beyond_end }))
    }
}

/// Looks up the starts of partitions, in order.
pub(super) async fn find_starts(
    cluster: &Cluster,
    wanted: &[(&TopicPartition, StartSpec)],
    deadline: Deadline,
) -> Result<Vec<Result<FoundStart, RequestError>>, RequestError> {
    let lookups = wanted.iter().flat_map(|(name, spec)| spec.lookups().map(move |lookup| (*name, lookup)));
    let mut found = look_up_offsets(cluster, &lookups.collect::<Vec<_>>(), deadline).await?.into_iter();
    Ok(wanted.iter().map_while(|(_, spec)| spec.find(&mut found)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offsets_begin_before_the_end_and_in_the_log() {
        let check = |offsets, start: u64, end: u64| {
            let found = [Offset::new(start), Offset::new(end)].map(Ok::<_, ()>);
            StartSpec::BeforeEnd(offsets).find(found.into_iter()).unwrap().unwrap().offset.value()
        };
        assert_eq!(check(3, 0, 10), 7);
        assert_eq!(check(0, 0, 10), 10);
        assert_eq!(check(10, 0, 10), 0);
        assert_eq!(check(u64::MAX, 4, 10), 4, "the log begins later");
        assert_eq!(check(3, 0, 0), 0);
    }
}
