use super::*;
use crate::batch::{BatchBuilder, Header, ProducerStamp, Record, RecordView, UnplacedBatch};
use crate::ids::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence};
use proptest::prelude::*;

fn stamp() -> ProducerStamp {
    ProducerStamp { id: ProducerId::new(7), epoch: ProducerEpoch::new(1), base_sequence: Some(Sequence::ZERO) }
}

fn record(n: i64) -> Record {
    let value = (n % 3 != 0).then(|| format!("value {n}").into());
    let headers = vec![Header { name: "h".into(), value: None }];
    Record { timestamp: Timestamp::from_millis(1_000 - n), key: Some(format!("k{n}").into()), value, headers }
}

fn batch(codec: Codec, records: i64) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    (0..records).for_each(|n| builder.push(&record(n)));
    UnplacedBatch::built(builder.build(Some(stamp()))).place(Offset::new(100), LeaderEpoch::new(3))
}

fn views(batch: &Batch) -> Vec<RecordView> {
    Batch::check(batch.bytes().clone()).unwrap().records(1 << 20).unwrap().map(Result::unwrap).collect()
}

const LIMIT: usize = 64 << 20;

fn limits() -> RewriteLimits<'static> {
    RewriteLimits { plain_bytes: LIMIT, charge: &|_| {} }
}

proptest! {
    #[test]
    fn kept_records_are_unchanged(
        which in 0usize..5,
        keep in prop::collection::vec(any::<bool>(), 1..40),
        horizon in prop::option::of(any::<i64>()),
    ) {
        let before = batch(Codec::ALL[which], keep.len() as i64);
        let chosen = |offset: Offset| keep[(offset.value() - 100) as usize];
        let horizon = horizon.map(Timestamp::from_millis);
        let after = before.keep_keyed_records(limits(), horizon, |entry| chosen(entry.offset)).unwrap();
        let expected: Vec<RecordView> = views(&before).into_iter().filter(|view| chosen(view.offset)).collect();
        prop_assert_eq!(views(&after), expected.clone());
        prop_assert_eq!(after.header().next_offset(), before.header().next_offset());
        prop_assert_eq!(after.header().producer, before.header().producer);
        prop_assert_eq!(after.header().leader_epoch, before.header().leader_epoch);
        if let Some(latest) = expected.iter().map(|view| view.timestamp).max() {
            prop_assert_eq!(after.header().max_timestamp, latest);
            prop_assert_eq!(after.header().attributes.has_delete_horizon(), horizon.is_some());
            prop_assert!(horizon.is_none_or(|horizon| after.header().base_timestamp == horizon));
        }
    }
}

#[test]
fn each_record_is_read_in_order_until_a_break() {
    let mut entries = Vec::new();
    let each = |entry: &KeyedRecord<'_>| {
        entries.push((entry.offset.value(), entry.key.map(<[u8]>::to_vec), entry.is_tombstone));
        if entry.offset.value() == 103 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    batch(Codec::Lz4, 6).for_each_keyed_record(limits(), each).unwrap();
    assert_eq!(entries.len(), 4);
    assert_eq!(entries[3], (103, Some(b"k3".to_vec()), true));
    assert!(!entries[2].2);
}

#[test]
fn a_batch_without_records_keeps_its_offsets_and_can_be_read() {
    let before = batch(Codec::Zstd, 5);
    let empty = before.keep_keyed_records(limits(), None, |_| false).unwrap();
    assert_eq!(empty.bytes().len(), HEADER_LENGTH);
    assert!(views(&empty).is_empty());
    assert_eq!(empty.header().last_offset(), before.header().last_offset());
    assert_eq!(empty.header().producer, Some(stamp()));
    empty.for_each_keyed_record(limits(), |_| unreachable!("the batch has no records")).unwrap();
}

#[test]
fn a_batch_extended_over_a_gap_keeps_its_records_and_loses_its_producer() {
    let before = batch(Codec::Gzip, 5);
    let after = before.extended_to(Offset::new(1_000)).unwrap();
    assert_eq!(views(&after), views(&before));
    assert_eq!((after.header().next_offset(), after.header().producer), (Offset::new(1_000), None));
    assert!(before.extended_to(Offset::new(104)).is_none(), "a batch never shrinks");
    assert!(before.extended_to(Offset::new(100 + (1 << 31) + 1)).is_none(), "one batch spans at most 2^31 offsets");
    assert!(before.extended_to(Offset::new(100 + (1 << 31))).is_some());
}

