//! Gaps: records that are gone before a consumer read them, with their cause.

use crate::record::TopicPartition;
use grower_protocol::ids::Offset;
use std::fmt;
use std::ops::Range;

/// Offsets that a consumer can no longer read. All records before them were handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The missing offsets, the end exclusive. After a truncation the reader has had these records.
    pub offsets: Range<Offset>,
    /// The offset at which reading continues.
    pub resumes_at: Offset,
    /// The cause.
    pub cause: GapCause,
}

/// The cause of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapCause {
    /// Retention or a trim deleted the records before they were read.
    Retention,
    /// The log lost its newest records, for example in a power cut with `flush=os`, or was restored from an older
    /// backup. The reader had them; other records may have taken their offsets.
    Truncation,
    /// The topic was deleted and created again. The range ends at the last high watermark that this consumer knew.
    TopicRecreated,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic_partition, offsets, resumes_at, cause } = self;
        let why = match cause {
            GapCause::Retention => "retention dropped them",
            GapCause::Truncation => "the log lost them after they were read",
            GapCause::TopicRecreated => "the topic was deleted and created again",
        };
        write!(
            f,
            "{topic_partition}: offsets {}..{} are gone: {why}; reading continues at {resumes_at}",
            offsets.start, offsets.end
        )
    }
}

impl Gap {
    pub(crate) fn log(&self) {
        let Self { topic_partition, offsets, resumes_at, cause } = self;
        let (position, end) = (offsets.start, offsets.end);
        match cause {
            GapCause::Retention => {
                tracing::warn!(partition = %topic_partition, %position, log_start = %resumes_at, "retention dropped records that were not read yet");
            }
            GapCause::Truncation => {
                tracing::warn!(partition = %topic_partition, lost_from = %position, read_up_to = %end, "the log lost records that were read: continuing where the loss begins");
            }
            GapCause::TopicRecreated => {
                tracing::warn!(partition = %topic_partition, %position, %end, "the topic was deleted and created again: reading it from its beginning");
            }
        }
    }
}
