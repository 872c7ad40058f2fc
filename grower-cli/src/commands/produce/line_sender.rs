//! Sends lines as records and reports their acks: many records are in flight at once, and acks are reported in line
//! order.

use super::ProduceCommand;
use super::report::ProduceReport;
use super::source::{LineChunk, LineSource};
use super::unacknowledged::Unacknowledged;
use crate::follow::{ArrivedLines, FollowedFile, LineMark, NoteError, NoteKeeper};
use crate::lines::Line;
use crate::output::{ReaderGone, message_of, stderr_line};
use crate::session::interrupted;
use anyhow::bail;
use futures_util::FutureExt;
use grower_client::{Delivery, ErrorCode, ProduceError, Producer};
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::mpsc::error::TryRecvError;

/// Limit of lines in flight; the producer limits their bytes.
const IN_FLIGHT_MAX: usize = 64 << 10;

/// Sends lines to the broker.
pub(super) struct LineSender<'a> {
    command: &'a ProduceCommand,
    topic: Arc<str>,
    producer: Producer,
    report: ProduceReport,
    in_flight: VecDeque<InFlightLine>,
    following: Option<FollowProgress>,
    /// Reading stops once there are any.
    unacknowledged: Unacknowledged,
    /// The last line that was sent.
    sent_up_to: u64,
    /// Whether lines after it were read and not sent.
    is_cut_short: bool,
}

/// The progress in a followed file.
struct FollowProgress {
    keeper: NoteKeeper,
    /// Lines that an earlier run has sent.
    arrived: ArrivedLines,
    /// The position in each file up to which every line is done, since the last note.
    done: Vec<(Arc<FollowedFile>, u64)>,
    /// Whether the latest note could not be written.
    is_behind: bool,
}

/// A line whose outcome is not reported yet.
struct InFlightLine {
    number: u64,
    bytes: u64,
    end: u64,
    file: Option<Arc<FollowedFile>>,
    outcome: LineOutcome,
}

enum LineOutcome {
    Sent(Delivery),
    Refused(String),
    Failed(ProduceError),
    Arrived,
}

/// Why no more lines are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadEnd {
    Read,
    Interrupted,
    Failed,
}

impl<'a> LineSender<'a> {
    pub(super) fn new(command: &'a ProduceCommand, producer: Producer, report: ProduceReport) -> Self {
        let topic = command.topic.as_str().into();
        let (in_flight, unacknowledged) = (VecDeque::new(), Unacknowledged::default());
        Self {
            command,
            topic,
            producer,
            report,
            in_flight,
            following: None,
            unacknowledged,
            sent_up_to: 0,
            is_cut_short: false,
        }
    }

    /// Keeps a note of the progress in a followed file. Lines in `arrived` are not sent again.
    pub(super) fn with_note(mut self, keeper: NoteKeeper, arrived: ArrivedLines) -> Self {
        self.following = Some(FollowProgress { keeper, arrived, done: Vec::new(), is_behind: false });
        self
    }

    /// Runs until the source has ended and every line is reported, or until Ctrl-C.
    pub(super) async fn run(mut self, mut source: LineSource) -> anyhow::Result<()> {
        let mut interrupt = pin!(interrupted());
        let mut ack_reader_gone = pin!(self.report.ack_reader_gone());
        let ended = loop {
            if !self.unacknowledged.is_empty() {
                break ReadEnd::Failed;
            }
            let has_room = self.in_flight.len() < IN_FLIGHT_MAX;
            if !has_room {
                self.producer.end_lingers(); // No further line can fill the batch.
            }
            tokio::select! {
                biased;
                () = &mut interrupt => break ReadEnd::Interrupted,
                () = &mut ack_reader_gone => return Err(ReaderGone.into()),
                settled = next(&mut self.in_flight) => self.settle(settled)?,
                chunk = source.recv(), if has_room => match chunk {
                    Some(chunk) => self.send(chunk?).await?,
                    None => break ReadEnd::Read,
                },
            }
        };
        let is_read = ended == ReadEnd::Read || matches!(source.try_recv(), Err(TryRecvError::Disconnected));
        drop(source);
        self.producer.flush().await.ok(); // Each line's own result reports failures.
        while !self.in_flight.is_empty() {
            let settled = next(&mut self.in_flight).await;
            self.settle(settled)?;
        }
        if !self.unacknowledged.is_empty() {
            return self.fail(is_read);
        }
        let follows = self.following.is_some();
        if let Some(following) = self.following.as_mut().filter(|following| following.is_behind) {
            following.keeper.save([])?;
        }
        self.report.finish()?;
        if ended == ReadEnd::Interrupted && !follows {
            bail!("interrupted: every line read is acknowledged, the rest was not read");
        }
        Ok(())
    }

