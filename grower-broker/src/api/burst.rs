//! Answers that leave together, and answers that leave later.

use super::{Answer, Api, Outbox, Permit};
use crate::critical::CriticalSection;
use crate::metrics::{RequestClass, RequestTimer};
use crate::partition::{InlineSyncHint, Partition, SendGathered};
use grower_protocol::message::{ErrorCode, Failure, Response};
use grower_protocol::wire::{Correlation, MESSAGE_BYTES_MAX, encode, encode_frame, is_readable};
use grower_storage::log::Slice;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The results of the frames of one read: answers that are ready, and partitions to sync.
pub(crate) struct Burst {
    outbox: Arc<dyn Outbox>,
    head: Vec<u8>,
    slices: Vec<Slice>,
    permits: Vec<Permit>,
    syncs: Vec<Arc<Partition>>,
    appended_bytes: usize,
    /// No further bytes have been received.
    pub(crate) last: bool,
}

/// The right and the duty to answer one request, from any task or thread.
pub(crate) struct Reply {
    outbox: AnswerDue,
    correlation: Correlation,
    permit: Permit,
    timer: RequestTimer,
}

/// The destination of an answer. If a panic drops it unanswered, it closes the connection: the client would wait for
/// ever.
struct AnswerDue(Option<Arc<dyn Outbox>>);

impl AnswerDue {
    /// Hands out the destination, once the answer exists.
    fn met(mut self) -> Arc<dyn Outbox> {
        self.0.take().expect("a reply is sent once")
    }

    fn outbox(&self) -> &Arc<dyn Outbox> {
        self.0.as_ref().expect("a reply is not sent yet")
    }
}

impl Drop for AnswerDue {
    fn drop(&mut self) {
        if let Some(outbox) = self.0.take().filter(|_| std::thread::panicking()) {
            outbox.abort();
        }
    }
}

impl Burst {
    pub(crate) fn new(outbox: Arc<dyn Outbox>) -> Self {
        Self {
            outbox,
            head: Vec::new(),
            slices: Vec::new(),
            permits: Vec::new(),
            syncs: Vec::new(),
            appended_bytes: 0,
            last: false,
        }
    }

    /// Answers with the burst.
    pub(crate) fn answer(&mut self, correlation: Correlation, response: &Response, permit: Permit) {
        self.head.extend_from_slice(&encode_frame(correlation, &encoded(response), 0));
        self.permits.push(permit);
    }

    /// Answers later.
    pub(crate) fn reply(&self, correlation: Correlation, permit: Permit, timer: RequestTimer) -> Reply {
        Reply { outbox: AnswerDue(Some(self.outbox.clone())), correlation, permit, timer }
    }

    /// Answers with slices of log. They end the part of the burst that can be one write, so it leaves now.
    pub(crate) fn answer_slices(
        &mut self,
        correlation: Correlation,
        response: &Response,
        slices: Vec<Slice>,
        permit: Permit,
    ) {
        let (head, slices) = frame(correlation, response, slices);
        debug_assert!(self.slices.is_empty(), "the answers before it have left");
        self.head.extend_from_slice(&head);
        self.slices = slices;
        self.permits.push(permit);
        self.send_answers();
    }

    /// Has a partition synced when the burst is sent.
    pub(crate) fn sync(&mut self, partition: &Arc<Partition>, bytes: usize) {
        self.appended_bytes += bytes;
        self.syncs.push(partition.clone());
    }

    /// Sends the ready answers in one write, then starts the syncs: no finished answer waits for a disk.
    pub(crate) fn send(&mut self, api: &Api) {
        // Other requests may wait for these partitions, and nothing else asks for their round.
        let _whole = CriticalSection::enter(&api.state.health, "asking for the syncs of a connection");
        self.send_answers();
        let hint = InlineSyncHint { bytes: self.appended_bytes, last: self.last && self.syncs.len() == 1 };
        for partition in self.syncs.drain(..) {
            api.state.sync_pool.sync(&partition, hint);
        }
        self.appended_bytes = 0;
    }

