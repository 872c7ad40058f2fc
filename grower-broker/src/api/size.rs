//! How much one request may ask for: as much as a cluster can hold, so that the answer fits a message.
//!
//! A name takes two bytes, and to say that there is no such topic takes a hundred: without a bound a peer could ask for
//! an answer that no client can read, and that this broker would have to hold.

use grower_protocol::message::{ErrorCode, Failure, Request};

/// As many topics as there can be.
const TOPICS_MAX: usize = 20_000;

/// As many partitions as there can be.
const PARTITIONS_MAX: usize = 100_000;

/// Refuses a request of too many parts.
pub(super) fn check(request: &Request) -> Result<(), Failure> {
    let (parts, limit, what) = match request {
        Request::Metadata(metadata) => (metadata.topics.as_ref().map_or(0, Vec::len), TOPICS_MAX, "topics"),
        Request::DescribeTopics { topics, .. } => (topics.as_ref().map_or(0, Vec::len), TOPICS_MAX, "topics"),
        Request::CreateTopics { topics } => (topics.len(), TOPICS_MAX, "topics"),
        Request::Produce(produce) => (produce.partitions.len(), PARTITIONS_MAX, "partitions"),
        Request::Fetch(fetch) => (fetch.partitions.len(), PARTITIONS_MAX, "partitions"),
        Request::ListOffsets(list) => (list.partitions.len(), PARTITIONS_MAX, "partitions"),
        Request::CommitOffsets(commit) => (commit.offsets.len(), PARTITIONS_MAX, "partitions"),
        Request::FetchAfter(fetch) => (fetch.partitions.len(), PARTITIONS_MAX, "partitions"),
        Request::StartPositions(start) => (start.starts.len(), PARTITIONS_MAX, "partitions"),
        Request::FetchPositions { partitions: Some(partitions), .. } => {
            (partitions.len(), PARTITIONS_MAX, "partitions")
        }
        Request::CommitPositions(commit) => (commit.positions.len(), PARTITIONS_MAX, "partitions"),
        Request::FetchOffsets { partitions: Some(partitions), .. } => (partitions.len(), PARTITIONS_MAX, "partitions"),
        _ => return Ok(()),
    };
    if limit < parts {
        let detail = format_args!("a request may name {limit} {what}, this one names {parts}: ask in parts");
        return Err(Failure::new(ErrorCode::InvalidRequest, detail));
    }
    Ok(())
}
