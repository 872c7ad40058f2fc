//! Named producers: a name keeps its producer id, and each process that claims it gets the next epoch.
//!
//! Only the identity that a name has now may write, so the registry knows each id that a name ever had. A process that
//! lost the name does not get it back: its claim may have waited in a connection all the time. An id belongs
//! to one name for ever, and an epoch is issued once. A name gets a fresh id when its epochs run out, and after a
//! restore, because epochs that were issued after the backup are unknown.

mod chunked_map;
mod refusal;
mod table;

pub use refusal::ProducerRefusal;
pub(super) use table::ProducerTable;

use super::{Command, Image, MetadataRefusal};
use grower_protocol::ids::{ProducerHolder, ProducerId, ProducerName, Timestamp};
use grower_protocol::message::{NamedProducerDescription, ProducerIdentity};
use std::sync::Arc;

/// A producer's name with its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedProducer {
    /// The name.
    pub name: ProducerName,
    /// The identity that may write.
    pub identity: ProducerIdentity,
    /// The process that has it.
    pub holder: ProducerHolder,
    /// When that process claimed the name.
    pub claimed: Timestamp,
    /// Ids that the name had before, oldest first. Beyond [`FORMER_IDS_MAX`] the oldest is dropped.
    pub former: Vec<ProducerId>,
    /// Processes that had the name before, oldest first: their claims that were delayed are refused. Beyond
    /// [`FORMER_HOLDERS_MAX`] the oldest is dropped.
    pub former_holders: Vec<ProducerHolder>,
}

/// The most former ids of a name. An id lasts for 32,768 claims, or until a restore.
pub const FORMER_IDS_MAX: usize = 32;
/// The most former holders of a name.
pub const FORMER_HOLDERS_MAX: usize = 32;

/// A request for a name's next identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerClaim {
    /// The name.
    pub name: ProducerName,
    /// The process that claims it.
    pub holder: ProducerHolder,
    /// The identity that the process has and renews; none claims the name.
    pub current: Option<ProducerIdentity>,
}

impl NamedProducer {
    /// Whether another process claimed the name since the caller had it.
    fn refuses(&self, claim: &ProducerClaim) -> bool {
        self.former_holders.contains(&claim.holder) || (self.holder != claim.holder && claim.current.is_some())
    }

    /// The description for clients.
    pub fn describe(&self) -> NamedProducerDescription {
        NamedProducerDescription { name: self.name.clone(), identity: self.identity, claimed: self.claimed }
    }
}

impl Image {
    /// Checks a claim. A fresh id, if the name needs one, is not below `first`.
    pub fn claim_producer(
        &self,
        claim: &ProducerClaim,
        first: ProducerId,
        at: Timestamp,
        names_max: u64,
    ) -> Result<Command, MetadataRefusal> {
        let is_new = self.producers.by_name(&claim.name).is_none() && claim.current.is_none();
        if is_new && names_max <= self.producers.len() as u64 {
            return Err(ProducerRefusal::TooMany { max: names_max }.into());
        }
        let ProducerClaim { name, holder, current } = claim.clone();
        Ok(Command::ClaimProducer { name, holder, current, first, at })
    }

    /// The identity that a repeated claim gets again; none if the claim is no repetition.
    pub fn repeated_claim(&self, claim: &ProducerClaim) -> Option<ProducerIdentity> {
        self.producers.repeated_claim(claim)
    }

    /// Checks the deletion of a name.
    pub fn delete_producer(&self, name: &ProducerName) -> Result<Command, MetadataRefusal> {
        let producer = self.named_producer(name)?;
        Ok(Command::ForgetProducers { producers: vec![(name.clone(), producer.identity)] })
    }

    /// A named producer.
    pub fn named_producer(&self, name: &ProducerName) -> Result<&Arc<NamedProducer>, MetadataRefusal> {
        let unknown = || ProducerRefusal::Unknown { name: name.clone() }.into();
        self.producers.by_name(name).ok_or_else(unknown)
    }

    /// Named producers with names after this one, sorted by name.
    pub fn named_producers_after<'a>(
        &'a self,
        after: Option<&'a ProducerName>,
    ) -> impl Iterator<Item = &'a Arc<NamedProducer>> {
        self.producers.iter_after(after)
    }

    /// The number of named producers.
    pub fn named_producer_count(&self) -> usize {
        self.producers.len()
    }

    /// An estimate of the memory that named producers take here, in bytes.
    pub fn named_producer_bytes(&self) -> usize {
        self.producers.bytes()
    }

    /// The producer that has this id now, or had it.
    pub fn producer_with_id(&self, id: ProducerId) -> Option<&Arc<NamedProducer>> {
        self.producers.by_id(id)
    }

    /// Checks that a named producer's identity is the one that may write.
    pub fn check_named(&self, identity: ProducerIdentity) -> Result<(), ProducerRefusal> {
        debug_assert!(identity.id.is_named(), "other identities are not registered");
        let Some(producer) = self.producers.by_id(identity.id) else {
            return Err(ProducerRefusal::Nameless { id: identity.id });
        };
        let (name, epoch) = (producer.name.clone(), identity.epoch);
        let ProducerIdentity { id, epoch: current } = producer.identity;
        if self.producers.is_restored(producer) {
            Err(ProducerRefusal::Restored { name })
        } else if identity == producer.identity {
            Ok(())
        } else if id == identity.id && current < epoch {
            Err(ProducerRefusal::NeverIssued { name, epoch, current })
        } else {
            Err(ProducerRefusal::Fenced { name, epoch, id, current, claimed: producer.claimed })
        }
    }
}

#[cfg(test)]
mod tests;
