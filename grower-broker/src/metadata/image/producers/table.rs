//! The named producers of an image, by name and by id.

use super::chunked_map::ChunkedMap;
use super::{FORMER_HOLDERS_MAX, FORMER_IDS_MAX, NamedProducer, ProducerClaim, ProducerRefusal};
use crate::metadata::MetadataRefusal;
use grower_protocol::ids::{ProducerEpoch, ProducerHolder, ProducerId, ProducerName, Timestamp};
use grower_protocol::message::ProducerIdentity;
use std::sync::Arc;

/// More ids of named producers than a lost time can have allocated.
const ID_MARGIN: u64 = 1 << 40;
/// Memory for a named producer, without that of [`own_bytes`].
const PRODUCER_BYTES: usize = 280;

/// Named producers, with the names of all their ids.
///
/// Invariants: each current or former id leads to the name that has it, and all of them are below `next_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::metadata::image) struct ProducerTable {
    by_name: ChunkedMap<ProducerName, Arc<NamedProducer>>,
    names: ChunkedMap<ProducerId, ProducerName>,
    /// The smallest id that was never allocated.
    next_id: ProducerId,
    /// Ids below it were allocated before a restore.
    minimum_id: ProducerId,
    /// The [`own_bytes`] of all producers.
    own_bytes: usize,
}

impl Default for ProducerTable {
    fn default() -> Self {
        Self {
            by_name: ChunkedMap::default(),
            names: ChunkedMap::default(),
            next_id: ProducerId::NAMED.start,
            minimum_id: ProducerId::NAMED.start,
            own_bytes: 0,
        }
    }
}

impl ProducerTable {
    pub(super) fn by_name(&self, name: &ProducerName) -> Option<&Arc<NamedProducer>> {
        self.by_name.get(name)
    }

    pub(super) fn by_id(&self, id: ProducerId) -> Option<&Arc<NamedProducer>> {
        self.by_name.get(self.names.get(&id)?)
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.len() * PRODUCER_BYTES + self.names.len() * size_of::<(ProducerId, ProducerName, u64)>() + self.own_bytes
    }