    fn send_answers(&mut self) {
        if self.head.is_empty() {
            self.permits.clear();
            return;
        }
        let (head, slices) = (std::mem::take(&mut self.head), std::mem::take(&mut self.slices));
        self.outbox.send(Answer { head, slices, permits: std::mem::take(&mut self.permits) });
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        // Waiters of these partitions rely on this: nothing else would ask for their round.
        debug_assert!(self.syncs.is_empty() || std::thread::panicking(), "a burst ends without its syncs");
    }
}

impl Reply {
    /// Whether it holds memory that others could use until it is sent.
    pub(crate) fn holds_memory(&self) -> bool {
        self.permit.holds_memory()
    }

    /// Set once the answer would reach no client, and when the broker stops.
    pub(crate) fn ended(&self) -> &CancellationToken {
        self.outbox.outbox().ended()
    }

    /// The request only waits from now on until it is answered, and is timed as `class`.
    pub(crate) fn only_waits(&mut self, class: RequestClass) {
        self.permit.only_waits();
        self.timer.reclassify(class);
    }

    /// Sends the answer.
    pub(crate) fn send(self, response: &Response) {
        self.send_slices(response, Vec::new());
    }

    /// Sends the answer with slices of log after it.
    pub(crate) fn send_slices(self, response: &Response, slices: Vec<Slice>) {
        let (head, slices) = frame(self.correlation, response, slices);
        self.outbox.met().send(Answer { head, slices, permits: vec![self.permit] });
    }

    /// Gathers the answer with others of its connection. Returns the one to send them with, unless another caller has
    /// it.
    pub(crate) fn gather(self, response: &Response) -> Option<Arc<dyn SendGathered>> {
        let frame = encode_frame(self.correlation, &encoded(response), 0);
        let outbox = self.outbox.met();
        outbox.gather(frame, self.permit).then_some(outbox as _)
    }
}

/// The frame of an answer and the slices that follow it.
fn frame(correlation: Correlation, response: &Response, slices: Vec<Slice>) -> (Vec<u8>, Vec<Slice>) {
    let message = encode(response);
    if !is_readable(response, &message) {
        return (encode_frame(correlation, &encode(&too_long(response, message.len())), 0), Vec::new());
    }
    let length = slices.iter().map(Slice::len).sum();
    (encode_frame(correlation, &message, length), slices)
}

/// The message of an answer without records.
fn encoded(response: &Response) -> Vec<u8> {
    let message = encode(response);
    if is_readable(response, &message) { message } else { encode(&too_long(response, message.len())) }
}

/// The reason in place of an answer that no client could read. The effects of the request stay.
fn too_long(response: &Response, bytes: usize) -> Response {
    let code = match response {
        Response::Produce(_) | Response::CommitOffsets(_) | Response::CreateTopics(_) => ErrorCode::Internal,
        _ => ErrorCode::LimitReached,
    };
    let detail = format_args!(
        "the answer has {bytes} bytes, more than a client reads ({MESSAGE_BYTES_MAX}, all numbers at their full width): ask for less at a time"
    );
    Response::Failed(Failure::new(code, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use grower_protocol::ids::{Offset, Timestamp};
    use grower_protocol::message::ListedOffset;
    use grower_protocol::wire::decode;

    #[test]
    fn an_answer_too_long_for_a_message_becomes_a_named_failure() {
        let long = Response::Failed(Failure::new(ErrorCode::NotReady, "x".repeat(MESSAGE_BYTES_MAX)));
        let Ok(Response::Failed(refused)) = decode(&encoded(&long)) else { panic!("a client cannot read it") };
        assert_eq!(refused.code, ErrorCode::LimitReached);
        assert!(refused.detail.contains("ask for less at a time"), "{refused}");
    }

    #[test]
    fn an_answer_is_measured_with_all_numbers_at_full_width() {
        let listed = ListedOffset { offset: Some(Offset::new(1)), timestamp: Some(Timestamp::from_millis(1)) };
        let read = |parts| decode::<Response>(&encoded(&Response::ListOffsets(vec![Ok(listed); parts]))).unwrap();
        assert!(matches!(read(100_000), Response::ListOffsets(_)));
        let Response::Failed(refused) = read(1_000_000) else { panic!("no client could have read it") };
        assert_eq!(refused.code, ErrorCode::LimitReached);
    }
}
