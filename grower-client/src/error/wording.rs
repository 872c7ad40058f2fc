//! Words the errors of one partition: the partition, the cause and the outcome, each once.
//!
//! An error of several attempts knows the outcome of its records better than the error of one attempt, and the broker's
//! text may name the partition already. So all errors with a partition are displayed here.

use super::RequestError;
use crate::record::TopicPartition;
use grower_protocol::ids::Offset;
use std::fmt;
use std::time::Duration;

/// Displays the cause of a failed request, without what it says of the request's outcome.
pub(super) struct Cause<'a>(pub(super) &'a RequestError);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            RequestError::Lost(connection) => connection.fmt(f),
            other => other.fmt(f),
        }
    }
}

/// Displays an error of one partition.
pub(super) struct AtPartition<'a, T> {
    topic_partition: &'a TopicPartition,
    cause: T,
    /// The offset to commit.
    offset: Option<Offset>,
    /// Whether a record may have been written; `None` if none was to be written.
    in_doubt: Option<bool>,
}

/// Words the failure of reading from a partition.
pub(super) fn not_read<'a>(
    topic_partition: &'a TopicPartition,
    source: &'a RequestError,
) -> AtPartition<'a, Cause<'a>> {
    AtPartition { topic_partition, cause: Cause(source), offset: None, in_doubt: None }
}

/// Words the failure of a commit. Its one attempt tells the outcome.
pub(super) fn not_committed<'a>(
    topic_partition: &'a TopicPartition,
    offset: Offset,
    source: &'a RequestError,
) -> AtPartition<'a, &'a RequestError> {
    AtPartition { topic_partition, cause: source, offset: Some(offset), in_doubt: None }
}

/// Words the failure of a record.
pub(super) fn failed<'a>(
    topic_partition: &'a TopicPartition,
    source: &'a RequestError,
    in_doubt: bool,
) -> AtPartition<'a, Cause<'a>> {
    AtPartition { topic_partition, cause: Cause(source), offset: None, in_doubt: Some(in_doubt) }
}

/// Words the failure of a record that was not acknowledged within its time limit.
pub(super) fn timed_out<'a>(
    topic_partition: &'a TopicPartition,
    after: Duration,
    last: Option<&'a RequestError>,
    in_doubt: bool,
) -> AtPartition<'a, TimedOut<'a>> {
    AtPartition { topic_partition, cause: TimedOut { after, last }, offset: None, in_doubt: Some(in_doubt) }
}

/// Words the outcome of a record.
pub(super) fn outcome(in_doubt: bool) -> &'static str {
    if in_doubt { "; it may have been written" } else { "; it was not written" }
}

/// A time limit that passed, and the last error before.
pub(super) struct TimedOut<'a> {
    after: Duration,
    last: Option<&'a RequestError>,
}

impl fmt::Display for TimedOut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not acknowledged within {:?}", self.after)?;
        self.last.map_or(Ok(()), |last| write!(f, " ({})", Cause(last)))
    }
}

