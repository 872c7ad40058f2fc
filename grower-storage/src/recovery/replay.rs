//! Rebuilds producers and epochs from the headers of the batches.

use crate::disk::DiskError;
use crate::epochs::EpochHistory;
use crate::options::LogOptions;
use crate::producers::{ProducerSnapshots, ProducerStates};
use crate::segment::{LogPosition, ScanItem, ScanMode, Scanner, Segment};
use grower_protocol::batch::BatchHeader;
use grower_protocol::ids::{Offset, Timestamp};
use std::ops::Range;
use std::sync::Arc;

/// The producers as of `end`: from the latest snapshot that fits, and the headers since. A producer found there counts
/// as heard of `now`: forgetting it too early would append a retry twice.
pub(crate) fn replay_producers(
    snapshots: ProducerSnapshots,
    segments: &[Arc<Segment>],
    end: Offset,
    now: Timestamp,
    options: &LogOptions,
) -> Result<ProducerStates, DiskError> {
    let mut snapshot = snapshots.latest_until(end).unwrap_or_default();
    snapshot.states.restart(now);
    for_each_header(segments, snapshot.offset..end, |header| {
        snapshot.states.note(header, now);
        snapshot.states.bound(now, options);
    })?;
    Ok(snapshot.states)
}

/// The epochs that the batches name. Epochs that appended nothing are lost.
pub(crate) fn replay_epochs(segments: &[Arc<Segment>]) -> Result<EpochHistory, DiskError> {
    let mut epochs = EpochHistory::default();
    for_each_header(segments, Offset::ZERO..Offset::MAX, |header| {
        if let Some(epoch) = header.leader_epoch.filter(|epoch| epochs.latest() < Some(*epoch)) {
            epochs.begin(epoch, header.base_offset);
        }
    })?;
    Ok(epochs)
}

/// Calls `each` with the headers of the batches within these offsets. Damage is stepped over.
fn for_each_header(
    segments: &[Arc<Segment>],
    offsets: Range<Offset>,
    mut each: impl FnMut(&BatchHeader),
) -> Result<(), DiskError> {
    for segment in segments.iter().filter(|segment| offsets.start < segment.end_position().offset) {
        let start: LogPosition = segment.log_position(segment.floor_by_offset(offsets.start));
        let mut scanner = Scanner::new(segment, ScanMode::Headers, start, segment.end_position());
        while let Some(item) = scanner.next_item()? {
            if let ScanItem::Batch(found) = item
                && offsets.start <= found.header.base_offset
                && found.header.next_offset() <= offsets.end
            {
                each(&found.header);
            }
        }
    }
    Ok(())
}
