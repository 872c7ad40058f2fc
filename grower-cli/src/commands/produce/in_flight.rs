//! Lines that were read and are not reported yet, in the order of the input.

use crate::follow::FollowedFile;
use futures_util::FutureExt;
use grower_client::{Ack, AckRange, Deliveries, FailedRange, ProduceError};
use std::collections::VecDeque;
use std::sync::Arc;

/// The lines in flight, by the chunks in which they were read.
#[derive(Default)]
pub(super) struct LinesInFlight {
    chunks: VecDeque<ChunkInFlight>,
    count: usize,
}

/// The lines of one chunk. One delivery stands for all that were sent.
pub(super) struct ChunkInFlight {
    pub(super) lines: VecDeque<LineInFlight>,
    /// The followed file that they belong to.
    pub(super) file: Option<Arc<FollowedFile>>,
    pub(super) deliveries: Deliveries,
    /// The outcome of the next lines that were sent.
    outcome: Option<RangeOutcome>,
}

/// A line whose outcome is not reported yet.
pub(super) struct LineInFlight {
    pub(super) number: u64,
    pub(super) bytes: u64,
    pub(super) end: u64,
    pub(super) state: LineState,
}

pub(super) enum LineState {
    Sent,
    Refused(String),
    Arrived,
}

/// A line with its outcome.
pub(super) struct SettledLine {
    pub(super) line: LineInFlight,
    pub(super) file: Option<Arc<FollowedFile>>,
    /// The outcome of its record, if it was sent.
    pub(super) sent: Option<Result<Ack, ProduceError>>,
}

/// The outcome of sent lines, the first of which is `next`, counted in the chunk.
struct RangeOutcome {
    range: Result<AckRange, FailedRange>,
    next: usize,
}

impl LinesInFlight {
    /// The number of lines.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn add(&mut self, chunk: ChunkInFlight) {
        if !chunk.lines.is_empty() {
            self.count += chunk.lines.len();
            self.chunks.push_back(chunk);
        }
    }

    /// Waits until the outcome of the first line is known, forever if there is none. Cancel safe.
    pub(super) async fn settled(&mut self) {
        match self.chunks.front_mut() {
            Some(chunk) => chunk.settled().await,
            None => std::future::pending().await,
        }
    }

    /// Takes the first line if its outcome is known.
    pub(super) fn take_settled(&mut self) -> Option<SettledLine> {
        let chunk = self.chunks.front_mut()?;
        let settled = chunk.take_settled()?;
        self.count -= 1;
        if chunk.lines.is_empty() {
            self.chunks.pop_front();
        }
        Some(settled)
    }
}

impl ChunkInFlight {
    pub(super) fn new(lines: VecDeque<LineInFlight>, file: Option<Arc<FollowedFile>>, deliveries: Deliveries) -> Self {
        Self { lines, file, deliveries, outcome: None }
    }

    async fn settled(&mut self) {
        let waits = self.lines.front().is_some_and(|line| matches!(line.state, LineState::Sent));
        if waits && self.outcome.is_none() {
            self.outcome = self.deliveries.next().await.map(RangeOutcome::new);
        }
    }

    fn take_settled(&mut self) -> Option<SettledLine> {
        self.settled().now_or_never()?;
        let line = self.lines.pop_front()?;
        let sent = match &line.state {
            LineState::Sent => Some(self.next_outcome()),
            LineState::Refused(_) | LineState::Arrived => None,
        };
        Some(SettledLine { line, file: self.file.clone(), sent })
    }

    fn next_outcome(&mut self) -> Result<Ack, ProduceError> {
        let mut outcome = self.outcome.take().expect("each line that was sent has an outcome");
        let result = outcome.take_next();
        self.outcome = Some(outcome).filter(|outcome| outcome.next < outcome.end());
        result
    }
}

impl RangeOutcome {
    fn new(range: Result<AckRange, FailedRange>) -> Self {
        let records = range.as_ref().map_or_else(|failed| &failed.records, |acked| &acked.records);
        Self { next: records.start, range }
    }

    fn end(&self) -> usize {
        self.range.as_ref().map_or_else(|failed| failed.records.end, |acked| acked.records.end)
    }

    fn take_next(&mut self) -> Result<Ack, ProduceError> {
        self.next += 1;
        match &self.range {
            Ok(acked) => Ok(acked.get(self.next - 1).expect("the range ends later")),
            Err(failed) => Err(failed.error.clone()),
        }
    }
}
