use super::*;
use crate::compression::Codec;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

const LIMITS: BatchLimits = BatchLimits {
    batch_bytes_max: 1 << 20,
    plain_bytes_max: 1 << 20,
    timestamp_max: Timestamp::from_millis(2_000_000_000_000),
    key_required: false,
};

fn record(value: &str) -> Record {
    Record {
        timestamp: Timestamp::from_millis(1_700_000_000_000),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..Record::default()
    }
}

fn built(codec: Codec, records: &[Record]) -> BytesMut {
    let mut builder = BatchBuilder::new(codec);
    records.iter().for_each(|record| builder.push(record));
    builder.build(None)
}

/// Returns a batch with the bytes at `at` replaced and a correct CRC, as a hostile producer could send it.
fn forged(at: usize, bytes: &[u8]) -> BytesMut {
    let mut batch = built(Codec::None, &[record("one"), record("two")]);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn refusal(batch: BytesMut) -> String {
    UnplacedBatch::check(batch, &LIMITS).unwrap_err().to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .map(|row| row.iter().map(|b| format!("{b:02x}")).collect::<String>())
        .collect::<Vec<_>>()
        .join("\n")
}

fn any_record() -> impl Strategy<Value = Record> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from));
    let header = (prop::collection::vec(any::<u8>(), 0..10), bytes())
        .prop_map(|(name, value)| Header { name: name.into(), value });
    (any::<i64>(), bytes(), bytes(), prop::collection::vec(header, 0..4)).prop_map(|(millis, key, value, headers)| {
        Record { timestamp: Timestamp::from_millis(millis), key, value, headers }
    })
}

proptest! {
    #[test]
    fn a_builder_that_retains_records_equals_one_that_never_had_the_others(
        records in prop::collection::vec((any_record(), any::<bool>()), 1..12),
        codec in prop::sample::select(vec![Codec::None, Codec::Lz4]),
    ) {
        let is_kept = |&(_, kept): &(u32, bool)| kept;
        let kept: Vec<_> = (0..).zip(records.iter().map(|(_, kept)| *kept)).filter(is_kept).map(|(at, _)| at..at + 1).collect();
        prop_assume!(!kept.is_empty());
        let (mut all, mut only) = (BatchBuilder::new(codec), BatchBuilder::new(codec));
        records.iter().for_each(|(record, _)| all.push(record));
        records.iter().filter(|(_, kept)| *kept).for_each(|(record, _)| only.push(record));
        all.retain(&kept);
        for builder in [&mut all, &mut only] {
            builder.push(&record("later"));
        }
        prop_assert_eq!((all.count(), all.size()), (only.count(), only.size()));
        prop_assert_eq!(all.build(None), only.build(None));
    }

    #[test]
    fn a_record_joins_a_batch_exactly_if_the_batch_keeps_its_limit(records in prop::collection::vec(any_record(), 2..8)) {
        let (mut unlimited, mut limited) = (BatchBuilder::new(Codec::None), BatchBuilder::new(Codec::None));
        for (at, record) in records.iter().enumerate() {
            let before = limited.size();
            unlimited.push(record);
            let after = unlimited.size();
            if 0 < at {
                prop_assert!(!limited.push_within(record.into(), after - 1));
            }
            prop_assert_eq!(limited.size(), before);
            let limit = if at == 0 { 0 } else { after }; // An empty batch takes every record.
            prop_assert!(limited.push_within(record.into(), limit));
            prop_assert_eq!(limited.size(), after);
        }
        prop_assert_eq!(limited.build(None), unlimited.build(None));
    }

    #[test]
    fn records_read_back_as_they_were_built(records in prop::collection::vec(any_record(), 1..20), which in 0usize..5) {
        let batch = Batch::check(built(Codec::ALL[which], &records).freeze()).unwrap();
        let views: Vec<RecordView> = batch.records(1 << 20).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(views.len(), records.len());
        for (at, (view, record)) in views.into_iter().zip(records).enumerate() {
            prop_assert_eq!(view.offset, Offset::new(at as u64));
            prop_assert_eq!(
                Record { timestamp: view.timestamp, key: view.key, value: view.value, headers: view.headers },
                record
            );
        }
    }

    #[test]
    fn a_compressed_batch_is_accepted_or_refused_like_its_plain_form(
        records in prop::collection::vec(any_record(), 1..20),
        large in 0usize..200_000,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..3),
        which in 1usize..5,
    ) {
        // A large value spans several chunks. A flipped byte makes a length wrong.
        let mut records = records;
        records[0].value = Some(vec![7; large].into());
        let mut plain = built(Codec::None, &records).split_off(HEADER_LENGTH);
        for (at, flip) in flips {
            let small = plain.len().min(64);
            plain[at.index(small)] ^= flip;
        }
        let limits = BatchLimits { timestamp_max: Timestamp::from_millis(i64::MAX), ..LIMITS };
        let check = |codec: Codec| {
            let mut batch = built(codec, &records);
            batch.truncate(HEADER_LENGTH);
            batch.extend_from_slice(&crate::compression::compress(codec, &plain));
            let length = batch.len() as i32 - 12;
            batch[8..12].copy_from_slice(&length.to_be_bytes());
            let crc = crc32c(&batch[21..]);
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
            UnplacedBatch::check(batch, &limits).map(|batch| batch.header().max_timestamp).map_err(|error| error.to_string())
        };
        prop_assert_eq!(check(Codec::ALL[which]), check(Codec::None));
    }

    #[test]
    fn no_bytes_make_a_batch_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = BatchHeader::parse(&bytes);
        let _ = UnplacedBatch::check(BytesMut::from(&bytes[..]), &LIMITS);
        let _ = BatchReader::new(bytes.into()).count();
    }

    #[test]
    fn no_forged_records_make_a_reader_panic(at in 21usize..80, bytes in prop::collection::vec(any::<u8>(), 1..6)) {
        let batch = forged(at.min(74), &bytes);
        if let Ok(batch) = Batch::check(batch.clone().freeze())
            && let Ok(records) = batch.records(10_000)
        {
            let _ = records.count();
        }
        let _ = UnplacedBatch::check(batch, &LIMITS);
    }

    #[test]
    fn a_batch_reader_returns_whole_batches_and_leaves_the_torn_tail(cut in 0usize..300) {
        let one = built(Codec::None, &[record("hello")]).freeze();
        let log: Bytes = [&one[..], &one[..], &one[..]].concat().into();
        let cut = cut.min(log.len());
        let mut reader = BatchReader::new(log.slice(..cut));
        let taken = reader.by_ref().map(Result::unwrap).count();
        prop_assert_eq!(taken, cut / one.len());
        prop_assert_eq!(reader.rest().len(), cut % one.len());
    }
}

