//! One partition's log: a broker appends to it and reads from it.
//!
//! Appending and syncing are separate. [`Log::append`] writes under the caller's lock and returns at once.
//! [`Log::flush_point`] names the files to sync, outside the lock, for everything appended so far to be durable.
//! [`Log::flushed`] takes the outcome. Readers hold a [`LogReader`] and never wait for the writer.
//!
//! ```
//! use grower_protocol::{batch::*, compression::Codec, ids::*};
//! use grower_storage::log::{Log, MemLog, LogOptions};
//!
//! let mut log = MemLog::new(LogOptions::default());
//! let mut builder = BatchBuilder::new(Codec::None);
//! builder.push(&Record { value: Some("Hello, Kitty 0!".into()), ..Record::default() });
//! let batch = UnplacedBatch::built(builder.build(None));
//! let appended = log.append(batch, LeaderEpoch::new(1), Timestamp::from_millis(0))?;
//! assert_eq!(appended.offsets(), Offset::ZERO..Offset::new(1));
//! let slices = log.reader().read(Offset::ZERO, 1 << 20, Offset::MAX)?;
//! let batches = BatchReader::new(slices[0].read()?).count();
//! assert_eq!(batches, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compacted;
mod disk_log;
mod errors;
mod files;
mod mem;
mod reader;
mod rules;

pub use crate::epochs::EpochEnd;
pub use crate::options::{IndexFactory, LogOptions, RetentionLimits};
pub use crate::producers::ProducerStates;
pub use crate::recovery::{LogLocation, OpenError};
pub use crate::segment::{SegmentInfo, Slice, TimedOffset};
pub use compacted::{Compacted, SealedSegments};
pub(crate) use compacted::{PassResult, SegmentReplacement, discard_compacted};
pub use disk_log::{DirectoryOwner, DiskLog};
pub use errors::{AppendError, ChangeError, FenceError, LogFailed, ReadError};
pub use files::LogFiles;
pub use mem::MemLog;
pub use reader::{FilesView, GoneHook, LogReader, LogView};

use crate::disk::{Disk, DiskError, FileGone, SharedFile};
use crate::segment::SegmentFlush;
use grower_protocol::batch::UnplacedBatch;
use grower_protocol::ids::{LastWritten, LeaderEpoch, Offset, ProducerId, ProducerIdentity, Timestamp};
use std::io;
use std::ops::Range;

/// One partition's log. It has one owner, so writes take `&mut self`; reading and syncing do not need the owner.
///
/// Two clocks tell it the time. Ages of segments and producers are measured by a clock that never jumps: `now` of
/// opening, [`append`](Log::append), [`fence_producer`](Log::fence_producer), [`roll_if_old`](Log::roll_if_old),
/// [`checkpoint`](Log::checkpoint), [`seal`](LogFiles::seal) and [`forget_producers`](Log::forget_producers). The
/// timestamps of records are compared
/// with the time of day: `date` of [`retain`](Log::retain).
///
/// `log start <= durable end <= log end`. After [`LogFailed`] every change is refused until the log is opened again.
/// Every implementation passes [`contract::log`](crate::contract::log()).
pub trait Log: Send {
    /// From the log start offset to the log end offset (the next to be written).
    fn span(&self) -> Range<Offset>;

    /// The offset below which everything is known to be durable.
    fn durable_end(&self) -> Offset;

    /// Gives a batch its offsets and writes it. Visible when this returns, durable after a flush.
    ///
    /// A batch that its producer sent before is not appended again: the result holds its first offsets. Otherwise a batch
    /// that [expects](UnplacedBatch::expecting_end) another log end is refused. A newer epoch is begun first, as by
    /// [`Log::begin_epoch`]. `now` ages segments and producers.
    fn append(&mut self, batch: UnplacedBatch, epoch: LeaderEpoch, now: Timestamp) -> Result<Appended, AppendError>;

