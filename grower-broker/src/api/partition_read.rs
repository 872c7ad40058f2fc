//! Reads the records of one partition for a fetch.

use crate::disk_failure::code_of;
use crate::partition::Partition;
use grower_protocol::ids::{LeaderEpoch, Offset};
use grower_protocol::message::{ErrorCode, Failure, FetchPartition, FetchedPartition, FetchedRecords, Part};
use grower_storage::log::{ReadError, Slice};

/// The limits of one read, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadLimits {
    /// Where the read stops, after at least one batch.
    pub(super) target: usize,
    /// The most bytes, even of the first batch. Without it the first batch is read, however large.
    pub(super) max: Option<usize>,
}

/// The records of a partition at a position.
pub(super) struct PartitionRead {
    pub(super) fetched: FetchedPartition,
    pub(super) slices: Vec<Slice>,
    /// The position behind the records, and an epoch that is not older than theirs; none without records.
    pub(super) next: Option<(Offset, LeaderEpoch)>,
    /// The next batch is larger than the limit.
    pub(super) too_large: bool,
}

impl PartitionRead {
    pub(super) fn without_records(fetched: FetchedPartition) -> Self {
        Self { fetched, slices: Vec::new(), next: None, too_large: false }
    }

    /// Bytes of batches.
    pub(super) fn bytes(&self) -> usize {
        length(&self.fetched)
    }

    /// The number of records, counted by offsets.
    pub(super) fn records(&self) -> u64 {
        self.slices.iter().map(|slice| slice.offsets().end.since(slice.offsets().start)).sum()
    }
}

/// Reads a partition from the wanted position.
pub(super) fn read(partition: &Partition, wanted: &FetchPartition, limits: ReadLimits) -> Part<PartitionRead> {
    check_epoch(wanted, partition)?;
    let diverged = wanted.last_epoch.and_then(|epoch| partition.divergence(wanted.offset, Some(epoch)));
    match diverged {
        Some(divergence) => Ok(PartitionRead::without_records(FetchedPartition::Diverged(divergence))),
        None => read_records(partition, wanted.offset, limits),
    }
}

fn read_records(partition: &Partition, offset: Offset, limits: ReadLimits) -> Part<PartitionRead> {
    let high_watermark = partition.high_watermark();
    let log_start = partition.reader().span().start;
    let read = partition.reader().read(offset, limits.target, high_watermark);
    let mut fetched = FetchedRecords { length: 0, high_watermark, log_start, damaged: None };
    let slices = match read {
        Ok(slices) => slices,
        Err(ReadError::Corrupt { offsets, .. }) => {
            fetched.damaged = Some((offsets.start, offsets.end));
            return Ok(PartitionRead::without_records(FetchedPartition::Records(fetched)));
        }
        Err(error) => return Err(read_failure(partition, &error)),
    };
    let length: usize = slices.iter().map(Slice::len).sum();
    if limits.max.is_some_and(|max| max < length) {
        let fetched = FetchedPartition::Records(fetched);
        return Ok(PartitionRead { too_large: true, ..PartitionRead::without_records(fetched) });
    }
    fetched.length = u32::try_from(length).unwrap_or(u32::MAX);
    let next = slices.last().map(|slice| (slice.offsets().end, partition.epoch()));
    Ok(PartitionRead { fetched: FetchedPartition::Records(fetched), slices, next, too_large: false })
}

/// Bytes of batches.
pub(super) fn length(fetched: &FetchedPartition) -> usize {
    match fetched {
        FetchedPartition::Records(fetched) => fetched.length as usize,
        FetchedPartition::Diverged(_) => 0,
    }
}

/// Whether a client is answered at once, although there are no records.
pub(super) fn is_damaged_or_diverged(fetched: &FetchedPartition) -> bool {
    match fetched {
        FetchedPartition::Records(fetched) => fetched.damaged.is_some(),
        FetchedPartition::Diverged(_) => true,
    }
}

fn check_epoch(wanted: &FetchPartition, partition: &Partition) -> Result<(), Failure> {
    let Some(known) = wanted.leader_epoch else { return Ok(()) };
    let current = partition.epoch();
    if known < current {
        return Err(Failure::new(
            ErrorCode::FencedLeaderEpoch,
            format_args!("leader epoch {known} is over, the current one is {current}: refresh the metadata"),
        ));
    }
    if current < known {
        return Err(Failure::new(
            ErrorCode::UnknownLeaderEpoch,
            format_args!("leader epoch {known} is unknown here, the current one is {current}"),
        ));
    }
    Ok(())
}

/// The failure that a client gets for a read error.
pub(super) fn read_failure(partition: &Partition, error: &ReadError) -> Failure {
    let code = match error {
        ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Corrupt { .. } => ErrorCode::CorruptLog,
        ReadError::Disk(error) => code_of(error),
    };
    Failure::new(code, format_args!("{}/{}: {error}", partition.topic_name, partition.partition))
}
