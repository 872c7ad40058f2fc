//! The border to the registry of named producers, which the metadata keeps.
//!
//! The check happens under the writer's lock, at the append itself. A claim of a name is in the registry before it is
//! answered. So from the answer on no append begins for an earlier identity, wherever its batch waited.

use grower_protocol::batch::BatchHeader;
use grower_protocol::ids::{ProducerId, ProducerIdentity};
use grower_protocol::message::Failure;

/// The named producers that may append, as the metadata has them now. Never waits.
pub(crate) trait ProducerRegistry: Send + Sync {
    /// Refuses a named producer's identity, unless it is the one that its name has.
    fn check(&self, identity: ProducerIdentity) -> Result<(), Failure>;

    /// Whether a named producer has this id, or had it before.
    fn knows(&self, id: ProducerId) -> bool;
}

/// The identity of a batch's producer, if it has a name.
pub(super) fn named_producer(header: &BatchHeader) -> Option<ProducerIdentity> {
    let stamp = header.producer?;
    stamp.id.is_named().then_some(ProducerIdentity { id: stamp.id, epoch: stamp.epoch })
}

/// A registry that knows every identity.
#[cfg(test)]
pub(crate) struct AnyProducer;

#[cfg(test)]
impl ProducerRegistry for AnyProducer {
    fn check(&self, _identity: ProducerIdentity) -> Result<(), Failure> {
        Ok(())
    }

    fn knows(&self, _id: ProducerId) -> bool {
        true
    }
}
