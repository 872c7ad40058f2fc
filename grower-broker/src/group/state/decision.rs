//! One step of a group: what it answers, and what must be written down before.

use super::GroupRefusal;
use super::group::Group;
use super::record::GroupRecord;
use super::shard::GroupShard;
use grower_protocol::ids::GroupId;
use grower_protocol::message::Failure;

/// What a request leads to: an answer, and what must be in the log before it is given.
#[must_use = "settle it: the answer may be given only after the records are durable"]
#[derive(Debug)]
pub struct GroupDecision<T> {
    answer: Result<T, Failure>,
    records: Vec<GroupRecord>,
    changed_groups: Vec<GroupId>,
}

impl GroupDecision<()> {
    /// Does nothing.
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

    pub(super) fn take_from(&mut self, id: &GroupId, group: &mut Group) {
        self.records.extend(group.unsaved(id));
        if group.members.take_assignment_changed() {
            self.changed_groups.push(id.clone());
        }
    }

    /// Why nothing is done, if it is not.
    pub(crate) fn refusal(&self) -> Option<&Failure> {
        self.answer.as_ref().err()
    }

    /// The groups of which members that wait for an answer should [look for news](GroupShard::news), once this is settled.
    pub fn take_changed_groups(&mut self) -> Vec<GroupId> {
        std::mem::take(&mut self.changed_groups)
    }

    /// Takes the records that must be in the log before the answer is given, to be appended in their order. They are the
    /// next records of the shard's log. Until the shard was told what was [appended](GroupShard::appended), nobody else may
    /// change the groups that they are about, nor append.
    ///
    /// If they cannot be appended, the step is undone as far as anybody can see, and the error is the answer.
    pub fn take_records(&mut self, shard: &GroupShard) -> Vec<GroupRecord> {
        shard.raise_minimum_epochs(&mut self.records);
        std::mem::take(&mut self.records)
    }

    /// The answer, for after the log is durable up to where its records end.
    pub fn into_answer(self) -> Result<T, Failure> {
        debug_assert!(self.records.is_empty(), "a step is answered that was not written down");
        self.answer
    }

    /// Appends the records and releases the answer, for those who hold the shard all the while.
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

    /// What must be in the log before the answer is given.
    pub fn records(&self) -> &[GroupRecord] {
        &self.records
    }
}
