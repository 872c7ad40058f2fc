//! Requests that no sound client sends.

use super::*;

fn join() -> Heartbeat {
    Member::new("S1", &["rainbow"]).says()
}

fn refusal(beat: Heartbeat) -> String {
    let coordinator = &mut Coordinator::new();
    let refusal = coordinator.heartbeat(&beat).unwrap_err();
    assert_eq!(coordinator.shard.list(), [], "a refused join leaves no group");
    format!("{:?}: {refusal}", refusal.code)
}

#[test]
fn an_invalid_join_is_refused() {
    let partitions = BTreeSet::from([topic_id_partition(RAINBOW, 0)]);
    let owning = Heartbeat { owned: super::super::topic_id_partition::to_message(&partitions), ..join() };
    insta::assert_snapshot!(refusal(owning), @"InvalidRequest: a member that joins (epoch 0) owns no partitions: give up all partitions first");
    let topics = (0..5).map(|n| name(&format!("t{n}"))).collect();
    insta::assert_snapshot!(refusal(Heartbeat { topics, ..join() }), @"LimitReached: limit reached: at most 4 topics of one member");
    insta::assert_snapshot!(refusal(Heartbeat { assignor: Some("magic".to_owned()), ..join() }), @r#"InvalidRequest: there is no assignor "magic"; known are range, round-robin and sticky"#);
    insta::assert_snapshot!(refusal(Heartbeat { instance: Some(String::new()), ..join() }), @"InvalidRequest: an instance name has 1 to 249 bytes");
    insta::assert_snapshot!(refusal(Heartbeat { epoch: MemberEpoch::new(3), ..join() }), @"UnknownMember: S1 is not a member of the group: give up all partitions and join again with epoch 0");
}

#[test]
fn members_and_groups_over_the_limit_are_refused() {
    let coordinator = &mut Coordinator::new();
    let codes: Vec<_> = (0..7)
        .map(|n| coordinator.heartbeat(&Member::new(&format!("S{n}"), &["rainbow"]).says()).err().map(|e| e.code))
        .collect();
    assert_eq!(codes[..5], [None; 5]);
    assert_eq!(codes[5..], [Some(ErrorCode::LimitReached); 2]);
    for (number, limit) in [("a", None), ("b", None), ("c", Some(ErrorCode::LimitReached))] {
        let beat = Heartbeat { group: GroupId::new(number).unwrap(), ..join() };
        assert_eq!(coordinator.heartbeat(&beat).err().map(|error| error.code), limit);
    }
}

#[test]
fn a_hundred_thousand_joins_stop_at_the_member_limit() {
    let coordinator = &mut Coordinator::new();
    coordinator.shard.limits = GroupLimits::default();
    let mut taken = 0;
    for number in 0..100_000 {
        match coordinator.heartbeat(&Member::new(&format!("m{number}"), &["rainbow"]).says()) {
            Ok(_) => taken += 1,
            Err(failure) => assert_eq!(failure.code, ErrorCode::LimitReached),
        }
    }
    assert_eq!((taken, coordinator.shard.list()[0].1), (1_000, 1_000));
}

#[test]
fn subscriptions_of_all_groups_together_are_limited() {
    let coordinator = &mut Coordinator::new();
    coordinator.shard.limits.subscriptions = 5;
    let of =
        |id: &str, topics: &[&str]| Heartbeat { group: GroupId::new(id).unwrap(), ..Member::new(id, topics).says() };
    coordinator.heartbeat(&of("a", &["rainbow", "sandbox"])).unwrap();
    coordinator.heartbeat(&of("b", &[])).unwrap(); // Counts as one.
    let refused = coordinator.heartbeat(&of("c", &["rainbow", "sandbox", "later"]));
    assert_eq!(code(refused), ErrorCode::LimitReached);
    assert_eq!(coordinator.shard.list().len(), 2, "a refused join leaves no group");
    let epoch = coordinator.heartbeat(&of("b", &["rainbow", "sandbox", "later"])).unwrap().epoch;
    let more = Heartbeat { epoch, ..of("b", &["rainbow", "sandbox", "later", "more"]) };
    assert_eq!(code(coordinator.heartbeat(&more)), ErrorCode::LimitReached);
    coordinator.heartbeat(&Heartbeat { epoch, ..of("b", &["rainbow"]) }).unwrap();
    coordinator.heartbeat(&of("c", &["rainbow", "sandbox"])).unwrap();
}

#[test]
fn session_timeouts_are_held_within_1_s_to_30_min() {
    let coordinator = &mut Coordinator::new();
    for (session_timeout_ms, interval_ms) in [(0, 200), (5_000, 1_000), (u32::MAX, 1_000)] {
        let beat =
            Heartbeat { session_timeout_ms, member: MemberId::new(&session_timeout_ms.to_string()).unwrap(), ..join() };
        coordinator.heartbeat(&beat).unwrap();
        assert_eq!(super::super::limits::interval_ms(session_timeout_ms, false), interval_ms);
    }
    coordinator.wait(999);
    assert_eq!(coordinator.shard.list()[0].1, 3);
    coordinator.wait(1);
    assert_eq!(coordinator.shard.list()[0].1, 2);
    coordinator.wait(30 * 60 * 1000);
    assert_eq!(coordinator.shard.list(), []);
}

#[test]
fn listing_a_foreign_partition_as_owned_gains_nothing() {
    let coordinator = &mut Coordinator::new();
    let (mut s1, mut s2) = (Member::new("S1", &["rainbow"]), Member::new("S2", &["rainbow"]));
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    s2.reading = (0..3).map(|partition| topic_id_partition(RAINBOW, partition)).collect();
    s2.beat(coordinator);
    assert_eq!(s2.reads(RAINBOW), [2]);
    s1.beat(coordinator);
    assert_eq!(s1.reads(RAINBOW), [0, 1]);
}

#[test]
fn one_refused_offset_does_not_affect_the_others() {
    let coordinator = &mut Coordinator::new();
    let mut s1 = Member::new("S1", &["rainbow"]);
    quiet(coordinator, &mut [&mut s1]);
    let request = |partition, metadata: &str| OffsetToCommit {
        topic: RAINBOW,
        partition: PartitionId::new(partition),
        offset: Offset::new(1),
        leader_epoch: None,
        metadata: metadata.to_owned(),
    };
    let offsets = vec![
        request(0, ""),
        request(0, ""),
        request(1, &"x".repeat(4097)),
        request(2, &"x".repeat(4096)),
        request(3, ""),
    ];
    let commit = OffsetCommit {
        group: group(),
        committer: CommitterIdentity::Member(s1.id.clone(), s1.epoch),
        sequence: 0,
        offsets,
    };
    let step = coordinator.shard.commit_offsets(&commit, &|_, _| Some(LOG_END));
    let codes: Vec<_> = coordinator.settle(step).unwrap().into_iter().map(|part| part.err().map(|e| e.code)).collect();
    use ErrorCode::{InvalidRequest, NotAssigned, TooLarge};
    assert_eq!(codes, [None, Some(InvalidRequest), Some(TooLarge), None, Some(NotAssigned)]);
}

#[test]
fn an_offset_in_a_deleted_topic_is_refused() {
    let coordinator = &mut Coordinator::new();
    let unknown = topic_id_partition(TopicId::from_bytes([7; 16]), 0);
    assert_eq!(code(coordinator.commit(None, unknown, 0).unwrap()), ErrorCode::UnknownPartition);
    assert_eq!(coordinator.shard.list(), [], "nothing was committed, so there is no group");
}
