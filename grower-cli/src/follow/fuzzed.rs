//! For fuzzing, and nothing else: what a note with any content does.

use super::note::Note;
use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;

/// A sound note.
pub const NOTE_OF_ONE_FILE: &str = r#"{"version":1,"follower":"f","file":{"device":1,"inode":2,"born":3},"incarnation":1,"seen":{"offset":10,"head":1,"tail":2,"wide":{"head":3,"tail":4}},"next":{"0":7},"older":[],"target":"/log"}"#;

/// Longer than what a comparison reads of a file's beginning.
const FILE_BYTES: usize = 100 << 10;

/// Reads a note. One that is understood is written the same, and a file is compared with what it says of one.
///
/// # Panics
/// If it is not.
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
