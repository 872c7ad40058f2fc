//! Who is taken for dead, and who is not though nothing was heard of it.

use super::*;

fn alone() -> (Coordinator, Member) {
    let (mut coordinator, mut s1) = (Coordinator::new(), Member::new("S1", &["rainbow"]));
    quiet(&mut coordinator, &mut [&mut s1]);
    (coordinator, s1)
}

fn is_member(coordinator: &Coordinator, member: &Member) -> bool {
    let described = coordinator.shard.describe(&group());
    described.is_ok_and(|group| group.members.iter().any(|known| known.member == member.id))
}

#[test]
fn a_session_does_not_end_while_its_heartbeat_waits_for_the_answer() {
    let (mut coordinator, s1) = alone();
    coordinator.shard.begin_answer(&group(), &s1.id);
    coordinator.shard.begin_answer(&group(), &s1.id); // Another one, over another connection.
    coordinator.wait(5 * u64::from(SESSION_MS));
    coordinator.shard.end_answer(&group(), &s1.id, coordinator.now);
    coordinator.wait(5 * u64::from(SESSION_MS));
    assert!(is_member(&coordinator, &s1));
    coordinator.shard.end_answer(&group(), &s1.id, coordinator.now);
    coordinator.wait(u64::from(SESSION_MS) - 1);
    assert!(is_member(&coordinator, &s1), "it has a full session from the answer on");
    coordinator.wait(1);
    assert!(!is_member(&coordinator, &s1));
}

#[test]
fn an_answer_to_somebody_who_is_no_member_leaves_nothing_behind() {
    let mut coordinator = Coordinator::new();
    let stranger = Member::new("S9", &["rainbow"]);
    coordinator.shard.begin_answer(&group(), &stranger.id);
    coordinator.shard.end_answer(&group(), &stranger.id, coordinator.now);
    coordinator.shard.end_answer(&group(), &stranger.id, coordinator.now);
    assert!(coordinator.shard.list().is_empty());
}

#[test]
fn whoever_lost_its_name_gets_no_longer_session_by_a_late_answer() {
    let mut coordinator = Coordinator::new();
    let named = |id| Member { instance: Some("pinkie".to_owned()), ..Member::new(id, &["rainbow"]) };
    let (mut s1, mut s2) = (named("S1"), named("S2"));
    s1.beat(&mut coordinator);
    coordinator.shard.begin_answer(&group(), &s1.id);
    s2.beat(&mut coordinator);
    s2.beat(&mut coordinator);
    coordinator.shard.end_answer(&group(), &s1.id, coordinator.now);
    coordinator.wait(3_000);
    assert!(!is_member(&coordinator, &s1), "the lease of the name is over");
    assert!(is_member(&coordinator, &s2));
}

#[test]
fn time_in_which_the_broker_stood_still_counts_for_no_session() {
    let (mut coordinator, s1) = alone();
    coordinator.shard.extend_sessions(60_000);
    coordinator.wait(60_000 + u64::from(SESSION_MS) - 1);
    assert!(is_member(&coordinator, &s1));
    coordinator.wait(1);
    assert!(!is_member(&coordinator, &s1));
}
