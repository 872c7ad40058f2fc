use super::*;
use crate::metadata::image::{Applied, raise_minimum_ids, snapshot};
use grower_protocol::ids::ProducerEpoch;
use grower_protocol::message::ErrorCode;
use insta::assert_snapshot;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const AT: Timestamp = Timestamp::from_millis(1_795_000_000_000);

fn name(text: &str) -> ProducerName {
    ProducerName::new(text).unwrap()
}

fn identity(id: u64, epoch: u16) -> ProducerIdentity {
    ProducerIdentity { id: ProducerId::new(ProducerId::NAMED.start.value() + id), epoch: ProducerEpoch::new(epoch) }
}

fn claim(
    image: &mut Image,
    text: &str,
    holder: u64,
    current: Option<ProducerIdentity>,
) -> Result<ProducerIdentity, MetadataRefusal> {
    let claim = ProducerClaim { name: name(text), holder: ProducerHolder::new(holder), current };
    let repeated = image.repeated_claim(&claim);
    let command = image.claim_producer(&claim, ProducerId::new(0), AT, 1_000)?;
    let Applied::ProducerClaimed(identity) = image.apply(command)? else { panic!("a claim gives an identity") };
    assert!(repeated.is_none_or(|repeated| repeated == identity));
    Ok(identity)
}

fn restore(image: &mut Image) {
    let raise = raise_minimum_ids(image, None, AT);
    image.apply(raise).unwrap();
}

#[test]
fn each_claim_of_another_process_gets_the_next_epoch_of_the_same_id() {
    let mut image = Image::default();
    assert_eq!(claim(&mut image, "a", 1, None), Ok(identity(0, 0)));
    assert_eq!(claim(&mut image, "b", 1, None), Ok(identity(1, 0)));
    assert_eq!(claim(&mut image, "a", 2, None), Ok(identity(0, 1)));
    assert_eq!(image.check_named(identity(0, 1)), Ok(()));
    assert_snapshot!(image.check_named(identity(0, 0)).unwrap_err(), @"epoch 0 of producer a is fenced: the name was claimed at 2026-11-18T11:06:40Z, and epoch 1 of id 6755399441055744 writes");
    assert_snapshot!(image.check_named(identity(0, 2)).unwrap_err(), @"epoch 2 of producer a was never issued, the current one is 1: claim the name again");
    assert_snapshot!(image.check_named(identity(2, 0)).unwrap_err(), @"no name has producer id 6755399441055746: its name was deleted or never claimed, so claim it again");
}

#[test]
fn a_repeated_request_of_the_holder_has_one_effect() {
    let mut image = Image::default();
    let first = claim(&mut image, "a", 1, None).unwrap();
    assert_eq!(claim(&mut image, "a", 1, None), Ok(first));
    let renewed = claim(&mut image, "a", 1, Some(first)).unwrap();
    assert_eq!(renewed, identity(0, 1));
    assert_eq!(claim(&mut image, "a", 1, Some(first)), Ok(renewed));
    assert_eq!(claim(&mut image, "a", 1, None), Ok(renewed));
}

#[test]
fn a_former_holder_cannot_renew() {
    let mut image = Image::default();
    let first = claim(&mut image, "a", 1, None).unwrap();
    let second = claim(&mut image, "a", 2, None).unwrap();
    let refused = claim(&mut image, "a", 1, Some(first)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::FencedProducer);
    assert_snapshot!(refused, @"another process claimed producer a at 2026-11-18T11:06:40Z: only the latest holder of a name writes");
    assert_eq!(claim(&mut image, "a", 1, Some(second)), Err(refused), "not even with the identity of another");
    let command = image.delete_producer(&name("a")).unwrap();
    image.apply(command).unwrap();
    assert_snapshot!(claim(&mut image, "a", 2, Some(second)).unwrap_err(), @"producer a was deleted: claim the name again");
    assert_snapshot!(image.delete_producer(&name("a")).unwrap_err(), @"there is no producer a");
    assert!(matches!(image.check_named(second), Err(ProducerRefusal::Nameless { .. })));
    assert_eq!(claim(&mut image, "a", 2, None), Ok(identity(1, 0)), "a deleted name begins with a fresh id");
}

#[test]
fn a_delayed_claim_of_a_former_holder_is_refused() {
    let mut image = Image::default();
    let first = claim(&mut image, "a", 1, None).unwrap();
    let second = claim(&mut image, "a", 2, None).unwrap();
    let delayed = claim(&mut image, "a", 1, None);
    assert!(matches!(&delayed, Err(refusal) if refusal.code() == ErrorCode::FencedProducer), "{delayed:?}");
    assert_eq!(claim(&mut image, "a", 1, Some(first)), delayed);
    assert_eq!(image.check_named(second), Ok(()), "the latest holder still writes");
    image = snapshot::decode(&snapshot::encode(&image)).unwrap();
    restore(&mut image);
    assert_eq!(claim(&mut image, "a", 1, None), delayed);
}

