//! Commits: senders, partitions and their order.

use super::*;
use grower_protocol::ids::CommitterId;
use grower_protocol::message::{CommitterIdentity, StartOffsets};

#[test]
fn a_member_commits_only_for_partitions_that_it_owns() {
    let (mut coordinator, s1, s2) = two_members();
    assert_eq!(coordinator.commit(Some(&s1), topic_id_partition(RAINBOW, 0), 5), Ok(Ok(())));
    assert_eq!(coordinator.committed(topic_id_partition(RAINBOW, 0)), Some(5));
    assert_eq!(code(coordinator.commit(Some(&s2), topic_id_partition(RAINBOW, 0), 6).unwrap()), ErrorCode::NotAssigned);
    assert_eq!(coordinator.committed(topic_id_partition(RAINBOW, 0)), Some(5));
    assert_eq!(coordinator.committed(topic_id_partition(RAINBOW, 1)), None);
}

#[test]
fn a_member_may_commit_until_it_gave_the_partition_up() {
    let (mut coordinator, mut s1, s2) = two_members();
    let mut s3 = Member::new("S3", &["rainbow"]);
    s3.beat(&mut coordinator);
    let answer = coordinator.heartbeat(&s1.says()).unwrap(); // Without 1.
    assert_eq!(coordinator.commit(Some(&s1), topic_id_partition(RAINBOW, 1), 5), Ok(Ok(()))); // The answer is under way.
    s1.hears(&answer);
    assert_eq!(coordinator.commit(Some(&s1), topic_id_partition(RAINBOW, 1), 6), Ok(Ok(()))); // Revoked, but not yet released.
    s1.beat(&mut coordinator);
    assert_eq!(code(coordinator.commit(Some(&s1), topic_id_partition(RAINBOW, 1), 7).unwrap()), ErrorCode::NotAssigned);
    assert_eq!(coordinator.commit(Some(&s2), topic_id_partition(RAINBOW, 2), 9), Ok(Ok(())));
    assert_eq!(coordinator.committed(topic_id_partition(RAINBOW, 1)), Some(6));
}

#[test]
fn an_offset_past_the_log_end_is_refused() {
    let (mut coordinator, s1, _) = two_members();
    assert_eq!(coordinator.commit(Some(&s1), topic_id_partition(RAINBOW, 0), LOG_END.value()), Ok(Ok(())));
    let past = coordinator.commit(Some(&s1), topic_id_partition(RAINBOW, 0), LOG_END.value() + 1).unwrap();
    assert_eq!(code(past), ErrorCode::OffsetOutOfRange);
}

#[test]
fn expired_and_fenced_members_cannot_commit() {
    let (mut coordinator, s1, _) = two_members();
    let fenced = Member { epoch: MemberEpoch::new(99), ..s1.clone() };
    assert_eq!(code(coordinator.commit(Some(&fenced), topic_id_partition(RAINBOW, 0), 5)), ErrorCode::FencedMember);
    let joining = Member { epoch: MemberEpoch::default(), ..s1.clone() };
    assert_eq!(code(coordinator.commit(Some(&joining), topic_id_partition(RAINBOW, 0), 5)), ErrorCode::FencedMember);
    coordinator.wait(SESSION_MS.into());
    assert_eq!(code(coordinator.commit(Some(&s1), topic_id_partition(RAINBOW, 0), 5)), ErrorCode::UnknownMember);
}

#[test]
fn a_delayed_commit_from_before_another_owner_is_refused() {
    let (mut coordinator, mut s1, mut s2) = two_members();
    let sent = s1.clone();
    let mut s3 = Member::new("S3", &["rainbow"]);
    quiet(&mut coordinator, &mut [&mut s1, &mut s2, &mut s3]);
    assert_eq!(s2.reads(RAINBOW), [1]);
    coordinator.commit(Some(&s2), topic_id_partition(RAINBOW, 1), 9).unwrap().unwrap();
    let step = coordinator.shard.leave(&group(), &s3.id);
    coordinator.settle(step).unwrap();
    quiet(&mut coordinator, &mut [&mut s1, &mut s2]);
    assert_eq!((sent.reads(RAINBOW), s1.reads(RAINBOW)), (vec![0, 1], vec![0, 1]), "it has it again");
    assert_eq!(code(coordinator.commit(Some(&sent), topic_id_partition(RAINBOW, 1), 5)), ErrorCode::FencedMember);
    assert_eq!(coordinator.committed(topic_id_partition(RAINBOW, 1)), Some(9));
}

