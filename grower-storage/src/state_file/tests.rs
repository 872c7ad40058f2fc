use super::*;
use crate::disk::MemDisk;
use crate::epochs::EpochHistory;
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};

const CHECKPOINT: Checkpoint = Checkpoint {
    log_start: Offset::new(1),
    durable: DurableEnd { end: Offset::new(9), segment: Offset::new(6), position: 0x1234 },
    truncating: Some(Offset::new(8)),
};

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(4).map(|word| word.iter().map(|b| format!("{b:02x}")).collect()).collect::<Vec<String>>().join(" ")
}

#[test]
fn the_bytes_of_state_files_never_change() {
    let identity = LogIdentity { topic_id: TopicId::from_bytes([0xab; 16]), partition: PartitionId::new(3) };
    insta::assert_snapshot!(hex(&encode(&identity)), @"4757706d 00010000 00000014 abababab abababab abababab abababab 00000003 ac6b4421");
    insta::assert_snapshot!(hex(&encode(&CHECKPOINT)), @"47576370 00010000 0000002c 00000000 00000001 00000000 00000009 00000000 00000006 00000000 00001234 00000001 00000000 00000008 09cea52f");
    let mut history = EpochHistory::default();
    history.begin(LeaderEpoch::new(2), Offset::new(5));
    let replacing = Some(PendingReplacement { offsets: Offset::new(3)..Offset::new(7), bytes: 0x5678 });
    let compaction = CompactionState { cleaned_end: Offset::new(2), replacing };
    insta::assert_snapshot!(hex(&encode(&compaction)), @"4757636f 00010000 00000024 00000000 00000002 00000001 00000000 00000003 00000000 00000007 00000000 00005678 40f22cf0");
    insta::assert_snapshot!(hex(&encode(&history)), @"47576c65 00010000 00000010 00000001 00000002 00000000 00000005 a9ab9039");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let sound = encode(&CHECKPOINT);
    for bit in 0..sound.len() * 8 {
        let mut damaged = sound.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode::<Checkpoint>(Path::new("checkpoint"), &damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn no_shorter_file_is_taken() {
    let sound = encode(&CHECKPOINT);
    for length in 0..sound.len() {
        assert!(decode::<Checkpoint>(Path::new("checkpoint"), &sound[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn epochs_that_do_not_rise_are_damage() {
    for entries in [[(1u32, 0u64), (1, 5)], [(2, 0), (1, 5)], [(1, 5), (2, 5)], [(1, 5), (2, 0)]] {
        let mut body = FieldWriter::default();
        body.list(&entries, |body, (epoch, start)| {
            body.u32(*epoch);
            body.u64(*start);
        });
        assert_eq!(EpochHistory::read(&mut FieldReader::new(&body.into_bytes())), None, "{entries:?}");
    }
}

#[test]
fn a_checkpoint_that_contradicts_itself_is_damaged() {
    let at = Offset::new;
    let is_sound = |end, segment, truncating| {
        let durable = DurableEnd { end: at(end), segment: at(segment), position: 0 };
        let checkpoint = Checkpoint { log_start: at(10), durable, truncating };
        decode::<Checkpoint>(Path::new("checkpoint"), &encode(&checkpoint)).is_ok()
    };
    assert!(is_sound(20, 20, Some(at(10))));
    assert!(!is_sound(20, 21, None), "the durable segment begins past the durable end");
    assert!(!is_sound(20, 20, Some(at(9))), "a truncation drops the log start");
}

#[test]
fn a_later_version_is_named() {
    let mut later = encode(&CHECKPOINT);
    later[5] = 2;
    let end = later.len() - 4;
    let crc = crc32fast::hash(&later[..end]);
    later[end..].copy_from_slice(&crc.to_be_bytes());
    let error = decode::<Checkpoint>(Path::new("checkpoint"), &later).unwrap_err();
    insta::assert_snapshot!(error, @"checkpoint has format 2, this program knows 1");
}

#[test]
fn a_stored_file_survives_a_crash_and_a_leftover_is_no_obstacle() {
    let disk = MemDisk::default();
    let dir = Path::new("/p");
    disk.create_dir_all(dir).unwrap();
    assert!(matches!(load::<Checkpoint>(&disk, dir), Err(StateFileError::Missing(_))));
    disk.create(&dir.join("checkpoint.tmp")).unwrap();
    store(&disk, dir, &CHECKPOINT).unwrap();
    disk.crash();
    assert_eq!(load::<Checkpoint>(&disk, dir).unwrap(), CHECKPOINT);
}

#[test]
fn the_bytes_of_an_audit_record_never_change() {
    let loss = AcceptedLoss {
        offsets: Offset::new(4)..Offset::new(9),
        at: Timestamp::from_millis(1_000),
        by: "ada".into(),
        reason: "rot".into(),
        kept: "x.lost".into(),
        bytes: 61,
        crc: 0xdead_beef,
    };
    let durable = DurableEnd { end: Offset::new(9), segment: Offset::new(3), position: 122 };
    let exchange = FileExchange { segments: vec![Offset::new(3)], orphans: vec![], durable: Some(durable) };
    for exchange in [None, Some(exchange)] {
        let record = AcceptedLosses { losses: vec![loss.clone()], exchange };
        let bytes = encode(&record);
        assert_eq!(decode::<AcceptedLosses>(Path::new("accepted-losses"), &bytes).unwrap(), record);
        if record.exchange.is_some() {
            insta::assert_snapshot!(hex(&bytes), @"4757616c 00010000 00000070 00000001 00000000 00000004 00000000 00000009 00000000 000003e8 00000003 61646100 00000372 6f740000 0006782e 6c6f7374 00000000 0000003d deadbeef 00000001 00000001 00000000 00000003 00000000 00000001 00000000 00000009 00000000 00000003 00000000 0000007a f08683cd");
        }
    }
}