    /// Fails with the numbers of the lines that were not acknowledged.
    fn fail(mut self, is_read: bool) -> anyhow::Result<()> {
        let acknowledged = self.report.acknowledged_lines();
        if let Err(error) = self.report.end() {
            stderr_line(format_args!("error: {}", message_of(&error)));
        }
        if let Some(following) = self.following.as_mut().filter(|following| following.is_behind) {
            following.keeper.save([])?;
        }
        let sent_up_to = Some(self.sent_up_to).filter(|_| !is_read || self.is_cut_short);
        self.unacknowledged.into_error(sent_up_to, acknowledged).map_or(Ok(()), Err)
    }

    async fn send(&mut self, chunk: LineChunk) -> anyhow::Result<()> {
        if let Some(end) = chunk.begun {
            let file = chunk.file.clone();
            self.in_flight.push_back(InFlightLine { number: 0, bytes: 0, end, file, outcome: LineOutcome::Arrived });
        }
        let mut lines = chunk.lines.into_iter();
        while let Some(line) = lines.next() {
            let (number, end) = (line.number, line.end);
            let bytes = line.content.as_ref().map_or(0, |bytes| bytes.len() as u64);
            let outcome = self.outcome(line, chunk.file.as_deref()).await;
            let failed = matches!(outcome, LineOutcome::Failed(_));
            self.sent_up_to = number;
            self.in_flight.push_back(InFlightLine { number, bytes, end, file: chunk.file.clone(), outcome });
            if failed {
                self.is_cut_short = lines.next().is_some();
                break; // The next lines may fail as well: stop.
            }
        }
        Ok(())
    }

    async fn outcome(&mut self, line: Line, file: Option<&FollowedFile>) -> LineOutcome {
        let content = match line.content {
            Ok(content) => content,
            Err(too_long) => return LineOutcome::Refused(too_long.to_string()),
        };
        let (_, value) = self.command.split_key(content.clone());
        let mut record = self.command.record(&self.topic, content);
        if let (Some(following), Some(file)) = (&mut self.following, file) {
            let mark = LineMark { incarnation: file.incarnation, start: line.start };
            if following.arrived.take(mark, &value) {
                return LineOutcome::Arrived;
            }
            let (name, value) = mark.header(following.keeper.follower());
            record = record.header(name, value);
        }
        match self.producer.enqueue(record).await {
            Ok(delivery) => LineOutcome::Sent(delivery),
            Err(error) => refusal(error).map_or_else(LineOutcome::Failed, LineOutcome::Refused),
        }
    }

    /// Reports the outcome of a line, and those of the next lines that are known.
    fn settle(&mut self, (line, result): SettledLine) -> anyhow::Result<()> {
        self.settle_one(line, result)?;
        while let Some(front) = self.in_flight.front_mut() {
            let result = match &mut front.outcome {
                LineOutcome::Sent(delivery) => match delivery.now_or_never() {
                    Some(result) => Some(result),
                    None => break,
                },
                LineOutcome::Refused(_) | LineOutcome::Failed(_) | LineOutcome::Arrived => None,
            };
            if let Some(line) = self.in_flight.pop_front() {
                self.settle_one(line, result)?;
            }
        }
        self.report.flush()?;
        self.save()
    }

