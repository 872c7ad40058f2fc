//! Checks a request against its session before any of it is applied, then applies it.

use super::state::SessionState;
use grower_protocol::message::{AddedSlot, ErrorCode, Failure, FetchSlot, SessionSequence};

/// The most unacknowledged answers of a session.
pub(super) const ANSWERS_UNACKNOWLEDGED_MAX: usize = 8;

/// The changes of the set that a request brings.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotChanges<'a> {
    pub(super) drop: &'a [FetchSlot],
    pub(super) add: &'a [AddedSlot],
}

/// The parts of a request that its session checks.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionRequest<'a> {
    pub(super) sequence: SessionSequence,
    pub(super) resumes: bool,
    /// The request permits bytes.
    pub(super) wants_records: bool,
    pub(super) changes: SlotChanges<'a>,
}

impl SlotChanges<'_> {
    /// Refuses slots that are not ascending.
    pub(super) fn check_order(&self) -> Result<(), Failure> {
        if self.add.is_sorted_by(|a, b| a.slot < b.slot) {
            return Ok(());
        }
        Err(Failure::new(ErrorCode::InvalidRequest, "the added slots of a fetch session are not ascending"))
    }
}

impl SessionState {
    /// Refuses a request that is not the session's next one, or that contradicts itself. `answered_below` is the number
    /// of the first request that still waits. The session is not changed.
    pub(super) fn check_state(&self, request: &SessionRequest<'_>, answered_below: u64) -> Result<(), Failure> {
        let SessionSequence { number, received_below, .. } = request.sequence;
        let next = self.next_number;
        if number < next || (!request.resumes && number != next) {
            let detail = format_args!("the fetch session expects request {next}, not {number}");
            return Err(Failure::new(ErrorCode::UnknownFetchSession, detail));
        }
        if number == u64::MAX {
            return Err(Failure::new(
                ErrorCode::InvalidRequest,
                "request numbers of the fetch session are used up: open another one",
            ));
        }
        let answered_below = if request.resumes { next } else { answered_below };
        if received_below < self.received_below || answered_below < received_below {
            let taken = self.received_below;
            let detail = format_args!("received_below is {received_below}; it must be {taken} to {answered_below}");
            return Err(Failure::new(ErrorCode::InvalidRequest, detail));
        }
        request.changes.check_order()?;
        let used = |added: &AddedSlot| u64::from(added.slot.0) < self.next_slot;
        if !request.resumes
            && let Some(added) = request.changes.add.first().filter(|added| used(added))
        {
            let detail = format_args!("slot {} of the fetch session was used before", added.slot.0);
            return Err(Failure::new(ErrorCode::InvalidRequest, detail));
        }
        self.check_unacknowledged(request)
    }

    fn check_unacknowledged(&self, request: &SessionRequest<'_>) -> Result<(), Failure> {
        let unacknowledged =
            self.unacknowledged.iter().filter(|answer| request.sequence.received_below <= answer.number).count();
        if request.wants_records && !request.resumes && ANSWERS_UNACKNOWLEDGED_MAX <= unacknowledged {
            let detail =
                format_args!("{unacknowledged} answers of the fetch session are unacknowledged: raise received_below");
            return Err(Failure::new(ErrorCode::LimitReached, detail));
        }
        Ok(())
    }

    /// Applies a request that was checked. A resume first moves the slots back to before the lost answers.
    pub(super) fn apply(&mut self, request: &SessionRequest<'_>) {
        let SessionSequence { number, received_below, .. } = request.sequence;
        debug_assert!(self.next_number <= number, "request {number} was checked");
        self.next_number = number + 1;
        self.acknowledge(received_below);
        if request.resumes {
            self.rewind_unacknowledged();
        }
        self.change(&request.changes);
    }

    /// Drops slots, then adds others. Slots that were added before are skipped.
    pub(super) fn change(&mut self, changes: &SlotChanges<'_>) {
        self.drop_slots(changes.drop);
        let new: Vec<_> = self.new_slots(changes.add).map(|added| (added.slot, added.partition)).collect();
        self.add(new);
    }

    /// The slots that were not added before.
    pub(super) fn new_slots<'a>(&self, add: &'a [AddedSlot]) -> impl Iterator<Item = &'a AddedSlot> + use<'a> {
        let known = self.next_slot;
        add.iter().filter(move |added| known <= u64::from(added.slot.0))
    }
}
