//! When each process lived: a member loses its name only to a process that lived.

use super::super::*;

/// Times are steps of the history.
#[derive(Default)]
pub(super) struct Lives {
    step: usize,
    members: BTreeSet<MemberId>,
    /// The step at which each member last joined.
    joined: BTreeMap<MemberId, usize>,
    /// The step at which each process last received an answer that was not held back.
    heard: BTreeMap<MemberId, usize>,
}

impl Lives {
    pub(super) fn tick(&mut self) {
        self.step += 1;
    }

    pub(super) fn hears(&mut self, id: &MemberId) {
        self.heard.insert(id.clone(), self.step);
    }

    /// Notes the members after this step.
    pub(super) fn look(&mut self, group: Option<GroupDescription>) {
        let members = group.into_iter().flat_map(|group| group.members).map(|member| member.member);
        let before = std::mem::replace(&mut self.members, members.collect());
        for id in self.members.difference(&before) {
            self.joined.insert(id.clone(), self.step);
        }
    }

    /// Notes the members after a crash, which may have lost that some of them left.
    pub(super) fn look_after_crash(&mut self, group: Option<GroupDescription>) {
        self.members.extend(self.joined.keys().cloned());
        self.look(group);
    }

    /// Checks a fenced process: the new holder of its name received an answer while this one had the name.
    pub(super) fn check_fenced(&self, id: &MemberId, group: &GroupDescription) {
        let member =
            group.members.iter().find(|member| member.member == *id).expect("a fenced process is still a member");
        let by = member.replaced_by.as_ref().expect("another member has its name");
        let (joined, heard) = (self.joined.get(id), self.heard.get(by));
        assert!(joined <= heard, "{id}, a member since {joined:?}, lost its name to {by}, which lived at {heard:?}");
    }
}
