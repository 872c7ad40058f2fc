//! The interface to durable metadata.

use super::{Applied, Command, Image, MetadataRefusal};
use crate::disk_failure::code_of;
use async_trait::async_trait;
use grower_storage::backup_files::BackupFile;
use grower_storage::disk::DiskError;
use grower_storage::log::ChangeError;
use std::sync::Arc;

/// Stores metadata. Commands take effect one after the other, in the order in which they became durable.
///
/// Every implementation passes [`super::contract`].
#[async_trait]
pub trait MetadataStore: Send + Sync {
    /// Makes commands durable and applies them in order, with an answer for each. A command with the answer `Ok`
    /// survives any crash, and [`MetadataStore::image`] shows it. Each command is decided on the image after those
    /// before it. One that is refused, or could not be written, changes nothing and does not affect the others.
    ///
    /// After a crash the first commands may have taken effect, without a gap. Dropping the future undoes nothing: the
    /// commands may still take effect.
    async fn propose_all(&self, commands: Vec<Command>) -> Vec<Result<Applied, ProposeError>>;

    /// Proposes one command.
    async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        let answer = self.propose_all(vec![command]).await.pop();
        answer.unwrap_or_else(|| Err(ProposeError::Failed { detail: "the store gave no answer".to_owned() }))
    }

    /// Seals the files of the metadata and passes them to `hold` before any can be removed, for a backup. A store
    /// without files passes none. Blocks.
    fn hold_files(&self, hold: &mut dyn FnMut(&[BackupFile]) -> Result<(), DiskError>) -> Result<(), ChangeError>;

    /// The newest image. It shows only durable commands.
    fn image(&self) -> Arc<Image>;
}

/// The reason why a command did not take effect.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// The image does not allow it. Nothing changed.
    #[error(transparent)]
    Refused(#[from] MetadataRefusal),
    /// The disk is full. Nothing changed; try again when there is space.
    #[error("no disk space for metadata: {detail}")]
    Full {
        /// The disk's error.
        detail: String,
    },
    /// The disk failed for another reason, such as a lack of file descriptors. Nothing changed.
    #[error("metadata cannot be stored: {source}")]
    NotWritten {
        /// The disk's error.
        source: Arc<DiskError>,
    },
    /// The store cannot be written any more. The command may be durable or not, which only a restart shows.
    #[error("metadata cannot be stored any more, restart the broker: {detail}")]
    Failed {
        /// The first error.
        detail: String,
    },
}

impl From<ProposeError> for grower_protocol::message::Failure {
    fn from(error: ProposeError) -> Self {
        use grower_protocol::message::ErrorCode;
        match error {
            ProposeError::Refused(refusal) => refusal.into(),
            ProposeError::Full { .. } => Self::new(ErrorCode::DiskFull, error),
            ProposeError::NotWritten { ref source } => Self::new(code_of(source), error),
            ProposeError::Failed { .. } => Self::new(ErrorCode::StorageFailed, error),
        }
    }
}
