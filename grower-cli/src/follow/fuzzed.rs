//! For fuzzing only: parses a note of any content.

use super::note::Note;
use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;

/// A sound note.
pub const NOTE_OF_ONE_FILE: &str = r#"{"version":1,"follower":"f","file":{"device":1,"inode":2,"born":3},"incarnation":1,"seen":{"offset":10,"head":1,"tail":2,"wide":{"head":3,"tail":4}},"next":{"0":7},"older":[],"target":"/log"}"#;

/// Longer than the prefix that a comparison reads.
const FILE_BYTES: usize = 100 << 10;

/// Parses a note. A valid one must be written the same, and is compared with a file.
///
/// # Panics
/// If a valid note is written differently.
pub fn check_note(bytes: &[u8]) {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    let Some(note) = Note::parse(bytes) else { return };
    let written = serde_json::to_vec(&note).unwrap_or_default();
    assert_eq!(Note::parse(&written).as_ref(), Some(&note));
    if let Some(file) = FILE.get_or_init(file) {
        let _ = note.trace().seen.compare(file);
    }
}

fn file() -> Option<File> {
    let mut file = tempfile::tempfile().ok()?;
    file.write_all(&vec![b'x'; FILE_BYTES]).ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_that_fuzzing_begins_with_is_sound() {
        assert!(Note::parse(NOTE_OF_ONE_FILE.as_bytes()).is_some());
        check_note(NOTE_OF_ONE_FILE.as_bytes());
    }
}
