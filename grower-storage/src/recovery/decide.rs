//! The decisions of recovery, as a table.
//!
//! | has a successor, or below the known durable end | observed | action |
//! | --- | --- | --- |
//! | either | sound batches to the end | sound |
//! | yes | anything else | corruption: keep every byte, refuse the damaged offsets, serve the rest |
//! | no | zeros to the end | the end: allocated ahead, never written |
//! | no | bytes that are no batch | a torn tail: cut |
//! | either | a file that ends before something that was durable | corruption: refuse the offsets it lacks |
//! | either | sound batches, but the header checksum differs | corruption: which batch it is remains unknown |
//! | either | an index that disagrees with its log, or none | rebuild it, without header checksums |

/// Where something was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// The segment has a successor: a roll syncs a file before the next one exists.
    pub(crate) has_successor: bool,
    /// It lies below the durable end that the checkpoint or an index entry knew.
    pub(crate) below_durable_end: bool,
}

/// The end of the last file, above the known durable end.
pub(super) const TAIL: Region = Region { has_successor: false, below_durable_end: false };

/// An observation in a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegionContent {
    /// Sound batches up to the end of the file.
    SoundToTheEnd,
    /// Only zeros up to the end of the file.
    ZerosToTheEnd,
    /// Bytes that are no batch in its place.
    NoBatch,
    /// The file ends before something that was durable.
    EndsEarly,
    /// The header checksum of an index interval differs from its batches.
    ChecksumDiffers,
}

/// The action that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecoveryAction {
    /// None is needed.
    Sound,
    /// The log ends here: the rest was never written.
    EndHere,
    /// A crash interrupted a write: cut the file here, sync, count, report.
    CutTornTail,
    /// Damage to durable records: change nothing, refuse exactly these offsets.
    KeepAndRefuse,
}

pub(crate) fn decide(region: Region, observed: RegionContent) -> RecoveryAction {
    let once_durable = region.has_successor || region.below_durable_end;
    match observed {
        RegionContent::SoundToTheEnd => RecoveryAction::Sound,
        RegionContent::EndsEarly | RegionContent::ChecksumDiffers => RecoveryAction::KeepAndRefuse,
        RegionContent::ZerosToTheEnd | RegionContent::NoBatch if once_durable => RecoveryAction::KeepAndRefuse,
        RegionContent::ZerosToTheEnd => RecoveryAction::EndHere,
        RegionContent::NoBatch => RecoveryAction::CutTornTail,
    }
}

/// An observation of an index file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObservedIndex {
    /// The file exists and has a readable entry.
    pub(crate) readable: bool,
    /// The log has a successor, so its last entry must cover all of it.
    pub(crate) has_successor: bool,
    /// The last entry covers the whole log file.
    pub(crate) covers_all: bool,
    /// A batch begins where an entry says.
    pub(crate) agrees: bool,
}

/// The action for an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexAction {
    /// Search it as it is.
    Use,
    /// Keep the sound entries and continue after them.
    Continue,
    /// Rebuild it from the log.
    Rebuild,
}

pub(crate) fn decide_index(observed: ObservedIndex) -> IndexAction {
    match observed {
        ObservedIndex { readable: false, .. } | ObservedIndex { agrees: false, .. } => IndexAction::Rebuild,
        ObservedIndex { has_successor: false, .. } => IndexAction::Continue,
        ObservedIndex { covers_all: true, .. } => IndexAction::Use,
        ObservedIndex { covers_all: false, .. } => IndexAction::Rebuild,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURABLE: Region = Region { has_successor: false, below_durable_end: true };
    const FOLLOWED: Region = Region { has_successor: true, below_durable_end: false };
    const BOTH: Region = Region { has_successor: true, below_durable_end: true };

    fn everywhere(seen: RegionContent) -> [RecoveryAction; 4] {
        [TAIL, DURABLE, FOLLOWED, BOTH].map(|region| decide(region, seen))
    }

    #[test]
    fn sound_batches_are_sound_wherever_they_are() {
        assert_eq!(everywhere(RegionContent::SoundToTheEnd), [RecoveryAction::Sound; 4]);
    }

    #[test]
    fn zeros_at_the_end_of_the_last_file_were_never_written() {
        assert_eq!(decide(TAIL, RegionContent::ZerosToTheEnd), RecoveryAction::EndHere);
    }

    #[test]
    fn zeros_in_durable_bytes_are_corruption() {
        assert_eq!(everywhere(RegionContent::ZerosToTheEnd)[1..], [RecoveryAction::KeepAndRefuse; 3]);
    }

    #[test]
    fn garbage_above_the_durable_end_is_a_torn_tail() {
        assert_eq!(decide(TAIL, RegionContent::NoBatch), RecoveryAction::CutTornTail);
    }

    #[test]
    fn garbage_below_the_durable_end_is_corruption() {
        assert_eq!(decide(DURABLE, RegionContent::NoBatch), RecoveryAction::KeepAndRefuse);
    }

    #[test]
    fn garbage_in_a_file_with_a_successor_is_corruption() {
        assert_eq!(decide(FOLLOWED, RegionContent::NoBatch), RecoveryAction::KeepAndRefuse);
        assert_eq!(decide(BOTH, RegionContent::NoBatch), RecoveryAction::KeepAndRefuse);
    }

    #[test]
    fn a_file_that_ends_before_its_durable_end_has_lost_records() {
        assert_eq!(everywhere(RegionContent::EndsEarly), [RecoveryAction::KeepAndRefuse; 4]);
    }

    #[test]
    fn a_differing_header_checksum_never_shortens_the_log() {
        assert_eq!(everywhere(RegionContent::ChecksumDiffers), [RecoveryAction::KeepAndRefuse; 4]);
    }

    const INDEX: ObservedIndex = ObservedIndex { readable: true, has_successor: true, covers_all: true, agrees: true };

    #[test]
    fn an_index_that_covers_its_whole_log_is_used() {
        assert_eq!(decide_index(INDEX), IndexAction::Use);
    }

    #[test]
    fn the_last_index_continues_after_its_sound_entries() {
        assert_eq!(decide_index(ObservedIndex { has_successor: false, ..INDEX }), IndexAction::Continue);
        let behind = ObservedIndex { has_successor: false, covers_all: false, ..INDEX };
        assert_eq!(decide_index(behind), IndexAction::Continue);
    }

    #[test]
    fn a_missing_short_or_foreign_index_is_rebuilt() {
        assert_eq!(decide_index(ObservedIndex { readable: false, ..INDEX }), IndexAction::Rebuild);
        assert_eq!(decide_index(ObservedIndex { covers_all: false, ..INDEX }), IndexAction::Rebuild);
        assert_eq!(decide_index(ObservedIndex { agrees: false, ..INDEX }), IndexAction::Rebuild);
        let foreign = ObservedIndex { has_successor: false, agrees: false, ..INDEX };
        assert_eq!(decide_index(foreign), IndexAction::Rebuild);
    }
}
