//! Descriptions of a group and its members.

use super::*;
use grower_protocol::message::Holding;

fn holding(partition: u32, since: u64, pending_revocation: bool) -> Holding {
    let since = Timestamp::default().plus_millis(DATE + since);
    Holding { topic: RAINBOW, partition: PartitionId::new(partition), since, pending_revocation }
}

#[test]
fn a_description_shows_each_members_partitions_and_when_they_were_granted() {
    let coordinator = &mut Coordinator::new();
    let mut s1 = Member { instance: Some("left".to_owned()), ..Member::new("S1", &["rainbow"]) };
    let mut s2 = Member::new("S2", &["rainbow"]);
    quiet(coordinator, &mut [&mut s1]);
    coordinator.wait(500);
    s2.beat(coordinator);
    coordinator.heartbeat(&s1.says()).unwrap(); // Told to give up 2; the answer is under way.
    coordinator.wait(100);

    let seen = coordinator.describe().unwrap();
    let [first, second] = &seen.members[..] else { panic!("{seen:?}") };
    assert_eq!((first.member.as_str(), first.instance.as_deref(), first.silent_ms), ("S1", Some("left"), 100));
    assert_eq!((first.client.as_deref(), first.address.as_deref()), (Some("a test"), Some("10.0.0.1:5")));
    assert_eq!(first.holds, [holding(0, 0, false), holding(1, 0, false), holding(2, 0, true)]);
    assert_eq!((second.holds.len(), second.awaits[0].partitions.len(), second.silent_ms), (0, 1, 100));

    quiet(coordinator, &mut [&mut s1, &mut s2]);
    let seen = coordinator.describe().unwrap();
    assert_eq!(seen.members[0].holds, [holding(0, 0, false), holding(1, 0, false)]);
    assert_eq!(seen.members[1].holds, [holding(2, 600, false)]);
}

#[test]
fn grant_times_survive_a_restart() {
    let coordinator = &mut Coordinator::new();
    let (mut s1, mut s2) = (Member::new("S1", &["rainbow"]), Member::new("S2", &["rainbow"]));
    quiet(coordinator, &mut [&mut s1]);
    coordinator.wait(500);
    quiet(coordinator, &mut [&mut s1, &mut s2]);
    let holds = |coordinator: &Coordinator| {
        let seen = coordinator.describe().unwrap();
        seen.members.into_iter().map(|member| member.holds).collect::<Vec<_>>()
    };
    let before = holds(coordinator);
    assert_eq!(before[1], [holding(2, 500, false)]);
    coordinator.restart();
    assert_eq!(holds(coordinator), before);
}