#[test]
fn the_oldest_former_holders_are_dropped() {
    let mut image = Image::default();
    for holder in 0..=FORMER_HOLDERS_MAX as u64 + 1 {
        claim(&mut image, "a", holder, None).unwrap();
    }
    assert_eq!(image.named_producer(&name("a")).unwrap().former_holders.len(), FORMER_HOLDERS_MAX);
    assert!(claim(&mut image, "a", 1, None).is_err());
    assert!(claim(&mut image, "a", 0, None).is_ok());
    let bytes = image.named_producer_bytes();
    image = snapshot::decode(&snapshot::encode(&image)).unwrap();
    assert_eq!(image.named_producer_bytes(), bytes);
}

#[test]
fn a_name_whose_epochs_have_run_out_gets_a_fresh_id_and_keeps_the_former_one() {
    let mut image = Image::default();
    let mut last = claim(&mut image, "a", 1, None).unwrap();
    while last.epoch < ProducerEpoch::MAX {
        last = claim(&mut image, "a", 1, Some(last)).unwrap();
    }
    assert_eq!(last, identity(0, i16::MAX as u16));
    assert_eq!(claim(&mut image, "a", 1, Some(last)), Ok(identity(1, 0)));
    assert_eq!(image.named_producer(&name("a")).unwrap().former, [last.id]);
    assert!(matches!(image.check_named(last), Err(ProducerRefusal::Fenced { .. })));
}

#[test]
fn after_a_restore_each_name_gets_a_fresh_id_and_nothing_from_before_may_write() {
    let mut image = Image::default();
    let before = claim(&mut image, "a", 1, None).unwrap();
    restore(&mut image);
    assert_snapshot!(image.check_named(before).unwrap_err(), @"producer a was claimed before a restore of the broker's data: claim the name again");
    let after = claim(&mut image, "a", 1, None).unwrap();
    assert!(before.id < after.id && after.epoch == ProducerEpoch::new(0));
    assert_eq!(image.check_named(after), Ok(()));
    assert!(image.check_named(before).is_err());
    assert_eq!(image.producer_with_id(before.id).unwrap().former, [before.id]);
}

#[test]
fn the_oldest_former_ids_are_dropped() {
    let mut image = Image::default();
    let first = claim(&mut image, "a", 1, None).unwrap();
    for _ in 0..=FORMER_IDS_MAX {
        restore(&mut image);
        claim(&mut image, "a", 1, None).unwrap();
    }
    assert_eq!(image.named_producer(&name("a")).unwrap().former.len(), FORMER_IDS_MAX);
    assert!(matches!(image.check_named(first), Err(ProducerRefusal::Nameless { .. })));
}

#[test]
fn a_new_name_beyond_the_limit_is_refused_and_known_ones_are_claimed() {
    let mut image = Image::default();
    claim(&mut image, "a", 1, None).unwrap();
    let new = |text: &str| ProducerClaim { name: name(text), holder: ProducerHolder::new(2), current: None };
    assert!(image.claim_producer(&new("a"), ProducerId::new(0), AT, 1).is_ok());
    assert_snapshot!(image.claim_producer(&new("b"), ProducerId::new(0), AT, 1).unwrap_err(), @"the limit of 1 named producers is reached: delete one that is not used any more (grower-cli producer delete NAME), or raise producers.named_max");
}

#[test]
fn an_expired_name_that_was_claimed_again_meanwhile_stays() {
    let mut image = Image::default();
    claim(&mut image, "a", 1, None).unwrap();
    let expire = image.delete_producer(&name("a")).unwrap();
    let again = claim(&mut image, "a", 2, None).unwrap();
    image.apply(expire).unwrap();
    assert_eq!(image.check_named(again), Ok(()));
}

#[test]
fn a_snapshot_in_which_two_names_have_one_id_is_damaged() {
    let mut image = Image::default();
    claim(&mut image, "a", 1, None).unwrap();
    let producer = NamedProducer::clone(image.named_producer(&name("a")).unwrap());
    assert!(!image.producers.restore(producer.clone()));
    assert!(!image.producers.restore(NamedProducer { name: name("b"), ..producer.clone() }));
    let foreign = ProducerIdentity { id: ProducerId::new(7), ..producer.identity };
    assert!(!image.producers.restore(NamedProducer { name: name("b"), identity: foreign, ..producer }));
}

