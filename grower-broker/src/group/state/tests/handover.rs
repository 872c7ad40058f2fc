//! Moves of partitions from one member to another.

use super::*;

/// S1 reads everything, S2 has just joined and waits.
fn s2_waits() -> (Coordinator, Member, Member) {
    let mut coordinator = Coordinator::new();
    let (mut s1, mut s2) = (Member::new("S1", &["rainbow"]), Member::new("S2", &["rainbow"]));
    quiet(&mut coordinator, &mut [&mut s1]);
    s2.beat(&mut coordinator);
    (coordinator, s1, s2)
}

#[test]
fn a_partition_moves_only_after_its_owner_gave_it_up() {
    let (mut coordinator, mut s1, mut s2) = s2_waits();
    assert_eq!(s2.reads(RAINBOW), []);
    let answer = coordinator.heartbeat(&s1.says()).unwrap(); // Told to give up 2, but still at it.
    let still_reading = Heartbeat { epoch: answer.epoch, ..s1.says() };
    coordinator.heartbeat(&still_reading).unwrap();
    s2.beat(&mut coordinator);
    assert_eq!(s2.reads(RAINBOW), []);
    s1.hears(&answer);
    s1.beat(&mut coordinator);
    s2.beat(&mut coordinator);
    assert_eq!((s1.reads(RAINBOW), s2.reads(RAINBOW)), (vec![0, 1], vec![2]));
}

#[test]
fn heartbeats_are_frequent_while_partitions_move() {
    let (mut coordinator, mut s1, mut s2) = s2_waits();
    assert_eq!((s1.interval_ms, s2.interval_ms), (1000, 200));
    s1.beat(&mut coordinator);
    assert_eq!(s1.interval_ms, 200);
    quiet(&mut coordinator, &mut [&mut s1, &mut s2]);
    assert_eq!((s1.interval_ms, s2.interval_ms), (1000, 1000));
}

#[test]
fn a_lost_answer_frees_nothing() {
    let (mut coordinator, mut s1, mut s2) = s2_waits();
    s1.reading.clear(); // It was assigned [0, 1, 2] but has not begun to read yet.
    coordinator.heartbeat(&s1.says()).unwrap(); // The answer, without 2, is lost.
    coordinator.heartbeat(&s1.says()).unwrap(); // And again: it says its old epoch.
    s2.beat(&mut coordinator);
    assert_eq!(s2.reads(RAINBOW), []);
    s1.beat(&mut coordinator);
    s1.beat(&mut coordinator);
    s2.beat(&mut coordinator);
    assert_eq!((s1.reads(RAINBOW), s2.reads(RAINBOW)), (vec![0, 1], vec![2]));
}

#[test]
fn a_delayed_join_frees_nothing() {
    let coordinator = &mut Coordinator::new();
    let (mut s1, mut s2) = (Member::new("S1", &["rainbow"]), Member::new("S2", &["rainbow"]));
    let join = s1.says();
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    coordinator.heartbeat(&join).unwrap(); // Was under way on a connection that S1 gave up.
    s2.beat(coordinator);
    assert_eq!(s2.reads(RAINBOW), [2]);
    s1.beat(coordinator); // Its epoch still counts.
    assert_eq!(s1.reads(RAINBOW), [0, 1]);
}

#[test]
fn a_member_that_joins_again_gets_its_partitions_back() {
    let coordinator = &mut Coordinator::new();
    let (mut s1, mut s2) = (Member::new("S1", &["rainbow"]), Member::new("S2", &["rainbow"]));
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    let mut again = Member::new("S1", &["rainbow"]);
    quiet(coordinator, &mut [&mut again, &mut s2]);
    assert_eq!((again.reads(RAINBOW), s2.reads(RAINBOW)), (vec![0, 1], vec![2]));
    assert_eq!(code(coordinator.heartbeat(&s1.says())), ErrorCode::FencedMember);
}

#[test]
fn a_member_that_misses_a_revocation_deadline_is_removed() {
    let (mut coordinator, s1, mut s2) = s2_waits();
    let answer = coordinator.heartbeat(&s1.says()).unwrap();
    let stuck = Heartbeat { epoch: answer.epoch, ..s1.says() };
    for _ in 0..9 {
        coordinator.wait(1_000);
        coordinator.heartbeat(&stuck).unwrap();
        s2.beat(&mut coordinator);
        assert_eq!(s2.reads(RAINBOW), []);
    }
    coordinator.wait(1_000);
    assert_eq!(code(coordinator.heartbeat(&stuck)), ErrorCode::FencedMember);
    assert_eq!(code(coordinator.heartbeat(&stuck)), ErrorCode::UnknownMember);
    s2.beat(&mut coordinator);
    assert_eq!(s2.reads(RAINBOW), [0, 1, 2]);
}

#[test]
fn after_a_lost_answer_the_revocation_deadline_counts_from_the_next() {
    let (mut coordinator, s1, mut s2) = s2_waits();
    coordinator.heartbeat(&s1.says()).unwrap(); // Told to give up 2, but the answer is lost.
    coordinator.wait(u64::from(SESSION_MS) - 1);
    let answer = coordinator.heartbeat(&s1.says()).unwrap();
    let still_reading = Heartbeat { epoch: answer.epoch, ..s1.says() };
    s2.beat(&mut coordinator);
    coordinator.wait(u64::from(SESSION_MS) - 1);
    coordinator.heartbeat(&still_reading).unwrap();
    s2.beat(&mut coordinator);
    assert_eq!(s2.reads(RAINBOW), []);
}

#[test]
fn a_change_that_could_not_be_appended_is_written_with_the_next_decision() {
    let (mut coordinator, mut s1, mut s2) = s2_waits();
    s1.beat(&mut coordinator);
    let step = coordinator.shard.heartbeat(&s1.says(), &coordinator.received(), &coordinator.topics); // Frees 2.
    assert!(step.settle(&mut coordinator.shard, |_| Err("the disk is full")).is_err());
    s2.beat(&mut coordinator);
    assert_eq!(s2.reads(RAINBOW), [2]);
    coordinator.restart();
    s1.beat(&mut coordinator);
    s2.beat(&mut coordinator);
    assert_eq!((s1.reads(RAINBOW), s2.reads(RAINBOW)), (vec![0, 1], vec![2]));
}
