//! The verdicts of recovery, as a table.
//!
//! | the file has a successor, or the place lies below the known durable end | seen there | verdict |
//! | --- | --- | --- |
//! | either | sound batches to the end | sound |
//! | yes | anything else | rot: keep every byte, refuse the damaged offsets, serve the rest |
//! | no | zeros to the end | the end: allocated ahead, never written |
//! | no | bytes that are no batch | a torn tail: cut |
//! | either | batches that look right, but the index witnessed others | rot: nobody knows which batch it is |
//! | either | an index that disagrees with its log, or none | make it anew, unwitnessed |

/// Where something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// A roll syncs a file before the next one exists.
    pub(crate) has_successor: bool,
    /// Below what the checkpoint or an index entry knew to be durable.
    pub(crate) below_durable_end: bool,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Sound batches up to the end of the file.
    SoundToTheEnd,
    /// Nothing but zeros up to the end of the file.
    ZerosToTheEnd,
    /// Bytes that are no batch in its place.
    NoBatch,
    /// The file ends before something that was durable.
    EndsEarly,
    /// The index witnessed other headers between two of its entries.
    WitnessDisagrees,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Sound,
    /// The log ends here; what follows was never written.
    EndHere,
    /// A write that a crash cut short: cut the file here, sync, count, report.
    CutTornTail,
    /// Once durable, now damaged: change nothing, refuse exactly these offsets.
    KeepAndRefuse,
}

pub(crate) fn decide(place: Place, seen: Seen) -> Verdict {
    let once_durable = place.has_successor || place.below_durable_end;
    match seen {
        Seen::SoundToTheEnd => Verdict::Sound,
        Seen::EndsEarly | Seen::WitnessDisagrees => Verdict::KeepAndRefuse,
        Seen::ZerosToTheEnd | Seen::NoBatch if once_durable => Verdict::KeepAndRefuse,
        Seen::ZerosToTheEnd => Verdict::EndHere,
        Seen::NoBatch => Verdict::CutTornTail,
    }
}

/// What was seen of an index file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexSeen {
    /// The file is there and has an entry that can be read.
    pub(crate) readable: bool,
    /// The log has a successor, so its last entry must speak for all of it.
    pub(crate) has_successor: bool,
    /// The last entry speaks for the whole log file.
    pub(crate) speaks_for_all: bool,
    /// A batch lies where an entry says.
    pub(crate) agrees: bool,
}

/// What to do with an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexVerdict {
    /// Search it as it is.
    Use,
    /// Take what is sound of it and go on from there.
    Continue,
    /// Make it anew from the log.
    Rebuild,
}

pub(crate) fn decide_index(seen: IndexSeen) -> IndexVerdict {
    match seen {
        IndexSeen { readable: false, .. } | IndexSeen { agrees: false, .. } => IndexVerdict::Rebuild,
        IndexSeen { has_successor: false, .. } => IndexVerdict::Continue,
        IndexSeen { speaks_for_all: true, .. } => IndexVerdict::Use,
        IndexSeen { speaks_for_all: false, .. } => IndexVerdict::Rebuild,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: Place = Place { has_successor: false, below_durable_end: false };
    const DURABLE: Place = Place { has_successor: false, below_durable_end: true };
    const FOLLOWED: Place = Place { has_successor: true, below_durable_end: false };
    const BOTH: Place = Place { has_successor: true, below_durable_end: true };

    fn everywhere(seen: Seen) -> [Verdict; 4] {
        [TAIL, DURABLE, FOLLOWED, BOTH].map(|place| decide(place, seen))
    }

    #[test]
    fn sound_batches_are_sound_wherever_they_are() {
        assert_eq!(everywhere(Seen::SoundToTheEnd), [Verdict::Sound; 4]);
    }

    #[test]
    fn zeros_at_the_end_of_the_last_file_were_never_written() {
        assert_eq!(decide(TAIL, Seen::ZerosToTheEnd), Verdict::EndHere);
    }

    #[test]
    fn zeros_where_something_was_durable_are_rot() {
        assert_eq!(everywhere(Seen::ZerosToTheEnd)[1..], [Verdict::KeepAndRefuse; 3]);
    }

    #[test]
    fn garbage_above_the_durable_end_is_a_torn_tail() {
        assert_eq!(decide(TAIL, Seen::NoBatch), Verdict::CutTornTail);
    }

    #[test]
    fn garbage_below_the_durable_end_is_rot() {
        assert_eq!(decide(DURABLE, Seen::NoBatch), Verdict::KeepAndRefuse);
    }

    #[test]
    fn garbage_in_a_file_with_a_successor_is_rot() {
        assert_eq!(decide(FOLLOWED, Seen::NoBatch), Verdict::KeepAndRefuse);
        assert_eq!(decide(BOTH, Seen::NoBatch), Verdict::KeepAndRefuse);
    }

    #[test]
    fn a_file_that_ends_before_its_durable_end_has_lost_records() {
        assert_eq!(everywhere(Seen::EndsEarly), [Verdict::KeepAndRefuse; 4]);
    }

    #[test]
    fn a_witness_that_disagrees_never_shortens_the_log() {
        assert_eq!(everywhere(Seen::WitnessDisagrees), [Verdict::KeepAndRefuse; 4]);
    }

    const INDEX: IndexSeen = IndexSeen { readable: true, has_successor: true, speaks_for_all: true, agrees: true };

    #[test]
    fn an_index_that_speaks_for_its_whole_log_is_used() {
        assert_eq!(decide_index(INDEX), IndexVerdict::Use);
    }

    #[test]
    fn the_last_index_goes_on_from_what_is_sound_of_it() {
        assert_eq!(decide_index(IndexSeen { has_successor: false, ..INDEX }), IndexVerdict::Continue);
        let behind = IndexSeen { has_successor: false, speaks_for_all: false, ..INDEX };
        assert_eq!(decide_index(behind), IndexVerdict::Continue);
    }

    #[test]
    fn a_missing_short_or_foreign_index_is_made_anew() {
        assert_eq!(decide_index(IndexSeen { readable: false, ..INDEX }), IndexVerdict::Rebuild);
        assert_eq!(decide_index(IndexSeen { speaks_for_all: false, ..INDEX }), IndexVerdict::Rebuild);
        assert_eq!(decide_index(IndexSeen { agrees: false, ..INDEX }), IndexVerdict::Rebuild);
        let foreign = IndexSeen { has_successor: false, agrees: false, ..INDEX };
        assert_eq!(decide_index(foreign), IndexVerdict::Rebuild);
    }
}
