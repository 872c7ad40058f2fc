//! Members with a name that survives their process.

use super::*;

pub(super) fn named(id: &str) -> Member {
    Member { instance: Some("left".to_owned()), ..Member::new(id, &["rainbow"]) }
}

pub(super) fn detach(coordinator: &mut Coordinator, member: &Member) {
    let step = coordinator.shard.detach(&group(), &member.id, coordinator.now);
    coordinator.settle(step).unwrap();
}

#[test]
fn a_restarted_process_takes_the_seat_of_its_instance_name() {
    let coordinator = &mut Coordinator::new();
    let (mut old, mut other, mut new) = (named("old"), Member::new("other", &["rainbow"]), named("new"));
    quiet(coordinator, &mut [&mut old, &mut other]);
    new.beat(coordinator);
    new.beat(coordinator); // It heard the answer, so it lives.
    // The old one may still be reading: its partitions wait until it surely is not.
    assert_eq!(code(coordinator.heartbeat(&old.says())), ErrorCode::FencedInstance);
    assert_eq!(code(coordinator.commit(Some(&old), partition_key(RAINBOW, 0), 1)), ErrorCode::FencedInstance);
    old.epoch = MemberEpoch::default();
    old.reading.clear();
    assert_eq!(code(coordinator.heartbeat(&old.says())), ErrorCode::FencedInstance);
    assert_eq!(new.reads(RAINBOW), []);
    coordinator.wait(2_999);
    new.beat(coordinator);
    assert_eq!(new.reads(RAINBOW), []);
    coordinator.wait(1); // Now the lease of the name is over.
    new.beat(coordinator);
    other.beat(coordinator);
    assert_eq!((new.reads(RAINBOW), other.reads(RAINBOW)), (vec![0, 1], vec![2]));
}

#[test]
fn who_stepped_out_is_succeeded_at_once_and_nobody_else_notices() {
    for assignor in ["range", "round-robin", "sticky"] {
        let coordinator = &mut Coordinator::new();
        let mut old = Member { assignor: Some(assignor.to_owned()), ..named("old") };
        let (mut other, mut new) = (Member::new("other", &["rainbow"]), named("new"));
        quiet(coordinator, &mut [&mut old, &mut other]);
        let (had, told) = (old.reads(RAINBOW), other.epoch);
        detach(coordinator, &old);
        coordinator.wait(u64::from(SESSION_MS) - 1);
        other.beat(coordinator);
        assert_eq!(code(coordinator.heartbeat(&old.says())), ErrorCode::UnknownMember);
        assert_eq!(code(coordinator.commit(Some(&old), partition_key(RAINBOW, 0), 1)), ErrorCode::UnknownMember);
        new.beat(coordinator);
        assert_eq!(new.reads(RAINBOW), had, "{assignor}");
        quiet(coordinator, &mut [&mut new, &mut other]);
        assert_eq!((new.reads(RAINBOW), other.epoch), (had, told), "{assignor}");
    }
}

#[test]
fn who_stepped_out_and_does_not_come_back_is_given_up_after_a_session() {
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
fn who_stepped_out_comes_back_under_its_own_id() {
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
fn a_full_group_takes_back_who_stepped_out() {
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
fn what_who_is_away_shall_not_own_any_more_waits_for_nobody() {
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
fn who_is_replaced_and_says_that_it_stopped_makes_room_at_once() {
    let coordinator = &mut Coordinator::new();
    let (mut old, mut other, mut new) = (named("old"), Member::new("other", &["rainbow"]), named("new"));
    quiet(coordinator, &mut [&mut old, &mut other]);
    let held = old.says();
    new.beat(coordinator);
    let mut joined = coordinator.shard.heartbeat(&new.says(), &coordinator.received(), &coordinator.topics);
    assert_eq!(joined.take_changed_groups(), [group()], "who waits for an answer is told");
    let answer = coordinator.settle(joined).unwrap();
    new.hears(&answer);
    let news = coordinator.shard.assignment_change(&held, &coordinator.received(), &coordinator.topics);
    assert_eq!(code(coordinator.settle(news)), ErrorCode::FencedInstance);
    let left = coordinator.shard.leave(&group(), &old.id);
    coordinator.settle(left).unwrap();
    let told = other.epoch;
    quiet(coordinator, &mut [&mut new, &mut other]);
    assert_eq!((new.reads(RAINBOW), other.reads(RAINBOW), other.epoch), (vec![0, 1], vec![2], told));
}

#[test]
fn a_sticky_group_keeps_the_replaced_ones_partitions_for_its_successor() {
    let coordinator = &mut Coordinator::new();
    let mut old = Member { assignor: Some("sticky".to_owned()), ..named("old") };
    let (mut other, mut new) = (Member::new("other", &["rainbow"]), named("new"));
    quiet(coordinator, &mut [&mut old, &mut other]);
    let (had, told) = (old.reads(RAINBOW), other.epoch);
    new.beat(coordinator);
    new.beat(coordinator);
    coordinator.wait(3_000);
    quiet(coordinator, &mut [&mut new, &mut other]);
    assert_eq!((new.reads(RAINBOW), other.epoch), (had, told));
}
