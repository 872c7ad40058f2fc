//! The states of one producer against a model that remembers everything: its batches and fences in any order.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// A batch of an epoch near the current one, a few sequences before or after the expected one.
    Batch {
        epoch: i8,
        shift: i8,
        records: u32,
    },
    /// A batch that starts at 0.
    FromZero {
        epoch: i8,
        records: u32,
    },
    /// One of the latest batches in the log, again.
    Again(usize),
    Fence {
        epoch: i8,
    },
    /// The states are stored and read.
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    epoch: u16,
    sequence: i32,
    records: u32,
    offset: u64,
}

#[derive(Default)]
struct Model {
    log: Vec<Sent>,
    /// The latest epoch that a batch or a fence began; none before the first.
    epoch: Option<u16>,
    end: u64,
}

impl Model {
    fn next_sequence(&self) -> i32 {
        self.log.last().map_or(0, |last| last.sequence + last.records as i32)
    }

    fn expected(&self, sent: Sent) -> SequenceCheck {
        let Some(epoch) = self.epoch else {
            return if sent.sequence == 0 { SequenceCheck::Accept } else { out_of_order(0) };
        };
        let is_same = |old: &&Sent| Sent { offset: 0, ..**old } == sent;
        if let Some(old) = self.log.iter().rev().take(5).find(is_same) {
            return SequenceCheck::Duplicate(Offset::new(old.offset)..Offset::new(old.offset + u64::from(old.records)));
        }
        let begins = self.log.last().is_none_or(|last| last.epoch < sent.epoch);
        if sent.epoch < epoch {
            SequenceCheck::Fenced { current: ProducerEpoch::new(epoch) }
        } else if sent.sequence == self.next_sequence() || (begins && sent.sequence == 0) {
            SequenceCheck::Accept
        } else {
            out_of_order(self.next_sequence())
        }
    }

    /// The last record of the epochs before this one.
    fn last_before(&self, epoch: u16) -> Option<LastWritten> {
        let last = self.log.iter().rfind(|sent| sent.epoch < epoch)?;
        let producer = ProducerIdentity { id: ProducerId::new(1), epoch: ProducerEpoch::new(last.epoch) };
        let more = last.records - 1;
        let sequence = Sequence::from_wire(last.sequence).unwrap().wrapping_add(more);
        Some(LastWritten { producer, sequence, offset: Offset::new(last.offset + u64::from(more)) })
    }
}

fn step() -> impl Strategy<Value = Step> {
    let epoch = || -2i8..3;
    prop_oneof![
        6 => (prop_oneof![4 => Just(0i8), 1 => epoch()], -3i8..3, 1u32..4)
            .prop_map(|(epoch, shift, records)| Step::Batch { epoch, shift: shift.max(0), records }),
        2 => (epoch(), -3i8..3, 1u32..4).prop_map(|(epoch, shift, records)| Step::Batch { epoch, shift, records }),
        2 => (epoch(), 1u32..4).prop_map(|(epoch, records)| Step::FromZero { epoch, records }),
        3 => (0usize..8).prop_map(Step::Again),
        3 => epoch().prop_map(|epoch| Step::Fence { epoch }),
        1 => Just(Step::Restart),
    ]
}

fn send(model: &mut Model, states: &mut ProducerStates, sent: Sent) -> Result<(), TestCaseError> {
    let header = |offset| header(1, sent.epoch, sent.sequence, sent.records, offset);
    let check = states.check(&header(0));
    prop_assert_eq!(&check, &model.expected(sent), "{:?}", sent);
    if check != SequenceCheck::Accept {
        return Ok(());
    }
    prop_assert!(model.epoch <= Some(sent.epoch), "a batch of an earlier epoch came after the fence");
    prop_assert!(!model.log.iter().any(|old| Sent { offset: 0, ..*old } == sent), "it is written twice");
    states.note(&header(model.end), at(0));
    model.log.push(Sent { offset: model.end, ..sent });
    model.end += u64::from(sent.records);
    model.epoch = Some(sent.epoch);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn no_batch_of_an_earlier_epoch_follows_a_fence_and_the_last_record_is_right(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (mut model, mut states) = (Model::default(), ProducerStates::default());
        for step in steps {
            let near = |shift: i8| model.epoch.unwrap_or(3).saturating_add_signed(shift.into());
            match step {
                Step::Batch { epoch, shift, records } => {
                    let sequence = model.next_sequence().saturating_add(shift.into()).max(0);
                    let sent = Sent { epoch: near(epoch), sequence, records, offset: 0 };
                    send(&mut model, &mut states, sent)?;
                }
                Step::FromZero { epoch, records } => {
                    let sent = Sent { epoch: near(epoch), sequence: 0, records, offset: 0 };
                    send(&mut model, &mut states, sent)?;
                }
                Step::Again(nth) => {
                    let Some(sent) = model.log.iter().rev().nth(nth).copied() else { continue };
                    send(&mut model, &mut states, Sent { offset: 0, ..sent })?;
                }
                Step::Fence { epoch } => {
                    let epoch = near(epoch);
                    let fenced = fence(&mut states, 1, epoch);
                    match model.epoch.filter(|current| epoch < *current) {
                        Some(current) => prop_assert_eq!(fenced, Err(ProducerEpoch::new(current))),
                        None => prop_assert_eq!(fenced, Ok(model.last_before(epoch))),
                    }
                    model.epoch = model.epoch.max(Some(epoch));
                }
                Step::Restart => {
                    let stored = ProducerSnapshot { offset: Offset::new(model.end), states };
                    let bytes = state_file::encode(&stored);
                    states = state_file::decode::<ProducerSnapshot>(Path::new("s"), &bytes).unwrap().states;
                }
            }
        }
    }
}