#[test]
fn a_batch_has_kafkas_public_layout() {
    let stamped =
        ProducerStamp { id: ProducerId::new(7), epoch: ProducerEpoch::new(1), base_sequence: Some(Sequence::ZERO) };
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&Record {
        timestamp: Timestamp::from_millis(1_000),
        key: Some("k".into()),
        value: Some("v".into()),
        headers: vec![Header { name: "h".into(), value: None }],
    });
    let batch = UnplacedBatch::built(builder.build(Some(stamped))).place(Offset::new(42), LeaderEpoch::new(3));
    insta::assert_snapshot!(hex(batch.bytes()), @"
    000000000000002a0000003d00000003
    024b3672500000000000000000000000
    0003e800000000000003e80000000000
    00000700010000000000000001160000
    00026b027602026801
    ");
    assert!(Batch::check(batch.bytes().clone()).is_ok(), "placing a batch leaves its CRC right");
}

#[test]
fn a_wrong_maximum_timestamp_is_corrected() {
    let batch = UnplacedBatch::check(forged(35, &1i64.to_be_bytes()), &LIMITS).unwrap();
    assert_eq!(batch.header().max_timestamp, Timestamp::from_millis(1_700_000_000_000));
    let placed = batch.place(Offset::ZERO, LeaderEpoch::new(0));
    assert!(Batch::check(placed.bytes().clone()).is_ok());
}

#[test]
fn a_batch_with_a_wrong_crc_is_refused() {
    let mut batch = built(Codec::None, &[record("one")]);
    batch[70] ^= 1;
    assert!(refusal(batch).starts_with("stored crc"));
}

#[test]
fn a_batch_with_a_wrong_length_is_refused() {
    let mut batch = built(Codec::None, &[record("one")]);
    batch.extend_from_slice(b"x");
    insta::assert_snapshot!(refusal(batch), @"the batch header says 71 bytes, found 72");
}

#[test]
fn a_wrong_record_count_is_refused() {
    insta::assert_snapshot!(refusal(forged(57, &3i32.to_be_bytes())), @"record count 3 is invalid");
    insta::assert_snapshot!(refusal(forged(57, &1i32.to_be_bytes())), @"last offset delta 1 does not fit 1 records");
    insta::assert_snapshot!(refusal(forged(57, &(-1i32).to_be_bytes())), @"record count -1 is invalid");
    insta::assert_snapshot!(refusal(forged(57, &i32::MAX.to_be_bytes())), @"record count 2147483647 is invalid");
}

#[test]
fn overlapping_offset_deltas_are_refused() {
    // Position of the second record's delta: the header, the first record (length 1, attributes 1, time 1, delta 1, key
    // 1, value 4, headers 1), then three bytes of the second.
    insta::assert_snapshot!(refusal(forged(61 + 10 + 3, &[0])), @"offset delta 0 of record 1 is out of order or out of range");
    insta::assert_snapshot!(refusal(forged(61 + 10 + 3, &[3])), @"offset delta -2 of record 1 is out of order or out of range");
}

