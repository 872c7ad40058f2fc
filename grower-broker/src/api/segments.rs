//! Lists a topic's segments, a page at a time: small segments and a long retention make many.

use super::topics::{describe_segment, unknown};
use super::{Answered, Api};
use crate::metadata::{Image, Topic};
use grower_protocol::ids::{Offset, PartitionId, TopicName};
use grower_protocol::message::{ErrorCode, Failure, Response, SegmentPage};
use std::sync::Arc;

/// Segments in a page.
const PAGE: usize = 1_000;
/// Segments in a description of topics.
const DESCRIBED_MAX: usize = 5_000;

impl Api {
    /// Lists segments, from the first one that begins at an offset or after it.
    pub(super) async fn list_segments(
        self: Arc<Self>,
        name: TopicName,
        from: Option<(PartitionId, Offset)>,
    ) -> Answered {
        let image = self.state.topics.image();
        let topic = image.topic(&name).ok_or_else(|| unknown(&name))?;
        let (first, offset) = from.unwrap_or((PartitionId::new(0), Offset::ZERO));
        let mut page = SegmentPage { segments: Vec::new(), next: None };
        for (number, _) in topic.numbered().filter(|(number, _)| first <= *number) {
            let Ok(partition) = self.state.topics.partition(topic.id, number) else { continue };
            let start = if number == first { offset } else { Offset::ZERO };
            for segment in partition.reader().segments().into_iter().filter(|segment| start <= segment.base_offset) {
                if page.segments.len() == PAGE {
                    page.next = Some((number, segment.base_offset));
                    return Ok(Response::ListSegments(page));
                }
                page.segments.push((number, describe_segment(segment)));
            }
        }
        Ok(Response::ListSegments(page))
    }

    /// Refuses to describe topics with more segments than fit one answer.
    pub(super) fn check_segments(&self, image: &Image, names: Option<&[TopicName]>) -> Result<(), Failure> {
        let of = |topic: &Arc<Topic>| -> usize {
            self.state.topics.of(topic.id).iter().map(|partition| partition.reader().segments().len()).sum()
        };
        let segments: usize = match names {
            None => image.topics().map(of).sum(),
            Some(names) => names.iter().filter_map(|name| image.topic(name)).map(of).sum(),
        };
        if DESCRIBED_MAX < segments {
            let detail = format_args!(
                "these topics have {segments} segments, and an answer describes {DESCRIBED_MAX}: list them"
            );
            return Err(Failure::new(ErrorCode::LimitReached, detail));
        }
        Ok(())
    }
}
