//! What a follower of a file remembers of it.

use crate::Target;
use grower_cli::fuzzed::{NOTE_OF_ONE_FILE, check_note};

pub(super) const NOTE: Target = Target {
    name: "follow-note",
    about: "the note of `produce --follow`: understood or refused, and a file is compared with whatever it says",
    run: check_note,
    seeds: || vec![NOTE_OF_ONE_FILE.as_bytes().to_vec()],
    allocates: 16 << 20,
};