#[test]
fn attributes_reserved_for_brokers_are_refused() {
    insta::assert_snapshot!(refusal(forged(21, &[0, 0b10_0000])), @"a producer cannot write control batches");
    insta::assert_snapshot!(refusal(forged(21, &[0, 0b100_0000])), @"a producer cannot write attribute bits other than codec");
    insta::assert_snapshot!(refusal(forged(21, &[0, 0b1000])), @"a producer cannot write append times");
    insta::assert_snapshot!(refusal(forged(21, &[0x80, 0])), @"a producer cannot write attribute bits other than codec");
}

#[test]
fn unknown_codecs_and_magics_are_refused() {
    insta::assert_snapshot!(refusal(forged(21, &[0, 5])), @"unknown compression codec in attributes 0x0005");
    for magic in [0, 1, 127] {
        assert_eq!(refusal(forged(16, &[magic])), format!("magic is {magic}, not 2"));
    }
}

#[test]
fn a_far_future_timestamp_is_refused() {
    let late = Record { timestamp: Timestamp::MAX, ..record("late") };
    insta::assert_snapshot!(refusal(built(Codec::None, &[late])), @"record 0 of the batch: timestamp 9223372036854775807 is later than 2000000000000: is the producer's clock right?");
    let early = Record { timestamp: Timestamp::MIN, ..record("early") };
    assert!(UnplacedBatch::check(built(Codec::None, &[early]), &LIMITS).is_ok());
}

#[test]
fn a_decompression_bomb_is_refused() {
    let bomb = record(&"0".repeat(4 << 20));
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = built(codec, std::slice::from_ref(&bomb));
        assert!(batch.len() < LIMITS.batch_bytes_max);
        assert_eq!(refusal(batch), format!("decompressing {codec} passes the limit of 1048576 bytes"));
    }
}

#[test]
fn a_compacted_topic_refuses_a_record_without_a_key() {
    let limits = BatchLimits { key_required: true, ..LIMITS };
    for codec in Codec::ALL {
        let batch = built(codec, &[record("keyless")]);
        let error = UnplacedBatch::check(batch, &limits).unwrap_err();
        assert!(matches!(error, ClientBatchError::NoKey { .. }), "{codec}: {error}");
    }
}

#[test]
fn a_refusal_names_the_records_that_break_its_rule() {
    let limits = BatchLimits { key_required: true, ..LIMITS };
    let keyed = Record { key: Some("k".into()), ..record("v") };
    let late = |millis| Record { timestamp: Timestamp::from_millis(millis), ..keyed.clone() };
    let limit = LIMITS.timestamp_max.as_millis();
    for codec in Codec::ALL {
        let refusal = |records: &[Record]| UnplacedBatch::check(built(codec, records), &limits).unwrap_err();
        let ranges = |error: &ClientBatchError| error.refused_records().unwrap().ranges().to_vec();

        let keyless = refusal(&[keyed.clone(), record("a"), record("b"), keyed.clone(), record("c")]);
        assert_eq!(ranges(&keyless), [1..3, 4..5], "{codec}");
        let in_the_future = refusal(&[late(limit), late(limit + 2), keyed.clone(), late(limit + 9)]);
        assert_eq!(ranges(&in_the_future), [1..2, 3..4], "{codec}");
        let text = "record 1 and 1 more of the batch: timestamp 2000000000002 is later than 2000000000000: is the producer's clock right?";
        assert_eq!(in_the_future.to_string(), text);
        let both = refusal(&[late(limit + 2), record("a")]);
        let text = "record 1 of the batch: no key, and the topic is compacted: every record needs one";
        assert_eq!(both.to_string(), text, "one rule at a time");
    }
}

#[test]
fn a_forged_header_count_is_refused() {
    // The header count of the first record becomes a varint that the record's end cuts off.
    assert_eq!(refusal(forged(61 + 9, &[0xff])), "record 0 is malformed");
}

#[test]
fn a_restamped_batch_equals_a_batch_built_with_the_new_stamp() {
    let stamp = |id, first| ProducerStamp {
        id: ProducerId::new(id),
        epoch: ProducerEpoch::new(0),
        base_sequence: Sequence::from_wire(first),
    };
    let stamped = |producer| {
        let mut builder = BatchBuilder::with_capacity(Codec::None, 100);
        builder.push(&record("one"));
        builder.build(Some(producer))
    };
    let mut batch = stamped(stamp(1, 7));
    restamp(&mut batch, stamp(2, 0));
    assert_eq!(batch, stamped(stamp(2, 0)));
}
