//! Records that are gone before their reader got them: what is missing, why, and what the reader wants done about it.

use crate::record::TopicPartition;
use grower_protocol::ids::Offset;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Offsets that a consumer can no longer read. The records before them were all handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// What is gone, the end exclusive. After a truncation the reader has had these records.
    pub offsets: Range<Offset>,
    /// Where reading goes on.
    pub resumes_at: Offset,
    /// Why they are gone.
    pub cause: GapCause,
}

/// Why records are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapCause {
    /// Retention or a trim dropped them before they were read.
    Retention,
    /// The log lost its newest records, such as in a power cut with `flush=os`, or an older state of it was restored. The
    /// reader had them; other records may have taken their offsets.
    Truncation,
    /// The topic was deleted and created again. The end of the range is the last high watermark that this consumer knows.
    TopicRecreated,
}

/// What a consumer does at a [`Gap`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// Logs a warning and reads on behind it.
    #[default]
    Continue,
    /// Hands it out once as [`ConsumeError::Gap`](crate::ConsumeError::Gap); the next call reads on behind it.
    Report,
}

/// Chooses for each gap.
pub(crate) type GapRule = Arc<dyn Fn(&Gap) -> OnGap + Send + Sync>;

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
            "{topic_partition}: offsets {}..{} are gone: {why}; reading goes on at {resumes_at}",
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
                tracing::warn!(partition = %topic_partition, lost_from = %position, read_up_to = %end, "the log lost records that were read: reading on where the loss begins");
            }
            GapCause::TopicRecreated => {
                tracing::warn!(partition = %topic_partition, %position, %end, "the topic was deleted and created again: reading it from its beginning");
            }
        }
    }
}