#[test]
fn ten_thousand_names_take_little_memory_and_all_survive_a_snapshot() {
    let mut image = Image::default();
    for number in 0..10_000 {
        let claim = ProducerClaim { name: name(&format!("n{number}")), holder: ProducerHolder::new(1), current: None };
        let command = image.claim_producer(&claim, ProducerId::new(0), AT, 10_000).unwrap();
        image = image.clone(); // As for each group of commands.
        image.apply(command).unwrap();
    }
    assert!(image.named_producer_bytes() < 4 << 20, "{}", image.named_producer_bytes());
    assert_eq!(snapshot::decode(&snapshot::encode(&image)).unwrap(), image);
}

#[derive(Clone, Debug)]
enum Step {
    Claim { name: u8, holder: u64 },
    Renew { name: u8, holder: u64 },
    Forget { name: u8 },
    Restore,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let (name, holder) = (0u8..3, 1u64..6);
    prop_oneof![
        6 => (name.clone(), holder.clone()).prop_map(|(name, holder)| Step::Claim { name, holder }),
        6 => (name.clone(), holder).prop_map(|(name, holder)| Step::Renew { name, holder }),
        1 => name.prop_map(|name| Step::Forget { name }),
        1 => Just(Step::Restore),
        1 => Just(Step::Reopen),
    ]
}

/// The answers to the processes, in order.
#[derive(Default)]
struct Issued {
    /// The latest identity that each process got for a name.
    held: BTreeMap<(u8, u64), ProducerIdentity>,
    /// The identity of each name that may write; none after a restore.
    current: BTreeMap<u8, Option<(u64, ProducerIdentity)>>,
    holders: BTreeMap<u8, u64>,
    former_holders: BTreeSet<(u8, u64)>,
    owners: BTreeMap<ProducerId, u8>,
    all: BTreeSet<(ProducerId, ProducerEpoch)>,
}

impl Issued {
    fn take(&mut self, name: u8, holder: u64, identity: ProducerIdentity) {
        assert_eq!(*self.owners.entry(identity.id).or_insert(name), name, "an id belongs to one name");
        let is_new = self.all.insert((identity.id, identity.epoch));
        let had_it = self.current.get(&name) == Some(&Some((holder, identity)));
        assert!(is_new || had_it, "{identity:?} was issued twice");
        self.held.insert((name, holder), identity);
        let former = self.holders.insert(name, holder).filter(|former| *former != holder);
        self.former_holders.extend(former.map(|former| (name, former)));
        self.current.insert(name, Some((holder, identity)));
    }
}

proptest! {
    #[test]
    fn only_the_latest_identity_of_a_name_may_write(steps in proptest::collection::vec(step(), 0..60)) {
        let (mut image, mut issued) = (Image::default(), Issued::default());
        let names = ["a", "b", "c"];
        for step in steps {
            match step {
                Step::Claim { name, holder } => {
                    let claimed = claim(&mut image, names[usize::from(name)], holder, None);
                    prop_assert_eq!(claimed.is_ok(), !issued.former_holders.contains(&(name, holder)));
                    claimed.into_iter().for_each(|identity| issued.take(name, holder, identity));
                }
                Step::Renew { name, holder } => {
                    let Some(held) = issued.held.get(&(name, holder)).copied() else { continue };
                    let renewed = claim(&mut image, names[usize::from(name)], holder, Some(held));
                    prop_assert_eq!(renewed.is_ok(), issued.holders.get(&name) == Some(&holder));
                    renewed.into_iter().for_each(|identity| issued.take(name, holder, identity));
                }
                Step::Forget { name } => {
                    if let Ok(command) = image.delete_producer(&super::tests::name(names[usize::from(name)])) {
                        image.apply(command).unwrap();
                    }
                    issued.current.remove(&name);
                    issued.holders.remove(&name);
                    issued.former_holders.retain(|(former, _)| *former != name);
                }
                Step::Restore => {
                    restore(&mut image);
                    issued.current.values_mut().for_each(|current| *current = None);
                }
                Step::Reopen => {
                    let read = snapshot::decode(&snapshot::encode(&image)).unwrap();
                    prop_assert_eq!(&read, &image);
                    image = read;
                }
            }
            let writers: BTreeSet<_> = issued.current.values().flatten().map(|(_, identity)| (identity.id, identity.epoch)).collect();
            for (id, epoch) in &issued.all {
                let may_write = image.check_named(ProducerIdentity { id: *id, epoch: *epoch }).is_ok();
                prop_assert_eq!(may_write, writers.contains(&(*id, *epoch)));
            }
        }
    }
}
