//! A decision about a group: the answer, and the records that must be in the log before it is given.

use super::GroupRefusal;
use super::group::Group;
use super::record::GroupRecord;
use super::shard::GroupShard;
use grower_protocol::ids::GroupId;
use grower_protocol::message::Failure;

/// The result of a request: its answer, the records to append first, and the groups that changed.
#[must_use = "the answer may be given only after the records are durable"]
#[derive(Debug)]
pub struct GroupDecision<T> {
    answer: Result<T, Failure>,
    records: Vec<GroupRecord>,
    changed_groups: Vec<GroupId>,
}

impl GroupDecision<()> {
    /// A decision to change nothing.
    pub(crate) fn nothing() -> Self {
        Self::of(())
    }
}

impl<T> GroupDecision<T> {
    pub(super) fn of(answer: T) -> Self {
        Self { answer: Ok(answer), records: Vec::new(), changed_groups: Vec::new() }
    }

    /// Answers once these records are in the log.
    pub(super) fn writing(answer: T, records: Vec<GroupRecord>) -> Self {
        Self { records, ..Self::of(answer) }
    }

    pub(super) fn refused(refusal: GroupRefusal) -> Self {
        Self { answer: Err(refusal.into()), records: Vec::new(), changed_groups: Vec::new() }
    }

    pub(super) fn collect_changes(&mut self, id: &GroupId, group: &mut Group) {
        self.records.extend(group.unsaved(id));
        if group.members.take_assignment_changed() {
            self.changed_groups.push(id.clone());
        }
    }

    /// The refusal, if the request was refused.
    pub(crate) fn refusal(&self) -> Option<&Failure> {
        self.answer.as_ref().err()
    }

    /// Takes the groups in which an assignment may have changed. After the records are appended, their waiting
    /// heartbeats [look again](GroupShard::assignment_change).
    pub fn take_changed_groups(&mut self) -> Vec<GroupId> {
        std::mem::take(&mut self.changed_groups)
    }

    /// Takes the records to append, in their order. They are the next records of the shard's log: until the shard
    /// knows which were [appended](GroupShard::appended), no other request may change their groups or append.
    ///
    /// If the append fails, the error is the answer. The change is kept and written with the group's next decision.
    pub fn take_records(&mut self, shard: &GroupShard) -> Vec<GroupRecord> {
        shard.raise_minimum_epochs(&mut self.records);
        std::mem::take(&mut self.records)
    }

    /// The answer, for after the log is durable up to the end of the records.
    pub fn into_answer(self) -> Result<T, Failure> {
        debug_assert!(self.records.is_empty(), "the records are appended before the answer is given");
        self.answer
    }

    /// Appends the records and returns the answer, for callers that keep the shard locked meanwhile.
    pub fn settle<E>(
        mut self,
        shard: &mut GroupShard,
        append: impl FnOnce(&[GroupRecord]) -> Result<(), E>,
    ) -> Result<Result<T, Failure>, E> {
        let records = self.take_records(shard);
        if !records.is_empty() {
            append(&records)?;
            shard.appended(records);
        }
        Ok(self.into_answer())
    }

    /// The records that must be in the log before the answer is given.
    pub fn records(&self) -> &[GroupRecord] {
        &self.records
    }
}
