//! Copies a part of a built batch: to split a batch that is too large, or to leave records out.

use bytes::Bytes;
use grower_protocol::batch::{Batch, BatchBuilder};
use grower_protocol::compression::Codec;
use std::ops::Range;

/// Builds a batch of the records at these positions, which rise; returns its size before compression too.
pub(super) fn part(batch: &Bytes, codec: Codec, positions: &[Range<u32>]) -> (Bytes, usize) {
    const OURS: &str = "this producer built the batch";
    let batch = Batch::check(batch.clone()).expect(OURS);
    let builder = BatchBuilder::copying(&batch, positions, codec).expect(OURS);
    let plain_bytes = builder.size();
    (builder.build(None).freeze(), plain_bytes)
}
