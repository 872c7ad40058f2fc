//! Heartbeats with answers that are held back.

use super::*;

#[test]
fn a_heartbeat_that_changes_nothing_wakes_no_waiter() {
    let (mut coordinator, s1, _) = two_members();
    let mut step = coordinator.shard.heartbeat(&s1.says(), &coordinator.received(), &coordinator.topics);
    assert_eq!(step.take_changed_groups(), []);
    let answer = coordinator.settle(step).unwrap();
    assert!(!is_assignment_change(&s1.says(), &answer));
    let before = coordinator.log.len();
    assert_eq!(coordinator.assignment_change(&s1.says()), Ok(None));
    assert_eq!(coordinator.log.len(), before);
}

#[test]
fn waiting_members_learn_of_revocations_and_grants_at_once() {
    let (mut coordinator, mut s1, mut s2) = two_members();
    let leave = coordinator.shard.leave(&group(), &s2.id);
    coordinator.settle(leave).unwrap();
    let change = coordinator.assignment_change(&s1.says()).unwrap().expect("2 is free");
    s1.hears(&change);
    assert_eq!(s1.reads(RAINBOW), [0, 1, 2]);

    s2.epoch = MemberEpoch::default();
    s2.reading.clear();
    s2.beat(&mut coordinator);
    assert_eq!(coordinator.assignment_change(&s2.says()), Ok(None));
    let change = coordinator.assignment_change(&s1.says()).unwrap().expect("2 is to be given up");
    s1.hears(&change);
    let mut confirmed = coordinator.shard.heartbeat(&s1.says(), &coordinator.received(), &coordinator.topics);
    assert_eq!(confirmed.take_changed_groups(), [group()]);
    coordinator.settle(confirmed).unwrap();
    let change = coordinator.assignment_change(&s2.says()).unwrap().expect("2 is free");
    s2.hears(&change);
    assert_eq!((s1.reads(RAINBOW), s2.reads(RAINBOW)), (vec![0, 1], vec![2]));
}

#[test]
fn a_member_that_still_reads_a_revoked_partition_is_answered_at_once() {
    let (mut coordinator, mut s1, _) = two_members();
    Member::new("S3", &["rainbow"]).beat(&mut coordinator);
    let answer = coordinator.heartbeat(&s1.says()).unwrap();
    s1.epoch = answer.epoch;
    let again = coordinator.heartbeat(&s1.says()).unwrap();
    assert_eq!(again.epoch, s1.epoch);
    assert!(is_assignment_change(&s1.says(), &again));
}

#[test]
fn a_waiting_heartbeat_does_not_extend_the_session() {
    let (mut coordinator, s1, _) = two_members();
    coordinator.wait(u64::from(SESSION_MS) - 1);
    coordinator.assignment_change(&s1.says()).unwrap();
    coordinator.wait(1);
    assert_eq!(code(coordinator.assignment_change(&s1.says())), ErrorCode::UnknownMember);
}

#[test]
fn a_newer_heartbeat_gets_the_answer_and_the_older_is_fenced() {
    let (mut coordinator, mut s1, _) = two_members();
    let old = s1.says();
    Member::new("S3", &["rainbow"]).beat(&mut coordinator);
    s1.beat(&mut coordinator);
    assert_eq!(code(coordinator.assignment_change(&old)), ErrorCode::FencedMember);
    assert_eq!(coordinator.heartbeat(&s1.says()).unwrap().epoch, s1.epoch);
}

#[test]
fn a_topic_that_grows_is_an_assignment_change() {
    let (mut coordinator, _, s2) = two_members();
    coordinator.topics.insert(name("rainbow"), CatalogTopic { topic: RAINBOW, partitions: 4 });
    let mut step = coordinator.shard.topics_changed(&group(), &coordinator.topics);
    assert_eq!(step.take_changed_groups(), [group()]);
    coordinator.settle(step).unwrap();
    assert!(coordinator.assignment_change(&s2.says()).unwrap().is_some());
}
