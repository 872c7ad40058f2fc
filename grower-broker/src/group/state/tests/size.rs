//! Memory of groups: it is counted, and bounded by what is left.

use super::super::size::{GROUP, MEMBER, OFFSET, PARTITION};
use super::*;

impl Coordinator {
    fn growth_by_topic(&self, topic: &str, partitions: u32) -> usize {
        self.shard.growth_by_topic(&name(topic), partitions, &self.topics)
    }
}

#[test]
fn memory_of_members_and_offsets_is_counted_until_they_are_gone() {
    let coordinator = &mut Coordinator::new();
    assert_eq!(coordinator.shard.bytes(), 0);
    let mut members = [Member::new("S1", &["rainbow"]), Member::new("S2", &["rainbow", "sandbox"])];
    for member in &mut members {
        member.beat(coordinator);
    }
    let topics = 2 * (128 + 2 * 7) + 128 + 2 * 7;
    assert_eq!(coordinator.shard.bytes(), GROUP + 2 * MEMBER + topics + 5 * PARTITION);
    coordinator.restart();
    assert!(GROUP + 2 * MEMBER <= coordinator.shard.bytes(), "also after a restart");
    coordinator.wait(u64::from(SESSION_MS) + 1);
    assert_eq!(coordinator.shard.bytes(), 0, "an empty group without offsets goes away");
    coordinator.commit(None, topic_id_partition(RAINBOW, 0), 1).unwrap().unwrap();
    coordinator.commit(None, topic_id_partition(RAINBOW, 0), 2).unwrap().unwrap();
    assert!((GROUP + OFFSET..GROUP + OFFSET + 100).contains(&coordinator.shard.bytes()));
    let step = coordinator.shard.delete(&group());
    coordinator.settle(step).unwrap();
    assert_eq!(coordinator.shard.bytes(), 0);
}

#[test]
fn the_memory_that_a_topic_adds_is_known_before_it_is_created_or_grows() {
    let coordinator = &mut Coordinator::new();
    Member::new("S1", &["rainbow", "missing"]).beat(coordinator);
    Member::new("S2", &["rainbow"]).beat(coordinator);
    for (topic, id, partitions) in [("rainbow", RAINBOW, 7), ("missing", TopicId::from_bytes([9; 16]), 4)] {
        let before = coordinator.shard.bytes();
        let more = coordinator.growth_by_topic(topic, partitions);
        coordinator.topics.insert(name(topic), CatalogTopic { topic: id, partitions });
        coordinator.topics_changed();
        assert_eq!((more, coordinator.shard.bytes()), (4 * PARTITION, before + more), "{topic}");
        assert_eq!(coordinator.growth_by_topic(topic, partitions), 0, "it is counted");
    }
    assert_eq!(coordinator.growth_by_topic("unread", 1_000), 0);
    coordinator.restart();
    for (topic, partitions) in [("rainbow", 9), ("missing", 6)] {
        assert_eq!(
            coordinator.growth_by_topic(topic, partitions),
            2 * PARTITION,
            "{topic}: also before a member speaks"
        );
    }
    assert_eq!(coordinator.growth_by_topic("unread", 1_000), 0);
}

#[test]
fn a_request_for_more_memory_than_is_left_is_refused_and_others_are_served() {
    let coordinator = &mut Coordinator::new();
    let mut member = Member::new("S1", &["rainbow"]);
    member.beat(coordinator);
    coordinator.shard.set_memory_left(0);
    let before = coordinator.shard.bytes();
    let other = Member::new("S2", &["rainbow"]);
    assert_eq!(code(coordinator.heartbeat(&other.says())), ErrorCode::MemoryFull);
    member.beat(coordinator);
    let wider = Heartbeat { topics: vec![name("rainbow"), name("sandbox")], ..member.says() };
    assert_eq!(code(coordinator.heartbeat(&wider)), ErrorCode::MemoryFull);
    assert_eq!(code(coordinator.commit(Some(&member), topic_id_partition(RAINBOW, 0), 1)), ErrorCode::MemoryFull);
    assert_eq!(coordinator.shard.bytes(), before, "nothing of what was refused is kept");
    coordinator.shard.set_memory_left(10_000);
    coordinator.commit(Some(&member), topic_id_partition(RAINBOW, 0), 1).unwrap().unwrap();
    coordinator.shard.set_memory_left(0);
    coordinator.commit(Some(&member), topic_id_partition(RAINBOW, 0), 2).unwrap().unwrap(); // Takes no more than before.
    coordinator.shard.set_memory_left(10_000);
    assert!(coordinator.heartbeat(&wider).is_ok());
    assert!(ErrorCode::MemoryFull.is_retriable());
}
