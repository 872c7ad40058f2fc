//! The records in the bytes of one batch, and which of them wait for an outcome. Pure.
//!
//! A record has two numbers. Its *index* counts the records that were added to the batch and never changes. Its
//! *position* counts the records in the bytes, from which the acknowledged offsets follow. They differ once records
//! are withdrawn from the bytes, or after a split. A record may be *settled* although it is in the bytes: it expired
//! while the batch was in flight, or it leaves the bytes before the batch is sent again.

use crate::deadline::Deadline;
use std::ops::Range;
use tokio::time::Instant;

/// The records of one batch, by runs in the order of the bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordRuns {
    earlier: Vec<RecordRun>,
    /// Apart from the others: most batches have one run, which needs no allocation.
    last: Option<RecordRun>,
    count: u32,
    next_index: u32,
}

/// Records with consecutive indices and positions, of one deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RecordRun {
    indices: Range<u32>,
    deadline: Deadline,
    is_settled: bool,
}

/// Consecutive unsettled records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LiveRecords {
    pub(super) indices: Range<u32>,
    /// The position of the first one.
    pub(super) position: u32,
}

impl RecordRun {
    fn len(&self) -> u32 {
        self.indices.end - self.indices.start
    }

    /// Splits off all records after the first `count`.
    fn split_off(&mut self, count: u32) -> Self {
        let middle = self.indices.start + count;
        let tail = Self { indices: middle..self.indices.end, ..*self };
        self.indices.end = middle;
        tail
    }
}

impl RecordRuns {
    /// The number of records in the bytes.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The number of records that were added, with those that were withdrawn.
    pub(super) fn added(&self) -> u32 {
        self.next_index
    }

    /// Adds a record and returns its index.
    #[inline]
    pub(super) fn push(&mut self, deadline: Deadline) -> u32 {
        let index = self.next_index;
        self.next_index += 1;
        self.count += 1;
        match &mut self.last {
            Some(run) if run.deadline == deadline && run.indices.end == index && !run.is_settled => {
                run.indices.end += 1
            }
            last => {
                self.earlier.extend(last.replace(RecordRun { indices: index..index + 1, deadline, is_settled: false }));
            }
        }
        index
    }

    /// Whether no record waits for an outcome.
    pub(super) fn are_settled(&self) -> bool {
        self.iter().all(|run| run.is_settled)
    }

    /// The number of settled records that are still in the bytes.
    pub(super) fn settled_count(&self) -> u32 {
        self.iter().filter(|run| run.is_settled).map(RecordRun::len).sum()
    }

