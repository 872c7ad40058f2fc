//! Splits a batch that a broker refuses as too large.

use bytes::Bytes;
use grower_protocol::batch::{Batch, BatchBuilder, Record};
use grower_protocol::compression::Codec;

/// Splits a batch after its first `count` records; returns both halves with their sizes before compression.
pub(super) fn halves(batch: &Bytes, codec: Codec, count: u32) -> ((Bytes, usize), (Bytes, usize)) {
    const OURS: &str = "this producer built the batch";
    let records = Batch::check(batch.clone()).expect(OURS).records(usize::MAX).expect(OURS);
    let (mut head, mut tail) = (BatchBuilder::new(codec), BatchBuilder::new(codec));
    for view in records {
        let view = view.expect(OURS);
        let record = Record { timestamp: view.timestamp, key: view.key, value: view.value, headers: view.headers };
        if head.count() < count { head.push(&record) } else { tail.push(&record) }
    }
    let built = |half: BatchBuilder| {
        let plain_bytes = half.size();
        (half.build(None).freeze(), plain_bytes)
    };
    (built(head), built(tail))
}
