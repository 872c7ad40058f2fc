//! Who lived when: nobody loses its name to the dead.

use super::super::*;
use grower_protocol::message::{GroupDescription, GroupInspection};

/// By the steps of a history.
#[derive(Default)]
pub(super) struct Lives {
    step: usize,
    members: BTreeSet<MemberId>,
    /// Since when each member is one, or was when it last was.
    seated: BTreeMap<MemberId, usize>,
    /// When each process last heard an answer that was not held back, and so was alive.
    heard: BTreeMap<MemberId, usize>,
}

impl Lives {
    pub(super) fn tick(&mut self) {
        self.step += 1;
    }

    pub(super) fn hears(&mut self, id: &MemberId) {
        self.heard.insert(id.clone(), self.step);
    }

    /// Who is a member after this step.
    pub(super) fn look(&mut self, group: Option<GroupDescription>) {
        let members = group.into_iter().flat_map(|group| group.members).map(|member| member.member);
        let before = std::mem::replace(&mut self.members, members.collect());
        for id in self.members.difference(&before) {
            self.seated.insert(id.clone(), self.step);
        }
    }

    /// Who is a member after a crash: of some it may be lost that they ceased to be.
    pub(super) fn look_after_crash(&mut self, group: Option<GroupDescription>) {
        self.members.extend(self.seated.keys().cloned());
        self.look(group);
    }

    /// A process that lives was told that another one has its name: that one heard an answer while this one had it.
    pub(super) fn check_fenced(&self, id: &MemberId, group: &GroupInspection) {
        let member = group.members.iter().find(|member| member.member == *id).expect("who is fenced is a member still");
        let by = member.replaced_by.as_ref().expect("somebody has its name");
        let (seated, heard) = (self.seated.get(id), self.heard.get(by));
        assert!(seated <= heard, "{id}, a member since {seated:?}, lost its name to {by}, which lived at {heard:?}");
    }
}
