//! The note of a followed file.

use crate::Target;
use grower_cli::fuzzed::{NOTE_OF_ONE_FILE, check_note};

pub(super) const NOTE: Target = Target {
    name: "follow-note",
    about: "the note of `produce --follow`: refused, or written the same and compared with a file",
    run: check_note,
    seeds: || vec![NOTE_OF_ONE_FILE.as_bytes().to_vec()],
    allocates: 16 << 20,
};