    fn settle_one(
        &mut self,
        line: InFlightLine,
        result: Option<Result<grower_client::Ack, ProduceError>>,
    ) -> anyhow::Result<()> {
        // A note covers only acknowledged lines: it ends before the first other one.
        let mut following = self.following.as_mut().filter(|_| self.unacknowledged.is_empty());
        match (line.outcome, result) {
            (LineOutcome::Refused(why), _) => self.report.add_refused(line.number, &why),
            (LineOutcome::Failed(error), _) => {
                self.unacknowledged.add(line.number, error);
                return Ok(());
            }
            (LineOutcome::Sent(_), Some(Ok(ack))) => {
                self.report.add_acknowledged(line.number, line.bytes, &ack)?;
                if let (Some(following), Some(offset)) = (&mut following, ack.offset) {
                    following.keeper.add_acknowledged(ack.partition, offset);
                }
            }
            (LineOutcome::Sent(_), Some(Err(error))) => match refusal(error) {
                Ok(why) => self.report.add_refused(line.number, &why),
                Err(error) => {
                    self.unacknowledged.add(line.number, error);
                    return Ok(());
                }
            },
            (LineOutcome::Sent(_) | LineOutcome::Arrived, _) => {}
        }
        if let (Some(following), Some(file)) = (following, line.file) {
            following.done(file, line.end);
        }
        Ok(())
    }

    fn save(&mut self) -> anyhow::Result<()> {
        self.following.as_mut().map_or(Ok(()), FollowProgress::save)
    }
}

impl FollowProgress {
    fn done(&mut self, file: Arc<FollowedFile>, end: u64) {
        match self.done.iter_mut().find(|(done, _)| Arc::ptr_eq(done, &file)) {
            Some((_, before)) => *before = end,
            None => self.done.push((file, end)),
        }
    }

    /// Writes the note. A failure, as on a full disk, does not end following: the marks in the topic carry the same
    /// facts.
    fn save(&mut self) -> anyhow::Result<()> {
        if self.done.is_empty() {
            return Ok(());
        }
        match self.keeper.save(self.done.drain(..)) {
            Ok(()) => self.is_behind = false,
            Err(error @ NoteError::Busy { .. }) => return Err(error.into()),
            Err(error) if !std::mem::replace(&mut self.is_behind, true) => {
                stderr_line(format_args!("warning: {}; the next acks retry it", message_of(&error.into())));
            }
            Err(_) => {}
        }
        Ok(())
    }
}

/// A line, and the result of its record if it was sent.
type SettledLine = (InFlightLine, Option<Result<grower_client::Ack, ProduceError>>);

/// Waits for the outcome of the first line in flight, forever if there is none. Cancel safe.
async fn next(in_flight: &mut VecDeque<InFlightLine>) -> SettledLine {
    let result = match in_flight.front_mut().map(|line| &mut line.outcome) {
        Some(LineOutcome::Sent(delivery)) => Some(delivery.await),
        Some(LineOutcome::Refused(_) | LineOutcome::Failed(_) | LineOutcome::Arrived) => None,
        None => std::future::pending().await,
    };
    match in_flight.pop_front() {
        Some(line) => (line, result),
        None => std::future::pending().await,
    }
}

/// Returns why this line is refused. Returns the error if the line is not the cause: every line would fail.
fn refusal(error: ProduceError) -> Result<String, ProduceError> {
    let of_the_line = matches!(error, ProduceError::TooLarge { .. })
        || matches!(error.code(), Some(ErrorCode::TooLarge | ErrorCode::InvalidRecord | ErrorCode::InvalidTimestamp));
    if of_the_line { Ok(format!("was refused: {error}")) } else { Err(error) }
}
