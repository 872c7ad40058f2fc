//! The border to the registry of named producers, which the metadata keeps.
//!
//! The check happens under the writer's lock, at the append itself. A claim of a name is in the registry before it is
//! answered. So from the answer on no append begins for an earlier identity, wherever its batch waited.

use grower_protocol::batch::BatchHeader;
use grower_protocol::message::{Failure, ProducerIdentity};

/// The named producers that may append, as the metadata has them now. Never waits.
pub(crate) trait ProducerRegistry: Send + Sync {
    /// Refuses a named producer's identity, unless it is the one that its name has.
    fn check(&self, identity: ProducerIdentity) -> Result<(), Failure>;
}

/// Refuses a batch of a named producer that has another identity now. Batches of others are not looked up.
pub(super) fn check(registry: &dyn ProducerRegistry, header: &BatchHeader) -> Result<(), Failure> {
    match header.producer {
        Some(stamp) if stamp.id.is_named() => registry.check(ProducerIdentity { id: stamp.id, epoch: stamp.epoch }),
        _ => Ok(()),
    }
}

/// A registry that knows every identity.
#[cfg(test)]
pub(crate) struct AnyProducer;

#[cfg(test)]
impl ProducerRegistry for AnyProducer {
    fn check(&self, _identity: ProducerIdentity) -> Result<(), Failure> {
        Ok(())
    }
}
