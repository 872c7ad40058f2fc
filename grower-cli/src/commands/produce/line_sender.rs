//! Sends lines as records and reports their acks: many records are in flight at once, and acks are reported in line
//! order.

use super::ProduceCommand;
use super::in_flight::{ChunkInFlight, LineInFlight, LineState, LinesInFlight, SettledLine};
use super::report::ProduceReport;
use super::source::{LineChunk, LineSource};
use super::unacknowledged::Unacknowledged;
use crate::follow::{ArrivedLines, FollowedFile, LineMark, NoteError, NoteKeeper};
use crate::lines::Line;
use crate::output::{ReaderGone, message_of, stderr_line};
use crate::session::interrupted;
use anyhow::bail;
use grower_client::{ErrorCode, ProduceError, Producer, Record};
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
    in_flight: LinesInFlight,
    following: Option<FollowProgress>,
    /// Reading stops once there are any.
    unacknowledged: Unacknowledged,
    /// The last line that was sent.
    sent_up_to: u64,
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
        let (in_flight, unacknowledged) = (LinesInFlight::default(), Unacknowledged::default());
        Self { command, topic, producer, report, in_flight, following: None, unacknowledged, sent_up_to: 0 }
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
            let has_room = self.in_flight.count() < IN_FLIGHT_MAX;
            if !has_room {
                self.producer.end_lingers(); // No further line can fill the batch.
            }
            tokio::select! {
                biased;
                () = &mut interrupt => break ReadEnd::Interrupted,
                () = &mut ack_reader_gone => return Err(ReaderGone.into()),
                () = self.in_flight.settled() => self.settle()?,
                chunk = source.recv(), if has_room => match chunk {
                    Some(chunk) => self.send(chunk?).await,
                    None => break ReadEnd::Read,
                },
            }
        };
        let is_read = ended == ReadEnd::Read || matches!(source.try_recv(), Err(TryRecvError::Disconnected));
        drop(source);
        self.producer.flush().await.ok(); // Each line's own result reports failures.
        while self.in_flight.count() != 0 {
            self.in_flight.settled().await;
            self.settle()?;
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
        let sent_up_to = Some(self.sent_up_to).filter(|_| !is_read);
        self.unacknowledged.into_error(sent_up_to, acknowledged).map_or(Ok(()), Err)
    }

    /// Sends the lines of a chunk.
    async fn send(&mut self, chunk: LineChunk) {
        let LineChunk { lines: read, file, begun } = chunk;
        let begin = begun.map(|end| LineInFlight { number: 0, bytes: 0, end, state: LineState::Arrived });
        let mut lines: VecDeque<LineInFlight> = begin.into_iter().collect();
        let mut records = Vec::with_capacity(read.len());
        for line in read {
            let (number, end) = (line.number, line.end);
            let bytes = line.content.as_ref().map_or(0, |bytes| bytes.len() as u64);
            let state = match self.record(line, file.as_deref()) {
                Ok(record) => {
                    records.push(record);
                    LineState::Sent
                }
                Err(state) => state,
            };
            self.sent_up_to = number;
            lines.push_back(LineInFlight { number, bytes, end, state });
        }
        let deliveries = self.producer.enqueue_all(records).await;
        self.in_flight.add(ChunkInFlight::new(lines, file, deliveries));
    }

    /// Makes the record of a line, unless the line is not sent.
    fn record(&mut self, line: Line, file: Option<&FollowedFile>) -> Result<Record, LineState> {
        let content = line.content.map_err(|too_long| LineState::Refused(too_long.to_string()))?;
        let (Some(following), Some(file)) = (&mut self.following, file) else {
            return Ok(self.command.record(&self.topic, content));
        };
        let mark = LineMark { incarnation: file.incarnation, start: line.start };
        let (_, value) = self.command.split_key(content.clone());
        if following.arrived.take(mark, &value) {
            return Err(LineState::Arrived);
        }
        let (name, value) = mark.header(following.keeper.follower());
        Ok(self.command.record(&self.topic, content).header(name, value))
    }

    /// Reports the outcomes that are known, in the order of the lines.
    fn settle(&mut self) -> anyhow::Result<()> {
        while let Some(settled) = self.in_flight.take_settled() {
            self.settle_one(settled)?;
        }
        self.report.flush()?;
        self.following.as_mut().map_or(Ok(()), FollowProgress::save)
    }

    fn settle_one(&mut self, SettledLine { line, file, sent }: SettledLine) -> anyhow::Result<()> {
        // A note covers only acknowledged lines: it ends before the first other one.
        let mut following = self.following.as_mut().filter(|_| self.unacknowledged.is_empty());
        match (line.state, sent) {
            (LineState::Refused(why), _) => self.report.add_refused(line.number, &why),
            (_, Some(Ok(ack))) => {
                self.report.add_acknowledged(line.number, line.bytes, &ack)?;
                if let (Some(following), Some(offset)) = (&mut following, ack.offset) {
                    following.keeper.add_acknowledged(ack.partition, offset);
                }
            }
            (_, Some(Err(error))) => match refusal(error) {
                Ok(why) => self.report.add_refused(line.number, &why),
                Err(error) => {
                    self.unacknowledged.add(line.number, error);
                    return Ok(());
                }
            },
            (LineState::Sent | LineState::Arrived, None) => {}
        }
        if let (Some(following), Some(file)) = (following, file) {
            following.done(file, line.end);
        }
        Ok(())
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

/// Returns why this line is refused. Returns the error if the line is not the cause: every line would fail.
fn refusal(error: ProduceError) -> Result<String, ProduceError> {
    let of_the_line = matches!(error, ProduceError::TooLarge { .. })
        || matches!(error.code(), Some(ErrorCode::TooLarge | ErrorCode::InvalidRecord | ErrorCode::InvalidTimestamp));
    if of_the_line { Ok(format!("was refused: {error}")) } else { Err(error) }
}
