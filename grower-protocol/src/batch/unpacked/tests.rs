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

fn unpacked(batch: &Batch) -> Unpacked {
    Unpacked::new(batch.clone(), 1 << 20).unwrap()
}

proptest! {
    #[test]
    fn what_is_kept_is_what_it_was(
        which in 0usize..5,
        keep in prop::collection::vec(any::<bool>(), 1..40),
        horizon in prop::option::of(any::<i64>()),
    ) {
        let before = batch(Codec::ALL[which], keep.len() as i64);
        let chosen = |offset: Offset| keep[(offset.value() - 100) as usize];
        let horizon = horizon.map(Timestamp::from_millis);
        let after = unpacked(&before).rewrite(horizon, |entry| chosen(entry.offset)).unwrap();
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
fn entries_say_what_decides() {
    let unpacked = unpacked(&batch(Codec::Lz4, 4));
    let entries: Vec<Entry<'_>> = unpacked.entries().map(Result::unwrap).collect();
    assert_eq!(entries[3], Entry { offset: Offset::new(103), key: Some(b"k3"), is_tombstone: true });
    assert!(!entries[2].is_tombstone);
}

#[test]
fn a_batch_without_records_keeps_its_place_and_can_be_taken_apart_again() {
    let before = batch(Codec::Zstd, 5);
    let empty = unpacked(&before).rewrite(None, |_| false).unwrap();
    assert_eq!(empty.bytes().len(), HEADER_LENGTH);
    assert!(views(&empty).is_empty());
    assert_eq!(empty.header().last_offset(), before.header().last_offset());
    assert_eq!(empty.header().producer, Some(stamp()));
    assert_eq!(unpacked(&empty).entries().count(), 0);
}

#[test]
fn a_stretched_batch_spans_more_and_is_nobodys() {
    let before = batch(Codec::Gzip, 5);
    let after = before.stretched(Offset::new(1_000)).unwrap();
    assert_eq!(views(&after), views(&before));
    assert_eq!((after.header().next_offset(), after.header().producer), (Offset::new(1_000), None));
    assert!(before.stretched(Offset::new(104)).is_none(), "it never shrinks");
    assert!(before.stretched(Offset::new(100 + (1 << 31) + 1)).is_none(), "the wire cannot say more");
    assert!(before.stretched(Offset::new(100 + (1 << 31))).is_some());
}

#[test]
fn a_horizon_once_set_stays() {
    let horizon = Some(Timestamp::from_millis(5_000));
    let marked = unpacked(&batch(Codec::None, 5)).rewrite(horizon, |_| true).unwrap();
    let later = unpacked(&marked).rewrite(None, |entry| entry.offset != Offset::new(102)).unwrap();
    assert!(later.header().attributes.has_delete_horizon());
    assert_eq!(later.header().base_timestamp, Timestamp::from_millis(5_000));
}