impl<T: fmt::Display> fmt::Display for AtPartition<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TopicPartition { topic, partition } = self.topic_partition;
        let name = format!("{}: ", self.topic_partition);
        let cause = self.cause.to_string().replace(&name, "");
        let is_named = cause.contains(&format!("partition {partition} of topic {topic} "));
        let outcome = self.in_doubt.map_or("", outcome);
        match (is_named, self.offset) {
            (true, None) => {}
            (true, Some(offset)) => write!(f, "offset {offset}: ")?,
            (false, None) => f.write_str(&name)?,
            (false, Some(offset)) => write!(f, "{} at {offset}: ", self.topic_partition)?,
        }
        write!(f, "{cause}{outcome}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{
        AdminError, CommitError, ConnectError, ConnectionError, ConsumeError, FailedRange, FlushError, NotCommitted,
        ProduceError, SendAllError,
    };
    use crate::ids::{GroupId, PartitionId, ProducerName, TopicName};
    use grower_protocol::message::{ErrorCode, Failure};
    use std::error::Error;

    const LIMIT: Duration = Duration::from_secs(3);

    fn partition() -> TopicPartition {
        TopicPartition { topic: TopicName::new("t").unwrap(), partition: PartitionId::new(0) }
    }

    /// One error of each kind, and the broker's texts with and without the partition.
    fn causes() -> Vec<RequestError> {
        let (address, request) = (|| "b:1".into(), "r");
        let closed = || ConnectionError::Closed { address: address() };
        let texts = ["the disk is full", "t/0: the batch is damaged", "partition 0 of topic t cannot be opened"];
        let mut causes: Vec<RequestError> =
            texts.map(|text| Failure::new(ErrorCode::Internal, text).into()).into_iter().collect();
        causes.extend([
            RequestError::Connect(ConnectError::Silent { address: address(), after: LIMIT }),
            RequestError::Connect(ConnectError::Lost(closed())),
            RequestError::NotSent(closed()),
            RequestError::NotSentInTime { after: LIMIT },
            RequestError::Lost(closed()),
            RequestError::Unexpected { address: address(), request },
            RequestError::TimedOut { after: LIMIT },
            RequestError::TooLarge { bytes: 9, limit: 8 },
        ]);
        causes
    }

    /// All errors of calls with this cause.
    fn errors(source: &RequestError) -> Vec<Box<dyn Error>> {
        let topic = || partition().topic;
        let group = || GroupId::new("g").unwrap();
        let produce = [
            ProduceError::Start(source.clone()),
            ProduceError::Topic { topic: topic(), source: source.clone() },
            ProduceError::failed(&partition(), source, true),
            ProduceError::failed(&partition(), source, false),
            ProduceError::Fenced { identity: ProducerName::new("p").unwrap(), source: source.clone(), in_doubt: true },
            ProduceError::timed_out(&partition(), LIMIT, true, Some(source)),
            ProduceError::timed_out(&partition(), LIMIT, false, Some(source)),
            ProduceError::Fenced { identity: ProducerName::new("p").unwrap(), source: source.clone(), in_doubt: false },
            ProduceError::Fenced { identity: ProducerName::new("p").unwrap(), source: source.clone(), in_doubt: true },
        ];
        let not_committed =
            NotCommitted { topic_partition: partition(), offset: Offset::new(7), source: source.clone() };
        let commit = CommitError { partitions: vec![not_committed] };
        let consume = [
            ConsumeError::Topic { topic: topic(), source: source.clone() },
            ConsumeError::Start(source.clone()),
            ConsumeError::Group { group: group(), source: source.clone() },
            ConsumeError::NotLeft { group: group(), session_timeout: LIMIT, source: source.clone() },
            ConsumeError::Failed { topic_partition: partition(), source: source.clone() },
            ConsumeError::Commit(commit.clone()),
        ];
        let mut errors: Vec<Box<dyn Error>> = vec![Box::new(AdminError::from(source.clone())), Box::new(commit)];
        for first in produce {
            let failed = vec![FailedRange { records: 3..5, error: first.clone() }];
            errors.push(Box::new(SendAllError::new(crate::RecordAcks::default(), failed)));
            errors.push(Box::new(FlushError { failed: 2, first: first.clone() }));
            errors.push(Box::new(first));
        }
        errors.extend(consume.map(|error| Box::new(error) as Box<dyn Error>));
        errors
    }

    #[test]
    fn an_error_names_its_partition_and_its_outcome_at_most_once() {
        let count = |text: &str, parts: &[&str]| parts.iter().map(|part| text.matches(part).count()).sum::<usize>();
        for source in causes() {
            for error in errors(&source) {
                let text = error.to_string();
                assert!(count(&text, &["t/0", "partition 0 of topic t "]) <= 1, "{text}");
                assert!(count(&text, &["may have been", "was not written", "were not"]) <= 1, "{text}");
            }
        }
    }

    #[test]
    fn an_error_of_a_record_names_partition_cause_and_outcome() {
        let mut texts = Vec::new();
        for source in causes() {
            texts.push(ProduceError::failed(&partition(), &source, true).to_string());
            texts.push(ProduceError::timed_out(&partition(), LIMIT, false, Some(&source)).to_string());
        }
        insta::assert_snapshot!(texts.join("\n"), @r"
        t/0: the disk is full; it may have been written
        t/0: not acknowledged within 3s (the disk is full); it was not written
        t/0: the batch is damaged; it may have been written
        t/0: not acknowledged within 3s (the batch is damaged); it was not written
        partition 0 of topic t cannot be opened; it may have been written
        not acknowledged within 3s (partition 0 of topic t cannot be opened); it was not written
        t/0: b:1 accepted the connection but did not complete the handshake within 3s; it may have been written
        t/0: not acknowledged within 3s (b:1 accepted the connection but did not complete the handshake within 3s); it was not written
        t/0: b:1 closed the connection; it may have been written
        t/0: not acknowledged within 3s (b:1 closed the connection); it was not written
        t/0: b:1 closed the connection; it may have been written
        t/0: not acknowledged within 3s (b:1 closed the connection); it was not written
        t/0: not sent within 3s: an earlier request is still unanswered; it may have been written
        t/0: not acknowledged within 3s (not sent within 3s: an earlier request is still unanswered); it was not written
        t/0: b:1 closed the connection; it may have been written
        t/0: not acknowledged within 3s (b:1 closed the connection); it was not written
        t/0: b:1 answered r with an unexpected message; it may have been written
        t/0: not acknowledged within 3s (b:1 answered r with an unexpected message); it was not written
        t/0: no answer within 3s; it may have been written
        t/0: not acknowledged within 3s (no answer within 3s); it was not written
        t/0: a request of 9 bytes is over the limit of 8; it may have been written
        t/0: not acknowledged within 3s (a request of 9 bytes is over the limit of 8); it was not written
        ");
    }
}
