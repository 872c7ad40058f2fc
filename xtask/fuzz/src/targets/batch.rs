//! Record batches: as producers send them, and as they are stored and fetched.

use super::input_reader::InputReader;
use crate::Target;
use bytes::{Bytes, BytesMut};
use grower_protocol::batch::*;
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

pub(super) const PRODUCED: Target = Target {
    name: "produced-batch",
    about: "a batch from a producer: every reader can read an accepted batch to its last record",
    run: produced,
    seeds: || samples().into_iter().map(|batch| [&[SEALED][..], &batch].concat()).collect(),
    allocates: 32 << 20,
};

pub(super) const STORED: Target = Target {
    name: "stored-batches",
    about: "a range of a log, as consumers and recovery read it",
    run: stored,
    seeds: || {
        let all = samples().concat();
        vec![[&[SEALED][..], &all].concat(), [&[0][..], &all].concat()]
    },
    allocates: 32 << 20,
};

/// Batches get correct lengths and CRCs, so that the code after those checks is reached.
const SEALED: u8 = 1;
const KEYED: u8 = 2;

const PLAIN_BYTES_MAX: usize = 1 << 20;

fn produced(input: &[u8]) {
    let mut input = InputReader(input);
    let flags = input.byte();
    let mut bytes = BytesMut::from(input.0);
    if flags & SEALED != 0 {
        seal(&mut bytes);
    }
    let limits = BatchLimits {
        batch_bytes_max: PLAIN_BYTES_MAX,
        plain_bytes_max: PLAIN_BYTES_MAX,
        timestamp_max: Timestamp::from_millis(i64::MAX / 2),
        key_required: flags & KEYED != 0,
    };
    let Ok(batch) = UnplacedBatch::check(bytes, &limits) else { return };
    let count = batch.header().record_count;
    let placed = batch.place(Offset::new(7), LeaderEpoch::new(3));
    let again = Batch::check(placed.bytes().clone()).expect("what was accepted is sound");
    let records = again.records(PLAIN_BYTES_MAX).expect("what was accepted can be unpacked");
    let records: Vec<_> = records.map(|record| record.expect("what was accepted can be read")).collect();
    assert_eq!(records.len(), count as usize);
    let offsets = records.iter().map(|record| record.offset.value());
    assert!(offsets.eq(7..7 + u64::from(count)), "offsets are dense");
    let latest = records.iter().map(|record| record.timestamp).max();
    assert_eq!(latest, Some(again.header().max_timestamp), "lookups by time trust the header");
}

fn stored(input: &[u8]) {
    let mut input = InputReader(input);
    let flags = input.byte();
    let mut bytes = input.0.to_vec();
    if flags & SEALED != 0 {
        seal_all(&mut bytes);
    }
    let length = bytes.len();
    let mut reader = BatchReader::new(Bytes::from(bytes));
    let mut taken = 0;
    for batch in reader.by_ref().flatten() {
        taken += batch.bytes().len();
        let Ok(records) = batch.records(PLAIN_BYTES_MAX) else { continue };
        let records: Vec<_> = records.flatten().collect();
        assert!(records.is_sorted_by(|a, b| a.offset < b.offset), "offsets rise");
    }
    assert!(taken + reader.rest().len() <= length);
}

/// Corrects length, magic and CRC of one batch.
pub(super) fn seal(batch: &mut [u8]) {
    if batch.len() < HEADER_LENGTH {
        return;
    }
    let length = u32::try_from(batch.len() - 12).unwrap_or_default();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[16] = 2;
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Corrects magic and CRC of all batches. Their lengths stay, and the last one ends with the input.
pub(super) fn seal_all(mut log: &mut [u8]) {
    while HEADER_LENGTH <= log.len() {
        let said = u32::from_be_bytes([log[8], log[9], log[10], log[11]]) as usize;
        let length = said.saturating_add(12).clamp(HEADER_LENGTH, log.len());
        let (batch, rest) = log.split_at_mut(length);
        seal(batch);
        log = rest;
    }
}

/// One batch of each codec, with keys, headers and nulls; the last one a producer's with a sequence.
pub(super) fn samples() -> Vec<BytesMut> {
    let built = |codec, producer| {
        let mut builder = BatchBuilder::new(codec);
        for n in 0..3u8 {
            builder.push(&Record {
                timestamp: Timestamp::from_millis(1_000 + i64::from(n)),
                key: (n != 1).then(|| Bytes::from(vec![b'k', n])),
                value: (n != 2).then(|| Bytes::from_static(b"a value, a value, a value")),
                headers: vec![Header { name: Bytes::from_static(b"h"), value: None }; n.into()],
            });
        }
        builder.build(producer)
    };
    let base_sequence = Sequence::from_wire(0);
    let stamp = ProducerStamp { id: ProducerId::new(9), epoch: ProducerEpoch::new(1), base_sequence };
    let mut samples = Codec::ALL.map(|codec| built(codec, None)).to_vec();
    samples.push(built(Codec::None, Some(stamp)));
    samples
}