#[test]
fn a_delete_horizon_is_set_kept_and_removed_without_changing_records() {
    let horizon = Some(Timestamp::from_millis(5_000));
    let before = batch(Codec::None, 5);
    let chosen = |entry: &KeyedRecord<'_>| entry.offset != Offset::new(102);
    let marked = before.keep_keyed_records(limits(), horizon, |_| true).unwrap();
    let kept = marked.keep_keyed_records(limits(), horizon, chosen).unwrap();
    assert_eq!(kept.header().delete_horizon(), horizon);
    let unmarked = kept.keep_keyed_records(limits(), None, |_| true).unwrap();
    assert_eq!(unmarked.header().delete_horizon(), None);
    assert_eq!(views(&unmarked), views(&kept));
    assert_eq!(
        unmarked.bytes(),
        before.keep_keyed_records(limits(), None, chosen).unwrap().bytes(),
        "the batch equals one that never had a horizon"
    );
}

#[test]
fn a_record_without_key_and_value_is_not_a_tombstone() {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&Record::default());
    let batch = UnplacedBatch::built(builder.build(None)).place(Offset::new(100), LeaderEpoch::new(3));
    let each = |entry: &KeyedRecord<'_>| {
        assert!(!entry.is_tombstone);
        ControlFlow::Continue(())
    };
    batch.for_each_keyed_record(limits(), each).unwrap();
}

#[test]
fn records_longer_than_any_chunk_are_kept_unchanged() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec);
        let text =
            |n: usize, length: usize| -> bytes::Bytes { format!("{n} {}", "some text ".repeat(length / 10)).into() };
        for n in 0..6 {
            let key = (n % 3 != 2).then(|| text(n, 100_000 * (n % 2)));
            let value = (n % 4 != 3).then(|| text(n, 300_000));
            let headers = vec![Header { name: "h".into(), value: Some(text(n, 90_000)) }];
            builder.push(&Record { timestamp: Timestamp::from_millis(n as i64), key, value, headers });
        }
        let before = UnplacedBatch::built(builder.build(None)).place(Offset::new(100), LeaderEpoch::new(3));
        let all = |batch: &Batch| batch.records(LIMIT).unwrap().map(Result::unwrap).collect::<Vec<_>>();
        let mut seen = Vec::new();
        before
            .for_each_keyed_record(limits(), |entry| {
                seen.push((entry.offset, entry.key.map(<[u8]>::to_vec), entry.is_tombstone));
                ControlFlow::Continue(())
            })
            .unwrap();
        let expected =
            all(&before).into_iter().map(|view| (view.offset, view.key.map(|key| key.to_vec()), view.value.is_none()));
        assert_eq!(seen, expected.collect::<Vec<_>>(), "{codec}");
        let after = before.keep_keyed_records(limits(), None, |entry| entry.offset.value() % 2 == 1).unwrap();
        let kept: Vec<_> = all(&before).into_iter().filter(|view| view.offset.value() % 2 == 1).collect();
        assert_eq!(all(&after), kept, "{codec}");
    }
}

#[test]
fn a_rewrite_charges_for_keys_and_kept_records_but_not_for_all_decompressed_bytes() {
    let (short, long) = (bytes::Bytes::from_static(b"k"), bytes::Bytes::from(vec![7; 6 << 20]));
    let most = |codec, key: &bytes::Bytes, value: &bytes::Bytes| {
        let mut builder = BatchBuilder::new(codec);
        for _ in 0..2 {
            let (key, value) = (Some(key.clone()), Some(value.clone()));
            builder.push(&Record { timestamp: Timestamp::from_millis(1), key, value, headers: Vec::new() });
        }
        let batch = UnplacedBatch::built(builder.build(None)).place(Offset::new(100), LeaderEpoch::new(3));
        let most = std::cell::Cell::new(0);
        let charge = |bytes| most.set(most.get().max(bytes));
        let limits = RewriteLimits { plain_bytes: LIMIT, charge: &charge };
        batch.keep_keyed_records(limits, None, |entry| entry.offset == Offset::new(101)).unwrap();
        most.get()
    };
    for codec in [Codec::Gzip, Codec::Zstd] {
        let (key, value) = (most(codec, &long, &short), most(codec, &short, &long));
        assert!(6 << 20 <= key, "{codec}: {key}");
        assert!(value < key - (4 << 20), "{codec}: {value}");
    }
}