    /// Appends a batch if one write is enough. An append that would also roll, begin an epoch or store the producers
    /// waits for syncs: then the batch comes back, for a thread that may wait.
    fn try_append(
        &mut self,
        batch: UnplacedBatch,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<TryAppend, AppendError>;

    /// Begins an epoch of a producer: from now on batches of its earlier epochs are refused, unless they are retries of
    /// its latest ones in the log. Returns the last record of the earlier epochs, which may not be durable yet; if there
    /// is none, that of the producer's `former` ids. The first batch of the epoch continues after that record's
    /// sequence, or begins at 0.
    ///
    /// An epoch that has begun already is not changed, and has the same answer. A crash or a truncation may forget a
    /// fence, as may [`Log::forget_producers`].
    fn fence_producer(
        &mut self,
        producer: ProducerIdentity,
        former: &[ProducerId],
        now: Timestamp,
    ) -> Result<Option<LastWritten>, FenceError>;

    /// Makes it durable that a leader begins here, before its first append. An epoch already begun changes nothing.
    fn begin_epoch(&mut self, epoch: LeaderEpoch) -> Result<(), ChangeError>;

    /// The files to sync for everything appended so far to be durable, and the end that is durable afterwards.
    fn flush_point(&self) -> FlushPoint;

    /// Takes the outcome of syncing a flush point and returns the durable end.
    ///
    /// Acknowledge nothing before this returned `Ok`: a roll may know of a failure that this sync did not see. A
    /// failed sync fails the log for ever.
    fn flushed(&mut self, point: &FlushPoint, outcome: Result<(), DiskError>) -> Result<Offset, LogFailed>;

    /// Drops every record at or after `end`, and all of a batch that holds `end`. Once this returned they stay dropped
    /// after a crash.
    fn truncate(&mut self, end: Offset) -> Result<(), ChangeError>;

    /// Moves the log start up to `start` and drops the segments wholly before it; durable when this returns. An
    /// earlier start than the present one changes nothing.
    fn trim(&mut self, start: Offset) -> Result<(), ChangeError>;

    /// Drops the oldest segments while the rest still meets the limits, and any whose records are all too old. A
    /// segment with records at or after `committed` stays. Returns the log start; durable when this returns.
    fn retain(&mut self, now: Timestamp, limits: &RetentionLimits, committed: Offset) -> Result<Offset, ChangeError>;

    /// Whether [`Log::roll_if_old`] would roll: the active segment has records and is old enough. Waits for nothing.
    fn is_old(&mut self, now: Timestamp) -> bool;

    /// Rolls the active segment if it is old, although nothing is appended. True if it did; durable when this returns.
    fn roll_if_old(&mut self, now: Timestamp) -> Result<bool, ChangeError>;

    /// Makes everything durable and stores that, so that the next opening has little to check. For an idle partition,
    /// and for a clean stop.
    fn checkpoint(&mut self, now: Timestamp) -> Result<(), ChangeError>;

    /// The producers that are remembered.
    fn producers(&self) -> &ProducerStates;

    /// Forgets named producers, except those to keep. The names are the caller's.
    fn forget_named_producers(&mut self, is_kept: &dyn Fn(ProducerId) -> bool);

    /// Forgets producers without a name that were silent for longer than `silent_ms`, and the longest silent ones beyond `most`. A
    /// retry of a forgotten producer is appended once more.
    fn forget_producers(&mut self, now: Timestamp, silent_ms: u64, most: usize);

    /// Takes new options, for the next append on.
    fn configure(&mut self, options: LogOptions);

    /// The log's files; none if it is in memory.
    fn files(&mut self) -> Option<&mut dyn LogFiles>;

    /// A cheap handle for readers. It sees what is appended and dropped later, and never waits for the owner.
    fn reader(&self) -> LogReader;
}

/// The outcome of [`Log::try_append`].
#[derive(Debug)]
pub enum TryAppend {
    /// The batch is in the log.
    Appended(Appended),
    /// The batch is not in the log: [`Log::append`] would wait for the disk.
    WouldWait(UnplacedBatch),
}

/// Where a batch was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub next_offset: Offset,
    /// Whether it began a new segment: the moment to check retention.
    pub rolled: bool,
    /// Whether it was appended before: the offsets are those of the first time.
    pub duplicate: bool,
}

impl Appended {
    /// A batch that was appended before, at these offsets.
    pub fn retry(offsets: Range<Offset>) -> Self {
        Self { base_offset: offsets.start, next_offset: offsets.end, rolled: false, duplicate: true }
    }

    /// The offsets of its records.
    pub fn offsets(&self) -> Range<Offset> {
        self.base_offset..self.next_offset
    }
}

/// The files to sync, and what is durable afterwards.
#[derive(Clone)]
pub struct FlushPoint {
    /// The files that [`FlushPoint::sync`] syncs, the log first. Empty if all is durable already.
    pub files: Vec<SharedFile>,
    /// The log end offset when this was taken.
    pub end: Offset,
    /// Whether a producer waits for the sync, so that cheaper syncs are worth some work. False unless set.
    pub awaited: bool,
    /// The part of the active segment that the sync makes durable; none if all is durable already.
    pub(crate) segment: Option<SegmentFlush>,
    /// How often the log had been truncated: an older point does not cover the bytes written since.
    pub(crate) truncations: u64,
}

impl FlushPoint {
    /// Nothing has to be synced: everything before `end` is durable.
    pub(crate) fn durable(end: Offset, truncations: u64) -> Self {
        Self { files: Vec::new(), end, awaited: false, segment: None, truncations }
    }

    /// Syncs the files, and checks that the log is still at its path: no later process finds what is durable in a
    /// removed or moved file. For [`Log::flushed`].
    pub fn sync(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        disk.sync_many(&self.files)?;
        self.files.first().map_or(Ok(()), |log| find_in_place(disk, log))
    }
}

/// Fails if the file is known to be gone from its path. An error of the check itself proves nothing.
pub(crate) fn find_in_place(disk: &dyn Disk, file: &SharedFile) -> Result<(), DiskError> {
    match disk.is_in_place(file) {
        Ok(false) => Err(DiskError::at("find", file.path())(io::Error::other(FileGone))),
        Err(error) if error.is_directory_moved() => Err(error),
        Ok(true) | Err(_) => Ok(()),
    }
}

impl std::fmt::Debug for FlushPoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlushPoint").field("files", &self.files.len()).field("end", &self.end).finish_non_exhaustive()
    }
}
