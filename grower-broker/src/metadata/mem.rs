//! Metadata in memory, for tests and temporary brokers.

use super::{Applied, Command, Image, MetadataStore, ProposeError};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use grower_storage::backup_files::BackupFile;
use grower_storage::disk::DiskError;
use grower_storage::log::ChangeError;
use parking_lot::Mutex;
use std::sync::Arc;

/// A store that keeps nothing when it is dropped.
#[derive(Default)]
pub struct MemMetadataStore {
    image: ArcSwap<Image>,
    /// Its lock holder alone changes the image.
    proposing: Mutex<()>,
}

#[async_trait]
impl MetadataStore for MemMetadataStore {
    async fn propose_all(&self, commands: Vec<Command>) -> Vec<Result<Applied, ProposeError>> {
        let _one_at_a_time = self.proposing.lock();
        let mut image = Image::clone(&self.image.load());
        let applied = commands.into_iter().map(|command| Ok(image.try_apply(command)?)).collect();
        self.image.store(Arc::new(image));
        applied
    }

    fn hold_files(&self, _hold: &mut dyn FnMut(&[BackupFile]) -> Result<(), DiskError>) -> Result<(), ChangeError> {
        Ok(())
    }

    fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_store_in_memory_keeps_the_contract() {
        crate::metadata::contract::metadata_store(MemMetadataStore::default).await;
    }
}
