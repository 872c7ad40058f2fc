//! The path of the note of a followed file: next to the file, or in a folder for notes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The longest name that a file may have, less the `.new` of a note that is being written.
const NAME_BYTES_MAX: usize = 255 - 4;
/// The length of the readable prefix of a shortened name.
const NAME_BYTES_KEPT: usize = 100;

/// Returns the path of the note of a file that is followed into a topic. It is next to the file, or in `state_dir`,
/// where its name distinguishes files of one name in different folders.
///
/// In `state_dir` the note belongs to the path as given, with links unresolved. If a link leads elsewhere by the next
/// run, the note says where the unfinished file was.
pub(crate) fn note_path(followed: &Path, topic: &str, state_dir: Option<&Path>) -> io::Result<PathBuf> {
    let name = followed.file_name().unwrap_or_default();
    let Some(state_dir) = state_dir else {
        let mut note_name = name.to_owned();
        note_name.push(format!(".{topic}.grower-place"));
        let fits = note_name.len() <= NAME_BYTES_MAX;
        let note_name = if fits { note_name } else { shortened(name.as_bytes(), &[name.as_bytes(), topic.as_bytes()]) };
        return Ok(followed.with_file_name(note_name));
    };
    Ok(in_state_dir(state_dir, &absolute(folder_of(followed))?, name, topic))
}

/// Returns the paths of notes of earlier runs, if none is at [`note_path`]: earlier versions resolved links in the
/// path, and without `state_dir` the note is next to the file.
pub(crate) fn former_note_paths(followed: &Path, topic: &str, state_dir: Option<&Path>) -> io::Result<Vec<PathBuf>> {
    let Some(state_dir) = state_dir else { return Ok(Vec::new()) };
    let folder = fs::canonicalize(folder_of(followed))?;
    let of_resolved = in_state_dir(state_dir, &folder, followed.file_name().unwrap_or_default(), topic);
    Ok(vec![of_resolved, note_path(followed, topic, None)?])
}

/// Whether the folder of the file is reached through a link.
pub(crate) fn is_behind_link(followed: &Path) -> io::Result<bool> {
    Ok(absolute(folder_of(followed))? != fs::canonicalize(folder_of(followed))?)
}

fn in_state_dir(state_dir: &Path, folder: &Path, name: &OsStr, topic: &str) -> PathBuf {
    state_dir.join(shortened(name.as_bytes(), &[folder.as_os_str().as_bytes(), name.as_bytes(), topic.as_bytes()]))
}

/// The folder of a file.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a path absolute without resolving links, except before a `..`, whose meaning depends on them.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    let mut absolute = PathBuf::new();
    for part in current_folder()?.join(path).components() {
        match part {
            Component::ParentDir => {
                absolute = fs::canonicalize(absolute)?;
                absolute.pop();
            }
            part => absolute.push(part), // `components` leaves out `.`.
        }
    }
    Ok(absolute)
}

/// Returns the working directory under the name that the shell uses, which may contain links.
fn current_folder() -> io::Result<PathBuf> {
    let id = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    let named = std::env::var_os("PWD").map(PathBuf::from).filter(|named| named.is_absolute());
    let here = id(Path::new("."))?;
    match named.filter(|named| id(named).is_ok_and(|id| id == here)) {
        Some(named) => Ok(named),
        None => std::env::current_dir(),
    }
}

/// Returns a name that begins like `name` and is unique for `parts`.
fn shortened(name: &[u8], parts: &[&[u8]]) -> OsString {
    let kept = &name[..name.len().min(NAME_BYTES_KEPT)];
    let kept = kept.utf8_chunks().next().map_or("", |chunk| chunk.valid()); // Not cut within a character.
    OsString::from_vec(format!("{kept}.{:016x}.grower-place", hash(parts)).into_bytes())
}

/// FNV-1a over the parts, each ended by a NUL byte. It never changes, because notes are found by it.
fn hash(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter().chain(b"\0"));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note_name_of(name: &str, topic: &str) -> String {
        let path = note_path(&Path::new("/var/log").join(name), topic, None).unwrap();
        path.strip_prefix("/var/log").unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_note_is_next_to_its_file_and_named_after_file_and_topic() {
        assert_eq!(note_name_of("app.log", "events"), "app.log.events.grower-place");
    }

    #[test]
    fn long_names_fit_and_stay_different() {
        let name = "\u{fc}".repeat(127);
        let notes =
            [note_name_of(&name, "a"), note_name_of(&name, "b"), note_name_of(&name.replacen('\u{fc}', "ue", 1), "a")];
        assert!(notes.iter().all(|note| note.len() <= NAME_BYTES_MAX && note.ends_with(".grower-place")), "{notes:?}");
        assert!(notes[0] != notes[1] && notes[0] != notes[2]);
        assert_eq!(notes[0], note_name_of(&name, "a"));
        insta::assert_snapshot!(note_name_of(&"x".repeat(250), "t").trim_start_matches('x'), @".1079ea8274fff3fb.grower-place");
    }

    #[test]
    fn files_of_one_name_in_different_folders_have_different_notes_in_the_state_dir() {
        let folders = tempfile::tempdir().unwrap();
        let [a, b, state] = ["a", "b", "state"].map(|name| folders.path().join(name));
        [&a, &b].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
        let note = |path: &Path| note_path(path, "t", Some(&state)).unwrap();
        assert_ne!(note(&a.join("app.log")), note(&b.join("app.log")));
        assert_eq!(note(&a.join("app.log")), note(&a.join("../a/./app.log")));
        assert_eq!(note(&a.join("app.log")).parent(), Some(state.as_path()));
    }

    #[test]
    fn the_note_of_a_path_through_a_link_stays_the_same_when_the_link_leads_elsewhere() {
        let folders = tempfile::tempdir().unwrap();
        let [one, two, current, state] = ["one", "two", "current", "state"].map(|name| folders.path().join(name));
        [&one, &two].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
        let log = current.join("app.log");
        let point = |to: &Path| {
            let _ = fs::remove_file(&current);
            std::os::unix::fs::symlink(to, &current).unwrap();
            assert!(is_behind_link(&log).unwrap());
            note_path(&log, "t", Some(&state)).unwrap()
        };
        let notes = [point(&one), point(&two)];
        assert_eq!(notes[0], notes[1]);
        let direct = note_path(&two.join("app.log"), "t", Some(&state)).unwrap();
        assert_ne!(notes[0], direct);
        let former = former_note_paths(&log, "t", Some(&state)).unwrap();
        assert_eq!(former, [direct, log.with_file_name("app.log.t.grower-place")], "as earlier versions named it");
        // The parent of a link is that of its target.
        let other = folders.path().join("other");
        fs::create_dir_all(other.join("deep")).unwrap();
        fs::remove_file(&current).unwrap();
        std::os::unix::fs::symlink(other.join("deep"), &current).unwrap();
        assert_eq!(absolute(&current.join("../x")).unwrap(), fs::canonicalize(&other).unwrap().join("x"));
    }
}