#[test]
fn an_overtaken_commit_is_refused_and_a_repeated_one_is_accepted() {
    let (mut coordinator, s1, s2) = two_members();
    let numbered = |member: &Member, commits| Member { commits, ..member.clone() };
    assert_eq!(coordinator.commit(Some(&numbered(&s1, 1)), topic_id_partition(RAINBOW, 0), 5), Ok(Ok(())));
    assert_eq!(coordinator.commit(Some(&numbered(&s1, 1)), topic_id_partition(RAINBOW, 0), 5), Ok(Ok(())));
    assert_eq!(
        coordinator.commit(Some(&numbered(&s1, 2)), topic_id_partition(RAINBOW, 0), 3),
        Ok(Ok(())),
        "it went back by itself"
    );
    let late = coordinator.commit(Some(&numbered(&s1, 1)), topic_id_partition(RAINBOW, 0), 5);
    assert_eq!(
        late.unwrap_err().detail,
        "commit 1 of S1 arrived after a later one: wait for the answer to each commit before the next"
    );
    assert_eq!(coordinator.committed(topic_id_partition(RAINBOW, 0)), Some(3));
    assert_eq!(
        coordinator.commit(Some(&numbered(&s2, 1)), topic_id_partition(RAINBOW, 2), 9),
        Ok(Ok(())),
        "each member counts its own"
    );
    coordinator.restart();
    assert_eq!(coordinator.commit(Some(&numbered(&s1, 3)), topic_id_partition(RAINBOW, 0), 4), Ok(Ok(())));
}

#[test]
fn a_member_that_joins_again_numbers_its_commits_from_1_and_older_ones_are_refused() {
    let (mut coordinator, s1, _) = two_members();
    let before = Member { commits: 7, ..s1.clone() };
    assert_eq!(coordinator.commit(Some(&before), topic_id_partition(RAINBOW, 0), 5), Ok(Ok(())));
    let mut s1 = Member::new("S1", &["rainbow"]);
    let joined = coordinator.heartbeat(&s1.says()).unwrap();
    s1.hears(&joined);
    s1.commits = 1;
    assert_eq!(coordinator.commit(Some(&s1), topic_id_partition(RAINBOW, 0), 6), Ok(Ok(())));
    let late = Member { commits: 8, ..before };
    assert_eq!(code(coordinator.commit(Some(&late), topic_id_partition(RAINBOW, 0), 5)), ErrorCode::InvalidRequest);
    assert_eq!(coordinator.committed(topic_id_partition(RAINBOW, 0)), Some(6));
}

#[test]
fn committers_outside_the_group_are_refused_while_it_has_members() {
    let (mut coordinator, s1, s2) = two_members();
    assert_eq!(code(coordinator.commit(None, topic_id_partition(RAINBOW, 0), 5)), ErrorCode::GroupNotEmpty);
    for member in [&s1, &s2] {
        let step = coordinator.shard.leave(&group(), &member.id);
        coordinator.settle(step).unwrap();
    }
    assert_eq!(coordinator.commit(None, topic_id_partition(RAINBOW, 0), 5), Ok(Ok(())));
    coordinator.restart();
    assert_eq!(coordinator.committed(topic_id_partition(RAINBOW, 0)), Some(5));
}

#[test]
fn a_commit_that_was_not_appended_has_no_effect() {
    let (mut coordinator, s1, _) = two_members();
    coordinator.commit(Some(&s1), topic_id_partition(RAINBOW, 0), 5).unwrap().unwrap();
    let request = OffsetToCommit {
        topic: RAINBOW,
        partition: PartitionId::new(0),
        offset: Offset::new(6),
        leader_epoch: None,
        metadata: String::new(),
    };
    let commit = OffsetCommit {
        group: group(),
        committer: CommitterIdentity::Member(s1.id.clone(), s1.epoch),
        sequence: 0,
        offsets: vec![request],
    };
    let step = coordinator.shard.commit_offsets(&commit, &|_, _| Some(LOG_END));
    assert!(step.settle(&mut coordinator.shard, |_| Err("the disk is full")).is_err());
    assert_eq!(coordinator.committed(topic_id_partition(RAINBOW, 0)), Some(5));
}

