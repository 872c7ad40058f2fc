//! Static members: an instance name survives its process.

use super::*;

pub(super) fn named(id: &str) -> Member {
    Member { instance: Some("left".to_owned()), ..Member::new(id, &["rainbow"]) }
}

pub(super) fn detach(coordinator: &mut Coordinator, member: &Member) {
    let step = coordinator.shard.detach(&group(), &member.id, coordinator.now);
    coordinator.settle(step).unwrap();
}

#[test]
fn a_restarted_process_takes_the_place_of_its_instance_name() {
    let coordinator = &mut Coordinator::new();
    let (mut old, mut other, mut new) = (named("old"), Member::new("other", &["rainbow"]), named("new"));
    quiet(coordinator, &mut [&mut old, &mut other]);
    new.beat(coordinator);
    new.beat(coordinator); // It heard the answer, so it lives.
    // The old process may still be reading: its partitions wait until its lease ends.
    assert_eq!(code(coordinator.heartbeat(&old.says())), ErrorCode::FencedInstance);
    assert_eq!(code(coordinator.commit(Some(&old), topic_id_partition(RAINBOW, 0), 1)), ErrorCode::FencedInstance);
    old.epoch = MemberEpoch::default();
    old.reading.clear();
    assert_eq!(code(coordinator.heartbeat(&old.says())), ErrorCode::FencedInstance);
    assert_eq!(new.reads(RAINBOW), []);
    coordinator.wait(2_999);
    new.beat(coordinator);
    assert_eq!(new.reads(RAINBOW), []);
    coordinator.wait(1); // The lease of the name has ended.
    new.beat(coordinator);
    other.beat(coordinator);
    assert_eq!((new.reads(RAINBOW), other.reads(RAINBOW)), (vec![0, 1], vec![2]));
}

#[test]
fn a_detached_member_is_succeeded_at_once_without_a_rebalance() {
    for assignor in Assignor::ALL.map(Assignor::name) {
        let coordinator = &mut Coordinator::new();
        let mut old = Member { assignor: Some(assignor.to_owned()), ..named("old") };
        let (mut other, mut new) = (Member::new("other", &["rainbow"]), named("new"));
        quiet(coordinator, &mut [&mut old, &mut other]);
        let (had, epoch) = (old.reads(RAINBOW), other.epoch);
        detach(coordinator, &old);
        coordinator.wait(u64::from(SESSION_MS) - 1);
        other.beat(coordinator);
        assert_eq!(code(coordinator.heartbeat(&old.says())), ErrorCode::UnknownMember);
        assert_eq!(code(coordinator.commit(Some(&old), topic_id_partition(RAINBOW, 0), 1)), ErrorCode::UnknownMember);
        new.beat(coordinator);
        assert_eq!(new.reads(RAINBOW), had, "{assignor}");
        quiet(coordinator, &mut [&mut new, &mut other]);
        assert_eq!((new.reads(RAINBOW), other.epoch), (had, epoch), "{assignor}");
    }
}

#[test]
fn a_detached_member_that_does_not_return_is_removed_after_a_session() {
    let coordinator = &mut Coordinator::new();
    let (mut old, mut other) = (named("old"), Member::new("other", &["rainbow"]));
    quiet(coordinator, &mut [&mut old, &mut other]);
    coordinator.wait(5_000);
    other.beat(coordinator);
    detach(coordinator, &old);
    coordinator.wait(u64::from(SESSION_MS) - 1);
    other.beat(coordinator);
    assert_eq!(other.reads(RAINBOW), [2]);
    coordinator.wait(1);
    other.beat(coordinator);
    assert_eq!(other.reads(RAINBOW), [0, 1, 2]);
}

#[test]
fn a_detached_member_may_return_under_its_own_id() {
    let coordinator = &mut Coordinator::new();
    let (mut old, mut other) = (named("old"), Member::new("other", &["rainbow"]));
    quiet(coordinator, &mut [&mut old, &mut other]);
    detach(coordinator, &old);
    coordinator.restart();
    let mut again = named("old");
    again.beat(coordinator);
    assert_eq!(again.reads(RAINBOW), [0, 1]);
}

#[test]
fn a_full_group_takes_back_a_detached_member() {
    let coordinator = &mut Coordinator::new();
    let mut old = named("old");
    old.beat(coordinator);
    for number in 1..coordinator.shard.limits.members {
        Member::new(&format!("m{number}"), &["rainbow"]).beat(coordinator);
    }
    assert_eq!(code(coordinator.heartbeat(&named("new").says())), ErrorCode::LimitReached);
    detach(coordinator, &old);
    coordinator.heartbeat(&named("new").says()).unwrap();
}

#[test]
fn partitions_revoked_from_a_detached_member_are_free_at_once() {
    let coordinator = &mut Coordinator::new();
    let (mut old, mut other) = (named("old"), Member::new("other", &["rainbow"]));
    quiet(coordinator, &mut [&mut old, &mut other]);
    detach(coordinator, &old);
    let mut third = Member::new("third", &["rainbow"]);
    third.beat(coordinator);
    quiet(coordinator, &mut [&mut other, &mut third]);
    assert_eq!((other.reads(RAINBOW), third.reads(RAINBOW)), (vec![1], vec![2]));
    let mut new = named("new");
    new.beat(coordinator);
    assert_eq!(new.reads(RAINBOW), [0]);
}

#[test]
fn a_replaced_member_that_leaves_frees_its_partitions_at_once() {
    let coordinator = &mut Coordinator::new();
    let (mut old, mut other, mut new) = (named("old"), Member::new("other", &["rainbow"]), named("new"));
    quiet(coordinator, &mut [&mut old, &mut other]);
    let held = old.says();
    new.beat(coordinator);
    let mut joined = coordinator.shard.heartbeat(&new.says(), &coordinator.received(), &coordinator.topics);
    assert_eq!(joined.take_changed_groups(), [group()], "waiting heartbeats are woken");
    let answer = coordinator.settle(joined).unwrap();
    new.hears(&answer);
    let change = coordinator.shard.assignment_change(&held, &coordinator.received(), &coordinator.topics);
    assert_eq!(code(coordinator.settle(change)), ErrorCode::FencedInstance);
    let left = coordinator.shard.leave(&group(), &old.id);
    coordinator.settle(left).unwrap();
    let epoch = other.epoch;
    quiet(coordinator, &mut [&mut new, &mut other]);
    assert_eq!((new.reads(RAINBOW), other.reads(RAINBOW), other.epoch), (vec![0, 1], vec![2], epoch));
}

#[test]
fn a_sticky_group_keeps_a_replaced_members_partitions_for_its_successor() {
    let coordinator = &mut Coordinator::new();
    let mut old = Member { assignor: Some("sticky".to_owned()), ..named("old") };
    let (mut other, mut new) = (Member::new("other", &["rainbow"]), named("new"));
    quiet(coordinator, &mut [&mut old, &mut other]);
    let (had, epoch) = (old.reads(RAINBOW), other.epoch);
    new.beat(coordinator);
    new.beat(coordinator);
    coordinator.wait(3_000);
    quiet(coordinator, &mut [&mut new, &mut other]);
    assert_eq!((new.reads(RAINBOW), other.epoch), (had, epoch));
}

#[test]
fn a_detached_member_reads_nothing_after_a_restart_either() {
    let coordinator = &mut Coordinator::new();
    let mut old = named("old");
    quiet(coordinator, &mut [&mut old]);
    detach(coordinator, &old);
    coordinator.restart();
    let described = coordinator.shard.describe(&group(), coordinator.now).unwrap();
    assert!(described.members[0].owned.is_empty(), "{described:?}");
}