    pub(super) fn iter_after<'a>(
        &'a self,
        after: Option<&'a ProducerName>,
    ) -> impl Iterator<Item = &'a Arc<NamedProducer>> {
        self.by_name.iter_after(after).map(|(_, producer)| producer)
    }

    /// Whether its identity is from before a restore, so that a later one may exist.
    pub(super) fn is_restored(&self, producer: &NamedProducer) -> bool {
        producer.identity.id < self.minimum_id
    }

    /// The identity that a claim gets without a change: its holder has the name, and renews another identity or none.
    pub(super) fn repeated_claim(&self, claim: &ProducerClaim) -> Option<ProducerIdentity> {
        let producer = self.by_name(&claim.name)?;
        let holds = producer.holder == claim.holder && !self.is_restored(producer);
        (holds && claim.current != Some(producer.identity)).then_some(producer.identity)
    }

    /// Gives a name its next identity. A fresh id is not below `first`.
    pub(in crate::metadata::image) fn claim(
        &mut self,
        claim: &ProducerClaim,
        first: ProducerId,
        at: Timestamp,
    ) -> Result<ProducerIdentity, MetadataRefusal> {
        if let Some(identity) = self.repeated_claim(claim) {
            return Ok(identity);
        }
        let name = claim.name.clone();
        let producer = match self.by_name(&name) {
            None if claim.current.is_some() => return Err(ProducerRefusal::Deleted { name }.into()),
            None => {
                let identity = self.fresh_identity(first)?;
                let (holder, former, former_holders) = (claim.holder, Vec::new(), Vec::new());
                NamedProducer { name, identity, holder, claimed: at, former, former_holders }
            }
            Some(known) if known.refuses(claim) => {
                return Err(ProducerRefusal::Claimed { name, claimed: known.claimed }.into());
            }
            Some(known) => self.next_of(known, claim, first, at)?,
        };
        let identity = producer.identity;
        self.put(producer);
        Ok(identity)
    }

    /// The producer with its next epoch, or with a fresh id.
    fn next_of(
        &self,
        known: &NamedProducer,
        claim: &ProducerClaim,
        first: ProducerId,
        at: Timestamp,
    ) -> Result<NamedProducer, MetadataRefusal> {
        let mut next = known.clone();
        if known.holder != claim.holder {
            (next.holder, next.claimed) = (claim.holder, at);
            next.former_holders.push(known.holder);
        }
        let ProducerIdentity { id, epoch } = known.identity;
        if epoch < ProducerEpoch::MAX && !self.is_restored(known) {
            next.identity = ProducerIdentity { id, epoch: epoch.next() };
        } else {
            next.identity = self.fresh_identity(first)?;
            next.former.push(id);
        }
        Ok(next)
    }

    fn fresh_identity(&self, first: ProducerId) -> Result<ProducerIdentity, MetadataRefusal> {
        let id = self.next_id.max(first);
        let epoch = ProducerEpoch::new(0);
        if id.is_named() { Ok(ProducerIdentity { id, epoch }) } else { Err(MetadataRefusal::ProducerIdsExhausted) }
    }

    /// Sets a producer's state, and the names of its ids.
    fn put(&mut self, mut producer: NamedProducer) {
        let surplus = producer.former.len().saturating_sub(FORMER_IDS_MAX);
        for dropped in producer.former.drain(..surplus) {
            self.names.remove(&dropped);
        }
        let surplus = producer.former_holders.len().saturating_sub(FORMER_HOLDERS_MAX);
        producer.former_holders.drain(..surplus);
        let ProducerIdentity { id, epoch } = producer.identity;
        let owner = self.names.insert(id, producer.name.clone());
        debug_assert!(owner.is_none_or(|owner| owner == producer.name), "an id belongs to one name");
        self.next_id = self.next_id.max(id.next());
        self.own_bytes += own_bytes(&producer);
        if let Some(before) = self.by_name.insert(producer.name.clone(), Arc::new(producer)) {
            self.own_bytes -= own_bytes(&before);
            debug_assert!(
                before.identity.id < id || (before.identity.id == id && before.identity.epoch < epoch),
                "the identities of a name only rise"
            );
        }
    }

    /// Removes a name and all its ids, if it still has this identity.
    pub(in crate::metadata::image) fn forget(&mut self, name: &ProducerName, identity: ProducerIdentity) {
        if self.by_name(name).is_none_or(|producer| producer.identity != identity) {
            return;
        }
        let producer = self.by_name.remove(name).expect("found above");
        self.own_bytes -= own_bytes(&producer);
        for id in producer.former.iter().chain([&producer.identity.id]) {
            self.names.remove(id);
        }
    }

    /// Gives each name a fresh id at its next claim, above all that may be in use.
    pub(in crate::metadata::image) fn raise_minimum_id(&mut self) {
        let raised = self.next_id.value().saturating_add(ID_MARGIN);
        self.next_id = ProducerId::new(raised).min(ProducerId::NAMED.end);
        self.minimum_id = self.next_id;
    }

    /// The smallest id that was never allocated, and the smallest that was not allocated before a restore; none for a
    /// new table.
    pub(in crate::metadata::image) fn id_limits(&self) -> Option<(ProducerId, ProducerId)> {
        let is_new = self.next_id == ProducerId::NAMED.start;
        (!is_new).then_some((self.next_id, self.minimum_id))
    }

    /// Raises the limits to those that [`ProducerTable::id_limits`] returned.
    pub(in crate::metadata::image) fn raise_id_limits(&mut self, next_id: ProducerId, minimum_id: ProducerId) {
        (self.next_id, self.minimum_id) = (self.next_id.max(next_id), self.minimum_id.max(minimum_id));
    }

    /// Adds a producer of a snapshot. False if its name or an id is taken, or no id of a named producer.
    pub(in crate::metadata::image) fn restore(&mut self, producer: NamedProducer) -> bool {
        let ids: Vec<ProducerId> = producer.former.iter().copied().chain([producer.identity.id]).collect();
        let is_free = |id: &ProducerId| id.is_named() && *id < self.next_id && self.names.get(id).is_none();
        if self.by_name(&producer.name).is_some() || !ids.iter().all(is_free) {
            return false;
        }
        for id in ids {
            if self.names.insert(id, producer.name.clone()).is_some() {
                return false;
            }
        }
        self.own_bytes += own_bytes(&producer);
        self.by_name.insert(producer.name.clone(), Arc::new(producer));
        true
    }
}

/// The bytes of a producer's name and of its former holders.
fn own_bytes(producer: &NamedProducer) -> usize {
    producer.name.as_str().len() + producer.former_holders.len() * size_of::<ProducerHolder>()
}