#[test]
fn a_deleted_group_has_no_offsets() {
    let (mut coordinator, s1, _) = two_members();
    coordinator.commit(Some(&s1), topic_id_partition(RAINBOW, 0), 5).unwrap().unwrap();
    let refused = coordinator.shard.delete(&group());
    assert_eq!(code(coordinator.settle(refused)), ErrorCode::GroupNotEmpty);
    coordinator.wait(SESSION_MS.into());
    assert_eq!(coordinator.committed(topic_id_partition(RAINBOW, 0)), Some(5));
    let step = coordinator.shard.delete(&group());
    coordinator.settle(step).unwrap();
    for _ in 0..2 {
        assert_eq!(coordinator.committed(topic_id_partition(RAINBOW, 0)), None);
        assert_eq!(coordinator.describe().unwrap_err().code(), ErrorCode::UnknownGroup);
        coordinator.restart();
    }
    let again = coordinator.shard.delete(&group());
    assert_eq!(code(coordinator.settle(again)), ErrorCode::UnknownGroup);
}

fn start_at(committer: &Member, starts: &[(TopicIdPartition, u64)]) -> StartOffsets {
    let committer = CommitterIdentity::Member(committer.id.clone(), committer.epoch);
    let starts = starts.iter().map(|(partition, offset)| to_commit(*partition, *offset)).collect();
    StartOffsets { group: group(), committer, starts }
}

fn start(coordinator: &mut Coordinator, request: &StartOffsets) -> Result<Vec<u64>, ErrorCode> {
    let step = coordinator.shard.start_offsets(request, &|_, _| Some(LOG_END));
    let offsets = coordinator.settle(step).map_err(|failure| failure.code)?;
    Ok(offsets.into_iter().map(|committed| committed.offset.value()).collect())
}

#[test]
fn start_offsets_are_decided_once_for_all_partitions_of_a_topic() {
    let (mut coordinator, s1, s2) = two_members();
    let first = start_at(&s1, &[(topic_id_partition(RAINBOW, 0), 100), (topic_id_partition(RAINBOW, 1), 70)]);
    assert_eq!(start(&mut coordinator, &first), Ok(vec![100, 70]));
    let second = start_at(
        &s2,
        &[
            (topic_id_partition(RAINBOW, 0), 1),
            (topic_id_partition(RAINBOW, 1), 2),
            (topic_id_partition(RAINBOW, 2), 100),
        ],
    );
    let decided = vec![100, 70, 0];
    assert_eq!(start(&mut coordinator, &second), Ok(decided.clone()), "a partition that came later begins at 0");
    assert_eq!(start(&mut coordinator, &first), Ok(decided[..2].to_vec()));
    assert_eq!(coordinator.committed(topic_id_partition(RAINBOW, 2)), Some(0));
    let other_topic = start_at(&s1, &[(topic_id_partition(SANDBOX, 1), 9)]);
    assert_eq!(start(&mut coordinator, &other_topic), Ok(vec![9]));
}

#[test]
fn only_members_decide_start_offsets() {
    let (mut coordinator, s1, _) = two_members();
    let starts = [(topic_id_partition(RAINBOW, 0), 5)];
    let fenced = Member { epoch: MemberEpoch::new(99), ..s1.clone() };
    assert_eq!(start(&mut coordinator, &start_at(&fenced, &starts)), Err(ErrorCode::FencedMember));
    let outside = CommitterIdentity::Outside(CommitterId::new("c").unwrap());
    let outside = StartOffsets { committer: outside, ..start_at(&s1, &starts) };
    assert_eq!(start(&mut coordinator, &outside), Err(ErrorCode::GroupNotEmpty));
    let past = start_at(&s1, &[(topic_id_partition(RAINBOW, 0), LOG_END.value() + 1)]);
    assert_eq!(start(&mut coordinator, &past), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(coordinator.committed(topic_id_partition(RAINBOW, 0)), None);
}
