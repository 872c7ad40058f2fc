//! Restarts of the coordinator.

use super::*;

#[test]
fn members_keep_epochs_and_partitions_over_a_restart() {
    let coordinator = &mut Coordinator::new();
    let (mut s1, mut s2) = (Member::new("S1", &["rainbow"]), Member::new("S2", &["rainbow"]));
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    let before = [s1.epoch, s2.epoch];
    coordinator.restart();
    quiet(coordinator, &mut [&mut s2, &mut s1]);
    assert_eq!([s1.epoch, s2.epoch], before);
    assert_eq!((s1.reads(RAINBOW), s2.reads(RAINBOW)), (vec![0, 1], vec![2]));
}

#[test]
fn after_a_restart_a_silent_member_keeps_its_partitions_for_a_session() {
    let coordinator = &mut Coordinator::new();
    let (mut s1, mut s2) = (Member::new("S1", &["rainbow"]), Member::new("S2", &["rainbow"]));
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    coordinator.restart();
    coordinator.wait(u64::from(SESSION_MS) - 1);
    s2.beat(coordinator);
    assert_eq!(s2.reads(RAINBOW), [2]);
    coordinator.wait(1);
    s2.beat(coordinator);
    assert_eq!(s2.reads(RAINBOW), [0, 1, 2]);
}

#[test]
fn an_answer_lost_in_a_crash_is_repeated() {
    let coordinator = &mut Coordinator::new();
    let (mut s1, mut s2) = (Member::new("S1", &["rainbow"]), Member::new("S2", &["rainbow"]));
    quiet(coordinator, &mut [&mut s1]);
    s2.beat(coordinator);
    coordinator.heartbeat(&s1.says()).unwrap();
    coordinator.restart();
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    assert_eq!((s1.reads(RAINBOW), s2.reads(RAINBOW)), (vec![0, 1], vec![2]));
}

#[test]
fn epochs_never_go_back() {
    let coordinator = &mut Coordinator::new();
    let mut epochs = Vec::new();
    for round in 0..5 {
        let mut member = Member::new(&format!("S{round}"), &["rainbow"]);
        member.beat(coordinator);
        coordinator.commit(None, topic_id_partition(RAINBOW, 0), 1).unwrap_err(); // It has a member.
        epochs.push(member.epoch);
        coordinator.wait(SESSION_MS.into());
        coordinator.restart();
    }
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
}

#[test]
fn a_compacted_log_restores_the_same_groups() {
    let coordinator = &mut Coordinator::new();
    let (mut s1, mut s2) = (Member::new("S1", &["rainbow"]), Member::new("S2", &["rainbow", "sandbox"]));
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    coordinator.commit(Some(&s2), topic_id_partition(RAINBOW, 2), 17).unwrap().unwrap();
    let before = coordinator.describe().unwrap();
    let all = coordinator.log.len();
    coordinator.sync();
    coordinator.compact();
    assert!(coordinator.log.len() < all);
    coordinator.restart();
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    let after = coordinator.describe().unwrap();
    assert_eq!((after.members, after.offsets), (before.members, before.offsets));
}

#[test]
fn the_last_minimum_epoch_of_a_log_is_the_largest() {
    let coordinator = &mut Coordinator::new();
    let calm = GroupId::new("calm").unwrap();
    let (topic, partition) = (RAINBOW, PartitionId::new(0));
    let offset = OffsetToCommit { topic, partition, offset: Offset::ZERO, leader_epoch: None, metadata: String::new() };
    let commit = OffsetCommit {
        group: calm.clone(),
        committer: CommitterIdentity::Anonymous,
        sequence: 0,
        offsets: vec![offset],
    };
    let step = coordinator.shard.commit_offsets(&commit, &|_, _| Some(LOG_END));
    coordinator.settle(step).unwrap();
    for round in 0..5 {
        Member::new(&format!("S{round}"), &["rainbow"]).beat(coordinator);
        coordinator.wait(SESSION_MS.into());
    }
    let minimum_epoch = coordinator.shard.minimum_epoch;
    assert!(0 < minimum_epoch);
    let step = coordinator.shard.delete(&calm);
    coordinator.settle(step).unwrap();
    coordinator.sync();
    coordinator.compact();
    coordinator.restart();
    assert_eq!(coordinator.shard.minimum_epoch, minimum_epoch);
}
