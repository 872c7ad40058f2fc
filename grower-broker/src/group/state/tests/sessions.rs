//! Sessions of members: when they end, and when silence is the broker's fault.

use super::*;

fn alone() -> (Coordinator, Member) {
    let (mut coordinator, mut s1) = (Coordinator::new(), Member::new("S1", &["rainbow"]));
    quiet(&mut coordinator, &mut [&mut s1]);
    (coordinator, s1)
}

fn is_member(coordinator: &Coordinator, member: &Member) -> bool {
    let described = coordinator.describe();
    described.is_ok_and(|group| group.members.iter().any(|known| known.member == member.id))
}

/// A heartbeat arrives and is answered; its answer is sent `millis` later.
fn slowly(coordinator: &mut Coordinator, member: &mut Member, millis: u64) -> Result<(), Failure> {
    let held = coordinator.shard.heartbeat_arrived(&member.says());
    let answer = coordinator.heartbeat(&member.says());
    coordinator.wait(millis);
    answer.iter().for_each(|answer| member.hears(answer));
    if let Some(mut held) = held {
        held.settle(&answer);
        coordinator.shard.heartbeat_answered(held, coordinator.now);
    }
    answer.map(drop)
}

const SESSION: u64 = SESSION_MS as u64;

#[test]
fn a_session_does_not_end_while_its_heartbeat_is_unanswered() {
    let (mut coordinator, s1) = alone();
    let first = coordinator.shard.heartbeat_arrived(&s1.says()).unwrap();
    let second = coordinator.shard.heartbeat_arrived(&s1.says()).unwrap(); // Over another connection.
    coordinator.wait(5 * SESSION);
    coordinator.shard.heartbeat_answered(first, coordinator.now);
    coordinator.wait(5 * SESSION);
    assert!(is_member(&coordinator, &s1));
    coordinator.shard.heartbeat_answered(second, coordinator.now);
    coordinator.wait(SESSION - 1);
    assert!(is_member(&coordinator, &s1), "it has a full session from the answer on");
    coordinator.wait(1);
    assert!(!is_member(&coordinator, &s1));
}

#[test]
fn a_join_with_a_late_answer_has_a_full_session_from_the_answer_on() {
    let (mut coordinator, mut s1) = (Coordinator::new(), Member::new("S1", &["rainbow"]));
    slowly(&mut coordinator, &mut s1, 5 * SESSION).unwrap();
    coordinator.wait(SESSION - 1);
    assert!(is_member(&coordinator, &s1));
    coordinator.wait(1);
    assert!(!is_member(&coordinator, &s1));
}

#[test]
fn fenced_heartbeats_extend_no_session() {
    let (mut coordinator, s1) = alone();
    let mut zombie = s1.clone();
    coordinator.topics.get_mut(&name("rainbow")).unwrap().partitions += 1;
    coordinator.topics_changed();
    let mut s1 = s1;
    quiet(&mut coordinator, &mut [&mut s1]); // Epochs went on twice: the zombie's is not the one before either.
    s1.beat(&mut coordinator);
    for _ in 0..9 {
        coordinator.wait(SESSION / 10);
        assert_eq!(code(slowly(&mut coordinator, &mut zombie, 0)), ErrorCode::FencedMember);
    }
    coordinator.wait(SESSION / 10);
    assert!(!is_member(&coordinator, &s1), "the member itself was silent for a session");
}

#[test]
fn an_unanswered_fenced_heartbeat_extends_no_session() {
    let (mut coordinator, s1) = alone();
    let zombie = Member { epoch: MemberEpoch::new(s1.epoch.value() + 1), ..s1.clone() };
    assert!(coordinator.shard.heartbeat_arrived(&zombie.says()).is_none());
    coordinator.wait(SESSION);
    assert!(!is_member(&coordinator, &s1));
}

#[test]
fn a_heartbeat_that_is_fenced_while_it_waits_extends_no_session() {
    let (mut coordinator, mut s1) = alone();
    let mut late = coordinator.shard.heartbeat_arrived(&s1.says()).unwrap();
    let says = s1.says();
    for partitions in [4, 5] {
        coordinator.topics.get_mut(&name("rainbow")).unwrap().partitions = partitions;
        coordinator.topics_changed();
        quiet(&mut coordinator, &mut [&mut s1]);
    }
    coordinator.wait(SESSION - 1);
    late.settle(&coordinator.heartbeat(&says));
    coordinator.shard.heartbeat_answered(late, coordinator.now);
    coordinator.wait(1);
    assert!(!is_member(&coordinator, &s1));
}

#[test]
fn an_unanswered_heartbeat_extends_the_session_when_its_connection_ends() {
    let (mut coordinator, s1) = alone();
    let unanswered = coordinator.shard.heartbeat_arrived(&s1.says()).unwrap();
    coordinator.wait(5 * SESSION);
    coordinator.shard.heartbeat_answered(unanswered, coordinator.now);
    coordinator.wait(SESSION - 1);
    assert!(is_member(&coordinator, &s1), "the broker kept it waiting, so it may come back");
}

#[test]
fn an_answer_to_an_unknown_member_leaves_nothing_behind() {
    let mut coordinator = Coordinator::new();
    let unknown = Member::new("S9", &["rainbow"]);
    let held = coordinator.shard.heartbeat_arrived(&unknown.says()).unwrap();
    coordinator.shard.heartbeat_answered(held, coordinator.now);
    assert!(coordinator.shard.list().is_empty());
}

#[test]
fn a_late_answer_does_not_extend_the_session_of_a_replaced_member() {
    let mut coordinator = Coordinator::new();
    let named = |id| Member { instance: Some("pinkie".to_owned()), ..Member::new(id, &["rainbow"]) };
    let (mut s1, mut s2) = (named("S1"), named("S2"));
    s1.beat(&mut coordinator);
    let held = coordinator.shard.heartbeat_arrived(&s1.says()).unwrap();
    s2.beat(&mut coordinator);
    s2.beat(&mut coordinator);
    coordinator.shard.heartbeat_answered(held, coordinator.now);
    assert!(coordinator.shard.heartbeat_arrived(&s1.says()).is_none(), "nor by a later heartbeat");
    coordinator.wait(3_000);
    assert!(!is_member(&coordinator, &s1), "the lease of the name is over");
    assert!(is_member(&coordinator, &s2));
}

#[test]
fn sessions_do_not_count_time_in_which_the_broker_stood_still() {
    let (mut coordinator, s1) = alone();
    coordinator.shard.extend_sessions(60_000);
    coordinator.wait(60_000 + u64::from(SESSION_MS) - 1);
    assert!(is_member(&coordinator, &s1));
    coordinator.wait(1);
    assert!(!is_member(&coordinator, &s1));
}
