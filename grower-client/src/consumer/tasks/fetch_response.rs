//! The answers to fetches, on their way from a connection's task to the fetcher.

use super::fetcher::PartitionFetch;
use crate::connection::BrokerAnswer;
use crate::error::RequestError;
use bytes::Bytes;
use grower_protocol::message::{Divergence, FetchedPartition, FetchedRecords, Part, Response};
use std::sync::Arc;

/// A partition's bytes are copied if they are less than this fraction of their answer.
const COPIED_BELOW: usize = 4;

/// The part of an answer for one partition, or a failed request.
pub(crate) enum FetchResponse {
    Answered {
        fetch: PartitionFetch,
        part: Part<(FetchedRecords, Bytes)>,
        /// The bytes that the partition already counts as unchecked, because its next fetch has started.
        unchecked_bytes: usize,
    },
    /// The log no longer has the records that were read.
    Diverged(PartitionFetch, Divergence),
    Failed(Vec<PartitionFetch>, RequestError),
}

impl FetchResponse {
    /// Splits an answer by partition.
    pub(crate) fn of(
        address: &Arc<str>,
        fetches: Vec<PartitionFetch>,
        answer: Result<BrokerAnswer, RequestError>,
    ) -> Vec<Self> {
        match answer.and_then(|answer| parts(address, fetches.len(), answer)) {
            Ok(parts) => {
                debug_assert_eq!(fetches.len(), parts.len(), "each partition has a part of the answer");
                let pairs = fetches.into_iter().zip(parts);
                pairs.map(|(fetch, part)| Self::of_one(fetch, part)).collect()
            }
            Err(error) => vec![Self::Failed(fetches, error)],
        }
    }

    fn of_one(fetch: PartitionFetch, part: Part<(FetchedPartition, Bytes)>) -> Self {
        let part = match part {
            Ok((FetchedPartition::Diverged(divergence), _)) => return Self::Diverged(fetch, divergence),
            Ok((FetchedPartition::Records(fetched), bytes)) => Ok((fetched, bytes)),
            Err(failure) => Err(failure),
        };
        Self::Answered { fetch, part, unchecked_bytes: 0 }
    }

    /// The number of bytes to check.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Answered { part: Ok((_, bytes)), .. } => bytes.len(),
            _ => 0,
        }
    }
}

fn parts(
    address: &Arc<str>,
    count: usize,
    answer: BrokerAnswer,
) -> Result<Vec<Part<(FetchedPartition, Bytes)>>, RequestError> {
    let unexpected = || RequestError::Unexpected { address: address.clone(), request: "fetch" };
    let total = answer.attachment.len();
    let mut rest = answer.attachment;
    let fetched = match answer.response {
        Response::Fetch(fetched) if fetched.partitions.len() == count => fetched.partitions,
        Response::Fetch(_) => return Err(unexpected()),
        other => return Err(crate::error::unexpected_response(address, "fetch", other)),
    };
    let mut cut = |part: FetchedPartition| {
        let length = match &part {
            FetchedPartition::Records(fetched) => fetched.length as usize,
            FetchedPartition::Diverged(_) => 0,
        };
        if rest.len() < length {
            return Err(unexpected());
        }
        let bytes = rest.split_to(length);
        // Copied, so that a small part does not keep a large answer in memory until its reader polls.
        let bytes = if length < total / COPIED_BELOW { Bytes::copy_from_slice(&bytes) } else { bytes };
        Ok((part, bytes))
    };
    let mut parts = Vec::with_capacity(fetched.len());
    for part in fetched {
        parts.push(match part {
            Ok(part) => Ok(cut(part)?),
            Err(failure) => Err(failure),
        });
    }
    Ok(parts)
}