#[test]
fn a_malformed_record_longer_than_a_chunk_is_an_error() {
    for content in [&[1, 2][..], &[1, 0, 5, b'v', 0], &[3, 1, 2, 1]] {
        let mut plain = Vec::new();
        let body = [&[0u8, 0, 0][..], content, &[0u8; 100_000]].concat();
        varint::put(&mut plain, body.len() as i64);
        plain.extend_from_slice(&body);
        for codec in [Codec::Gzip, Codec::Zstd, Codec::Snappy] {
            let header = BatchHeader { record_count: 1, ..*batch(codec, 1).header() };
            let damaged = encode(&header, &crate::compression::compress(codec, &plain));
            assert!(damaged.keep_keyed_records(limits(), None, |_| true).is_err(), "{codec} {content:?}");
            assert!(
                damaged.for_each_keyed_record(limits(), |_| ControlFlow::Continue(())).is_err(),
                "{codec} {content:?}"
            );
        }
    }
}

/// Returns bytes that do not compress.
fn noise(seed: usize, length: usize) -> bytes::Bytes {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn records_of_any_length_survive_two_rewrites_unchanged(
        lengths in prop::collection::vec((prop::option::of(0usize..40_000), prop::option::of(0usize..90_000), 0usize..3), 1..9),
        keep: (u16, u16),
        horizon in prop::option::of(0i64..1 << 40),
        which in 0..Codec::ALL.len(),
    ) {
        let mut builder = BatchBuilder::new(Codec::ALL[which]);
        for (n, (key, value, headers)) in lengths.iter().enumerate() {
            let (key, value) = (key.map(|length| noise(n, length)), value.map(|length| noise(n + 50, length)));
            let header = |at: usize| Header { name: "h".into(), value: (at == 1).then(|| noise(n + 90, 40_000)) };
            let timestamp = Timestamp::from_millis(1_000 - 7 * n as i64);
            builder.push(&Record { timestamp, key, value, headers: (0..*headers).map(header).collect() });
        }
        let before = UnplacedBatch::built(builder.build(Some(stamp()))).place(Offset::new(100), LeaderEpoch::new(3));
        let all = |batch: &Batch| -> Vec<RecordView> {
            Batch::check(batch.bytes().clone()).unwrap().records(LIMIT).unwrap().map(Result::unwrap).collect()
        };
        let once = |offset: Offset| keep.0 >> (offset.value() - 100) & 1 == 1;
        let twice = |offset: Offset| once(offset) && keep.1 >> (offset.value() - 100) & 1 == 1;
        let horizon = horizon.map(Timestamp::from_millis);
        let after = before.keep_keyed_records(limits(), horizon, |entry| once(entry.offset)).unwrap();
        prop_assert_eq!(all(&after), all(&before).into_iter().filter(|view| once(view.offset)).collect::<Vec<_>>());
        let last = after.keep_keyed_records(limits(), horizon, |entry| twice(entry.offset)).unwrap();
        let expected: Vec<RecordView> = all(&before).into_iter().filter(|view| twice(view.offset)).collect();
        let (was, is) = (*before.header(), *last.header());
        prop_assert_eq!((is.base_offset, is.last_offset_delta), (was.base_offset, was.last_offset_delta));
        prop_assert_eq!((is.producer, is.leader_epoch), (was.producer, was.leader_epoch));
        prop_assert_eq!(is.record_count as usize, expected.len());
        if let Some(latest) = expected.iter().map(|view| view.timestamp).max() {
            prop_assert_eq!(is.max_timestamp, latest);
            prop_assert_eq!(is.attributes.has_delete_horizon(), horizon.is_some());
            prop_assert_eq!(is.base_timestamp, horizon.unwrap_or(was.base_timestamp));
        }
        prop_assert_eq!(all(&last), expected);
    }
}
