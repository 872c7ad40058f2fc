//! Joins under the instance name of a living member.

use super::super::size::MEMBER;
use super::instances::{detach, named};
use super::*;

/// A group with one member, which has the name.
fn taken() -> (Coordinator, Member) {
    let mut coordinator = Coordinator::new();
    let mut living = named("living");
    quiet(&mut coordinator, &mut [&mut living]);
    (coordinator, living)
}

#[test]
fn a_delayed_join_of_a_dead_process_takes_nothing_from_a_living_member() {
    let (coordinator, living) = &mut taken();
    let (epoch, dead) = (living.epoch, named("dead").says());
    for _ in 0..20 {
        coordinator.heartbeat(&dead).unwrap();
        coordinator.wait(1_000);
        living.beat(coordinator);
        coordinator.commit(Some(living), topic_id_partition(RAINBOW, 0), 1).unwrap().unwrap();
    }
    assert_eq!((living.reads(RAINBOW), living.epoch), (vec![0, 1, 2], epoch));
    let described = coordinator.describe().unwrap();
    assert_eq!(described.members.iter().map(|member| member.member.as_str()).collect::<Vec<_>>(), ["living"]);
    let of_dead =
        |record: &&GroupRecord| matches!(record, GroupRecord::Member { member, .. } if *member == dead.member);
    assert_eq!(coordinator.log.iter().filter(of_dead).count(), 0);
}

#[test]
fn a_takeover_needs_one_more_heartbeat_that_is_due_at_once() {
    let (coordinator, living) = &mut taken();
    let mut new = named("new");
    let mut claim = coordinator.shard.heartbeat(&new.says(), &coordinator.received(), &coordinator.topics);
    assert_eq!(claim.take_changed_groups(), [], "other members notice nothing");
    let answer = coordinator.settle(claim).unwrap();
    assert!(is_assignment_change(&new.says(), &answer), "it is not held back");
    assert_eq!((answer.interval_ms, answer.assignment.len()), (0, 0));
    new.hears(&answer);
    assert_eq!(code(coordinator.commit(Some(&new), topic_id_partition(RAINBOW, 0), 1)), ErrorCode::UnknownMember);
    living.beat(coordinator);
    new.beat(coordinator);
    assert_eq!(code(coordinator.heartbeat(&living.says())), ErrorCode::FencedInstance);
    coordinator.wait(3_000); // The lease of the name.
    new.beat(coordinator);
    assert_eq!(new.reads(RAINBOW), [0, 1, 2]);
}

#[test]
fn last_confirmed_claim_wins_the_name() {
    let (coordinator, living) = &mut taken();
    let (mut first, mut second) = (named("first"), named("second"));
    first.beat(coordinator);
    second.beat(coordinator);
    second.beat(coordinator);
    assert_eq!(code(coordinator.heartbeat(&living.says())), ErrorCode::FencedInstance);
    // Its claim is older than the takeover, so it may be dead: it has to claim the name again.
    assert_eq!(code(coordinator.heartbeat(&first.says())), ErrorCode::UnknownMember);
    second.beat(coordinator);
    first.epoch = MemberEpoch::default();
    first.beat(coordinator);
    first.beat(coordinator);
    assert_eq!(code(coordinator.heartbeat(&second.says())), ErrorCode::FencedInstance);
}

#[test]
fn a_claim_has_no_effect_on_a_later_holder_of_the_name() {
    for comes_back in [false, true] {
        let (coordinator, living) = &mut taken();
        let mut late = named("late");
        late.beat(coordinator);
        detach(coordinator, living);
        let mut next = if comes_back { named("living") } else { named("next") };
        next.beat(coordinator);
        assert_eq!(code(coordinator.heartbeat(&late.says())), ErrorCode::UnknownMember);
        next.beat(coordinator);
        assert_eq!(next.reads(RAINBOW), [0, 1, 2]);
    }
}

#[test]
fn a_claimant_that_leaves_changes_nothing_for_the_holder() {
    for for_now in [false, true] {
        let (coordinator, living) = &mut taken();
        let (mut new, epoch) = (named("new"), living.epoch);
        new.beat(coordinator);
        let (shard, at) = (&mut coordinator.shard, coordinator.now);
        let id = &new.id;
        let step = if for_now { shard.detach(&group(), id, at) } else { shard.leave(&group(), id) };
        coordinator.settle(step).unwrap();
        assert_eq!(code(coordinator.heartbeat(&new.says())), ErrorCode::UnknownMember);
        living.beat(coordinator);
        assert_eq!((living.reads(RAINBOW), living.epoch), (vec![0, 1, 2], epoch));
    }
}

