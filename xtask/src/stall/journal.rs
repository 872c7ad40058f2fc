//! The actions of the rig's processes, one JSON line for each event.
//!
//! A killed process leaves all events before its death: each is one write. The audit reads the journals at the end.

use anyhow::Context;
use grower_client::{Ack, Outcome, ProduceError};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A time on the monotonic clock, which all processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Nanos(u64);

impl Nanos {
    #[cfg(test)]
    pub(super) const ZERO: Self = Self(0);

    pub(super) fn now() -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        Self(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    pub(super) fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_nanos() as u64))
    }

    pub(super) fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_nanos() as u64))
    }

    /// The time since `earlier`; zero if that is later.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The time of a call, and the most that it may take.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct CallTime {
    pub(super) began: Nanos,
    pub(super) ended: Nanos,
    pub(super) limit: Duration,
}

/// The outcome of a record, as its producer reported it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RecordOutcome {
    Acked {
        offset: u64,
    },
    /// May be in the log.
    Unknown {
        error: String,
    },
    /// Is not in the log and never will be.
    NotWritten {
        error: String,
    },
}

impl RecordOutcome {
    pub(super) fn of(result: &Result<Ack, ProduceError>) -> Self {
        match result {
            Ok(ack) => Self::Acked { offset: ack.offset.map_or(u64::MAX, |offset| offset.value()) },
            Err(error) if error.outcome() == Outcome::Unknown => Self::Unknown { error: error.to_string() },
            Err(error) => Self::NotWritten { error: error.to_string() },
        }
    }
}

/// An event.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum JournalEvent {
    /// A fault that the rig caused.
    Fault { process: String, kind: String, from: Nanos, to: Nanos },
    /// The process did not run: it was stopped, or the machine was busy.
    Pause { from: Nanos, to: Nanos },
    /// A call ended.
    Call { what: String, time: CallTime, outcome: String },
    /// A record was settled.
    Settled { topic: String, partition: u32, writer: String, number: u64, time: CallTime, outcome: RecordOutcome },
    /// A writer flushed, and its partitions ended here afterwards.
    Flushed { topic: String, writer: String, began: Nanos, ends: Vec<(u32, u64)> },
    /// A member was assigned partitions.
    Assigned { consumer: String, partitions: Vec<u32>, at: Nanos },
    /// A consumer was handed records.
    HandedOut { consumer: String, partition: u32, offsets: Range<u64>, at: Nanos },
    /// A member committed an offset.
    Committed { consumer: String, partition: u32, offset: u64, time: CallTime },
    /// A member's commit failed, though not because the partition is no longer its own.
    CommitFailed { consumer: String, partition: u32, time: CallTime },
    /// A member's commit failed because the partition is no longer its own.
    CommitRefused { consumer: String, partition: u32, time: CallTime },
    /// A member drops its consumer without leaving its group.
    Dropped { consumer: String, at: Nanos },
    /// A program ended, or was killed, after it ran for this long, apart from its stops.
    ProgramEnded { process: String, ran: Duration },
    /// A client found a broken promise itself.
    Broken { promise: String },
}

/// Writes the events of one process. Clones share the file.
#[derive(Clone)]
pub(super) struct Journal(Arc<File>);

impl Journal {
    pub(super) fn create(dir: &Path, process: &str) -> anyhow::Result<Self> {
        let path = dir.join(format!("{process}.journal"));
        let file = File::options().create(true).append(true).open(&path);
        Ok(Self(Arc::new(file.with_context(|| format!("cannot write {}", path.display()))?)))
    }

    /// Appends an event.
    ///
    /// # Panics
    /// If the file cannot be written: a rig without its journal proves nothing.
    pub(super) fn note(&self, event: &JournalEvent) {
        let mut line = serde_json::to_vec(event).expect("events are plain data");
        line.push(b'\n');
        (&*self.0).write_all(&line).expect("the journal can be written");
    }

    /// Notes a call that ended just now, and returns its result.
    pub(super) fn called<T, E: std::fmt::Display>(
        &self,
        what: &str,
        began: Nanos,
        limit: Duration,
        result: Result<T, E>,
    ) -> Option<T> {
        let time = CallTime { began, ended: Nanos::now(), limit };
        let (outcome, value) = match result {
            Ok(value) => ("ok".to_owned(), Some(value)),
            Err(error) => (error.to_string(), None),
        };
        self.note(&JournalEvent::Call { what: what.to_owned(), time, outcome });
        value
    }
}

/// The events of one process.
pub(super) struct ProcessJournal {
    /// The process: the name of its file.
    pub(super) process: String,
    pub(super) events: Vec<JournalEvent>,
}

/// Reads all journals of a run.
pub(super) fn read_all(dir: &Path) -> anyhow::Result<Vec<ProcessJournal>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "journal"));
    paths.sort();
    paths.iter().map(|path| read(path).with_context(|| path.display().to_string())).collect()
}

fn read(path: &Path) -> anyhow::Result<ProcessJournal> {
    let text = fs::read_to_string(path)?;
    let events = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let process = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(ProcessJournal { process, events })
}
