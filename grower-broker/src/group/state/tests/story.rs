//! The tutorial's scenario, and the life of a group around it.

use super::*;

#[test]
fn range_assigns_as_the_tutorial_tells() {
    let coordinator = &mut Coordinator::new();
    let mut s1 = Member::new("S1", &["rainbow"]);
    quiet(coordinator, &mut [&mut s1]);
    assert_eq!(s1.reads(RAINBOW), [0, 1, 2]);

    let mut s2 = Member::new("A-later-name-that-sorts-first", &["rainbow"]);
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    assert_eq!((s1.reads(RAINBOW), s2.reads(RAINBOW)), (vec![0, 1], vec![2]));

    let mut s3 = Member::new("S3", &["rainbow"]);
    let mut s4 = Member::new("S4", &["rainbow"]);
    quiet(coordinator, &mut [&mut s1, &mut s2, &mut s3, &mut s4]);
    let reads = [&s1, &s2, &s3, &s4].map(|member| member.reads(RAINBOW));
    assert_eq!(reads, [vec![0], vec![1], vec![2], vec![]]);
}

#[test]
fn an_expired_members_partitions_go_to_the_others() {
    let coordinator = &mut Coordinator::new();
    let (mut s1, mut s2) = (Member::new("S1", &["rainbow"]), Member::new("S2", &["rainbow"]));
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    coordinator.wait(u64::from(SESSION_MS) - 1); // S1 is silent from here on.
    s2.beat(coordinator);
    assert_eq!(s2.reads(RAINBOW), [2]);
    coordinator.wait(1);
    s2.beat(coordinator);
    assert_eq!(s2.reads(RAINBOW), [0, 1, 2]);
    assert_eq!(code(coordinator.heartbeat(&s1.says())), ErrorCode::UnknownMember);
}

#[test]
fn a_leaving_member_frees_its_partitions_at_once() {
    let coordinator = &mut Coordinator::new();
    let (mut s1, mut s2) = (Member::new("S1", &["rainbow"]), Member::new("S2", &["rainbow"]));
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    let step = coordinator.shard.leave(&group(), &s1.id);
    coordinator.settle(step).unwrap();
    s2.beat(coordinator);
    assert_eq!(s2.reads(RAINBOW), [0, 1, 2]);
}

#[test]
fn a_group_picks_up_new_partitions_and_new_topics() {
    let coordinator = &mut Coordinator::new();
    let (mut s1, mut s2) = (Member::new("S1", &["sandbox", "later"]), Member::new("S2", &["sandbox"]));
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    assert_eq!((s1.reads(SANDBOX), s2.reads(SANDBOX)), (vec![0], vec![1]));
    coordinator.topics.insert(name("sandbox"), CatalogTopic { topic: SANDBOX, partitions: 4 });
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    assert_eq!((s1.reads(SANDBOX), s2.reads(SANDBOX)), (vec![0, 1], vec![2, 3]));
    coordinator.topics.insert(name("later"), CatalogTopic { topic: RAINBOW, partitions: 1 });
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    assert_eq!(s1.reads(RAINBOW), [0]);
}

#[test]
fn a_deleted_topic_is_revoked_and_its_name_may_return_as_another_topic() {
    let coordinator = &mut Coordinator::new();
    let mut s1 = Member::new("S1", &["sandbox"]);
    quiet(coordinator, &mut [&mut s1]);
    coordinator.commit(Some(&s1), topic_id_partition(SANDBOX, 1), 7).unwrap().unwrap();
    coordinator.topics.remove(&name("sandbox"));
    coordinator.topics_changed();
    coordinator.topic_deleted(SANDBOX);
    quiet(coordinator, &mut [&mut s1]);
    assert_eq!(s1.reading, BTreeSet::new());
    let again = TopicId::from_bytes([9; 16]);
    coordinator.topics.insert(name("sandbox"), CatalogTopic { topic: again, partitions: 2 });
    quiet(coordinator, &mut [&mut s1]);
    assert_eq!(s1.reads(again), [0, 1]);
    assert_eq!(coordinator.shard.fetch_offsets(&group(), None), []);
}

#[test]
fn a_group_without_offsets_is_deleted_with_its_last_member() {
    let coordinator = &mut Coordinator::new();
    let mut s1 = Member::new("S1", &["rainbow"]);
    s1.beat(coordinator);
    let epoch = s1.epoch;
    coordinator.wait(SESSION_MS.into());
    assert_eq!(coordinator.shard.list(), []);
    // A process with the old epoch is not mistaken for a member of the new group.
    s1.epoch = MemberEpoch::default();
    s1.reading.clear();
    s1.beat(coordinator);
    assert!(epoch < s1.epoch);
}