#[test]
fn a_claim_expires_after_a_session_but_at_most_ten_seconds() {
    let confirmed_after = |session_timeout_ms, millis: u64| {
        let (coordinator, living) = &mut taken();
        let mut new = named("new");
        let answer = coordinator.heartbeat(&Heartbeat { session_timeout_ms, ..new.says() }).unwrap();
        new.hears(&answer);
        coordinator.wait(millis - 1);
        living.beat(coordinator);
        coordinator.wait(1);
        coordinator.heartbeat(&new.says())
    };
    for (session_timeout_ms, waits) in [(5_000, 5_000), (60_000, 10_000)] {
        assert!(confirmed_after(session_timeout_ms, waits - 1).is_ok());
        assert_eq!(code(confirmed_after(session_timeout_ms, waits)), ErrorCode::UnknownMember);
    }
}

#[test]
fn a_claim_does_not_survive_a_restart_and_can_be_made_again() {
    let (coordinator, living) = &mut taken();
    let mut new = named("new");
    new.beat(coordinator);
    let epoch = new.epoch;
    coordinator.restart();
    assert_eq!(code(coordinator.heartbeat(&new.says())), ErrorCode::UnknownMember);
    living.beat(coordinator);
    new.epoch = MemberEpoch::default();
    new.beat(coordinator);
    assert!(epoch < new.epoch);
    new.beat(coordinator);
    assert_eq!(code(coordinator.heartbeat(&living.says())), ErrorCode::FencedInstance);
}

#[test]
fn a_takeover_survives_a_restart() {
    let (coordinator, living) = &mut taken();
    let (mut new, mut other) = (named("new"), Member::new("other", &["rainbow"]));
    new.beat(coordinator);
    quiet(coordinator, &mut [living, &mut other]); // The one that has the name gets a newer epoch than the claim.
    new.beat(coordinator);
    coordinator.restart();
    assert_eq!(code(coordinator.heartbeat(&living.says())), ErrorCode::FencedInstance);
    new.beat(coordinator);
}

#[test]
fn a_claim_and_its_confirmation_may_be_repeated() {
    let (coordinator, living) = &mut taken();
    let mut new = named("new");
    let claims = new.says();
    new.beat(coordinator);
    assert_eq!(coordinator.heartbeat(&claims).unwrap().epoch, new.epoch);
    let confirms = new.says();
    coordinator.heartbeat(&confirms).unwrap(); // The answer gets lost.
    new.beat(coordinator);
    assert_eq!(code(coordinator.heartbeat(&living.says())), ErrorCode::FencedInstance);
    coordinator.wait(3_000);
    quiet(coordinator, &mut [&mut new]);
    assert_eq!(new.reads(RAINBOW), [0, 1, 2]);
}

#[test]
fn a_claimant_takes_the_place_of_a_holder_that_left_meanwhile() {
    for for_now in [false, true] {
        let (coordinator, living) = &mut taken();
        let (mut new, mut other) = (named("new"), Member::new("other", &["rainbow"]));
        quiet(coordinator, &mut [living, &mut other]);
        new.beat(coordinator);
        let (shard, at) = (&mut coordinator.shard, coordinator.now);
        let id = &living.id;
        let step = if for_now { shard.detach(&group(), id, at) } else { shard.leave(&group(), id) };
        coordinator.settle(step).unwrap();
        new.beat(coordinator);
        quiet(coordinator, &mut [&mut new, &mut other]);
        assert_eq!(new.reads(RAINBOW).len() + other.reads(RAINBOW).len(), 3, "{for_now}");
        assert!(!new.reads(RAINBOW).is_empty(), "{for_now}");
    }
}

#[test]
fn claimants_count_towards_the_member_limit() {
    let (coordinator, _living) = &mut taken();
    for number in 1..coordinator.shard.limits.members {
        named(&format!("c{number}")).beat(coordinator);
    }
    for refused in [named("one more"), Member::new("nameless", &["rainbow"])] {
        assert_eq!(code(coordinator.heartbeat(&refused.says())), ErrorCode::LimitReached);
    }
    let mut new = named("c1");
    new.beat(coordinator); // It is counted already.
    new.beat(coordinator);
    named("one more").beat(coordinator); // The other claims are over.
}

#[test]
fn claimants_count_towards_memory_until_they_are_gone() {
    let (coordinator, living) = &mut taken();
    let before = coordinator.shard.bytes();
    let claims = ["c1", "c2", "c3"].map(|id| named(id).says());
    for (number, claim) in (1..).zip(&claims) {
        coordinator.heartbeat(claim).unwrap();
        assert_eq!(coordinator.shard.bytes(), before + number * MEMBER);
    }
    let step = coordinator.shard.leave(&group(), &claims[0].member);
    coordinator.settle(step).unwrap();
    assert_eq!(coordinator.shard.bytes(), before + 2 * MEMBER);
    coordinator.wait(u64::from(SESSION_MS) - 1);
    living.beat(coordinator);
    coordinator.wait(1);
    assert_eq!(coordinator.shard.bytes(), before);
    coordinator.shard.set_memory_left(0);
    assert_eq!(code(coordinator.heartbeat(&claims[0])), ErrorCode::MemoryFull);
}
