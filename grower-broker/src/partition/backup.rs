//! A backup of a partition: all of it is sealed, and its files get second names before any of them can go.

use super::Partition;
use grower_protocol::ids::Timestamp;
use grower_storage::disk::DiskError;
use grower_storage::log::ChangeError;
use grower_storage::pieces::Piece;

impl Partition {
    /// Seals the log and gives its files to `hold`, in two parts. The small ones, which every checkpoint replaces, are held
    /// within the writer's lock; the segments, of which there may be thousands, only within that of those who drop some.
    /// Once this returned, everything written before is held, and all of it is durable. A deleted partition has no files.
    ///
    /// A roll syncs what is not durable yet: have that done before, so that producers wait for next to nothing.
    pub(crate) fn hold_files(
        &self,
        now: Timestamp,
        hold: &mut dyn FnMut(&[Piece]) -> Result<(), DiskError>,
    ) -> Result<(), ChangeError> {
        let _dropping = self.dropping.lock();
        let mut tail = self.writer.lock_slowly();
        if tail.deleted {
            return Ok(());
        }
        let Some(files) = tail.log.files() else { return Ok(()) };
        let sealed = files.seal(now);
        let effects = self.follow_log(&mut tail);
        let held = sealed.and_then(|pieces| {
            let (segments, small): (Vec<_>, Vec<_>) = pieces.into_iter().partition(Piece::is_of_segment);
            hold(&small)?;
            Ok(segments)
        });
        drop(tail);
        self.carry_out(effects);
        Ok(hold(&held?)?)
    }
}
