//! The border behind which commands become durable.

use super::{Applied, Command, Image, MetadataRefusal};
use crate::disk_failure::code_of;
use async_trait::async_trait;
use grower_storage::disk::DiskError;
use grower_storage::log::ChangeError;
use grower_storage::pieces::Piece;
use std::sync::Arc;

/// Keeps metadata. Commands take effect one after the other, in the order in which they became durable.
///
/// Every implementation passes [`super::contract`].
#[async_trait]
pub trait MetadataStore: Send + Sync {
    /// Makes commands durable and applies them in their order, with an answer for each. A command whose answer is `Ok`
    /// survives any crash, and [`MetadataStore::image`] shows it. Each is decided on the image that those before it lead
    /// to; one that is refused, or could not be written, leaves no trace and keeps no other from taking effect.
    ///
    /// After a crash in the middle a part of them may have taken effect: the first ones, without a gap. A caller that
    /// stops waiting does not undo anything: the commands may take effect all the same.
    async fn propose_all(&self, commands: Vec<Command>) -> Vec<Result<Applied, ProposeError>>;

    /// The same for one command.
    async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        let answer = self.propose_all(vec![command]).await.pop();
        answer.unwrap_or_else(|| Err(ProposeError::Failed { detail: "the store gave no answer".to_owned() }))
    }

    /// Makes all of it part of files that are never written to again, and gives those in the directory of the metadata
    /// to `hold` before any of them can go: what a backup takes. A store that is in no files has none. Blocks.
    fn hold_files(&self, hold: &mut dyn FnMut(&[Piece]) -> Result<(), DiskError>) -> Result<(), ChangeError>;

    /// The newest image. It shows no command that a crash could take back.
    fn image(&self) -> Arc<Image>;
}

/// Why a command did not take effect.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// The image does not allow it. Nothing changed.
    #[error(transparent)]
    Refused(#[from] MetadataRefusal),
    /// There was no room to write it down. Nothing changed; it may be tried again when there is.
    #[error("no room for metadata: {detail}")]
    Full {
        /// What the disk said.
        detail: String,
    },
    /// The disk refused for another reason, such as a want of file descriptors. Nothing changed.
    #[error("metadata cannot be stored: {source}")]
    NotWritten {
        /// What the disk said.
        source: Arc<DiskError>,
    },
    /// The store cannot be written any more. The command may be durable or not: only a restart tells.
    #[error("metadata cannot be stored any more, restart the broker: {detail}")]
    Failed {
        /// What happened first.
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