    /// The earliest deadline of an unsettled record.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.deadlines().min()
    }

    /// The latest deadline of an unsettled record.
    pub(super) fn latest(&self) -> Option<Instant> {
        self.deadlines().max()
    }

    /// The number of unsettled records.
    pub(super) fn live_count(&self) -> u64 {
        self.iter().filter(|run| !run.is_settled).map(|run| u64::from(run.len())).sum()
    }

    /// The time of the call that handed in the oldest unsettled record.
    pub(super) fn handed_in(&self) -> Option<Instant> {
        self.iter().filter(|run| !run.is_settled).filter_map(|run| run.deadline.start()).min()
    }

    fn deadlines(&self) -> impl Iterator<Item = Instant> {
        self.iter().filter(|run| !run.is_settled).map(|run| run.deadline.end())
    }

    /// The indices from the first record in the bytes to the last.
    pub(super) fn span(&self) -> Range<u32> {
        let first = self.iter().next().map_or(self.next_index, |run| run.indices.start);
        first..self.last.as_ref().map_or(first, |run| run.indices.end)
    }

    /// The unsettled records. Those with consecutive indices have consecutive positions, and stand together.
    pub(super) fn live(&self) -> impl Iterator<Item = LiveRecords> {
        let (mut runs, mut position) = (self.iter().peekable(), 0);
        std::iter::from_fn(move || {
            loop {
                let run = runs.next()?;
                let first = position;
                position += run.len();
                if run.is_settled {
                    continue;
                }
                let mut indices = run.indices.clone();
                while let Some(next) = runs.next_if(|next| !next.is_settled && next.indices.start == indices.end) {
                    indices.end = next.indices.end;
                    position += next.len();
                }
                return Some(LiveRecords { indices, position: first });
            }
        })
    }

    /// Settles all records with a deadline at or before `now`; returns them by their limits.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Self, Deadline)> {
        let mut expired = Vec::<(Self, Deadline)>::new();
        for run in self.iter_mut().filter(|run| !run.is_settled && run.deadline.end() <= now) {
            run.is_settled = true;
            let live = RecordRun { is_settled: false, ..run.clone() };
            match expired.last_mut().filter(|(_, deadline)| deadline.limit() == run.deadline.limit()) {
                Some((runs, _)) => runs.append(live),
                None => expired.push((Self::from_iter([live]), run.deadline)),
            }
        }
        expired
    }

    /// Settles the records at these positions, which rise; returns those that were not settled before.
    pub(super) fn settle(&mut self, positions: impl IntoIterator<Item = Range<u32>>) -> Self {
        let mut settled = Self::default();
        let (mut before, mut rest) = (Self::default(), std::mem::take(self));
        for positions in positions {
            let (start, end) = (positions.start.max(before.count), positions.end.min(before.count + rest.count));
            if end <= start {
                continue;
            }
            let mut named = rest.split_off(start - before.count);
            before.extend(rest.into_runs());
            rest = named.split_off(end - start);
            settled.extend(named.iter().filter(|run| !run.is_settled).cloned());
            named.iter_mut().for_each(|run| run.is_settled = true);
            before.extend(named.into_runs());
        }
        before.extend(rest.into_runs());
        *self = before;
        settled
    }

    /// Removes the settled records; returns the positions of the others, to keep in the bytes.
    pub(super) fn withdraw_settled(&mut self) -> Vec<Range<u32>> {
        let positions = |LiveRecords { indices, position }| position..position + (indices.end - indices.start);
        let kept = self.live().map(positions).collect();
        let next_index = self.next_index;
        *self = std::mem::take(self).into_runs().filter(|run| !run.is_settled).collect();
        self.next_index = next_index;
        kept
    }

    /// Splits off all records after the first `count` of the bytes.
    pub(super) fn split_off(&mut self, count: u32) -> Self {
        let (mut head, mut tail) = (Self::default(), Self::default());
        for mut run in std::mem::take(self).into_runs() {
            let room = count - head.count;
            if run.len() <= room {
                head.append(run);
                continue;
            }
            let after = if 0 < room { run.split_off(room) } else { run.clone() };
            if 0 < room {
                head.append(run);
            }
            tail.append(after);
        }
        *self = head;
        tail
    }

    /// Takes all records.
    pub(super) fn take(&mut self) -> Self {
        let next_index = self.next_index;
        std::mem::replace(self, Self { next_index, ..Self::default() })
    }

    fn append(&mut self, run: RecordRun) {
        debug_assert!(run.indices.start < run.indices.end && self.next_index <= run.indices.start, "{self:?} {run:?}");
        self.count += run.len();
        self.next_index = run.indices.end;
        match &mut self.last {
            Some(last)
                if last.indices.end == run.indices.start
                    && (last.deadline, last.is_settled) == (run.deadline, run.is_settled) =>
            {
                last.indices.end = run.indices.end;
            }
            last => self.earlier.extend(last.replace(run)),
        }
    }

    fn into_runs(self) -> impl Iterator<Item = RecordRun> {
        self.earlier.into_iter().chain(self.last)
    }

    fn iter(&self) -> impl Iterator<Item = &RecordRun> {
        self.earlier.iter().chain(&self.last)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut RecordRun> {
        self.earlier.iter_mut().chain(&mut self.last)
    }
}

impl Extend<RecordRun> for RecordRuns {
    fn extend<T: IntoIterator<Item = RecordRun>>(&mut self, runs: T) {
        runs.into_iter().for_each(|run| self.append(run));
    }
}

impl FromIterator<RecordRun> for RecordRuns {
    fn from_iter<T: IntoIterator<Item = RecordRun>>(runs: T) -> Self {
        let mut all = Self::default();
        all.extend(runs);
        all
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests;
