//! Followers that continue from the note of a killed one.

use super::super::*;
use super::log_folder::{LogFolder, blank, followed, one};
use crate::follow::NoteKeeper;
use std::fs;

#[test]
fn after_a_crash_it_continues_at_the_noted_byte() {
    let mut log_folder = LogFolder::new();
    log_folder.append("app.log", "one\ntwo\nhal");
    let mut tail = log_folder.follow();
    assert_eq!(log_folder.read(&mut tail).0, "one two");
    log_folder.save(&tail);
    drop(tail);
    log_folder.append("app.log", "f\n");
    let mut tail = log_folder.resume();
    assert_eq!(log_folder.read(&mut tail), ("half".to_owned(), vec![]));
}

#[test]
fn acks_after_a_rewrite_of_the_file_lose_no_line_in_a_crash() {
    let (mut log_folder, mut tail) = followed(one);
    log_folder.save(&tail);
    log_folder.append("app.log", "two\n");
    assert_eq!(log_folder.read(&mut tail).0, "two");
    log_folder.append("app.log", "three\n");
    log_folder.copy("app.log", "app.log.1");
    log_folder.write("app.log", "four\nfive\nsix\n");
    log_folder.save(&tail);
    drop(tail);
    let mut tail = log_folder.resume();
    assert_eq!(
        log_folder.read(&mut tail).0,
        "two three four five six",
        "the mark of the second line tells that it has arrived"
    );
}

#[test]
fn a_changed_device_number_is_not_another_file() {
    let (mut log_folder, tail) = followed(one);
    log_folder.save(&tail);
    drop(tail);
    let mut note: serde_json::Value = serde_json::from_slice(&fs::read(log_folder.note_path()).unwrap()).unwrap();
    note["file"]["device"] = 1.into();
    fs::write(log_folder.note_path(), note.to_string()).unwrap();
    log_folder.append("app.log", "two\n");
    assert_eq!(log_folder.read(&mut log_folder.resume()), ("two".to_owned(), vec![]));
    // Without a time of creation only the content identifies the file, which is uncertain.
    note["file"].as_object_mut().unwrap().remove("born");
    fs::write(log_folder.note_path(), note.to_string()).unwrap();
    let (sent, warned) = log_folder.read(&mut log_folder.resume());
    assert_eq!((sent.as_str(), warned.len()), ("two", 1));
}

#[test]
fn a_note_of_any_content_is_refused_or_continued() {
    let mut log_folder = LogFolder::new();
    log_folder.append("app.log.1", "before\n");
    log_folder.append("app.log", "one\ntwo\n");
    let mut tail = log_folder.follow();
    log_folder.read(&mut tail);
    log_folder.save(&tail);
    let note = log_folder.note_path();
    let sound = fs::read(&note).unwrap();
    let mut start = |content: &[u8]| {
        fs::write(&note, content).unwrap();
        let blank = blank("another");
        let Ok((_, note)) = NoteKeeper::open(note.clone(), blank) else { return false };
        log_folder.read(&mut FileTail::start(&log_folder.log(), note, 1000));
        true
    };
    assert!(start(&sound));
    for at in 0..sound.len() {
        assert!(!start(&sound[..at]), "cut at {at}");
        for byte in [0, b'9', b'-', b'"', 0xff] {
            let mut changed = sound.clone();
            changed[at] = byte;
            start(&changed);
        }
    }
    // The maximum of each number, and more.
    let text = String::from_utf8(sound).unwrap();
    let numbers = text.match_indices(|letter: char| letter.is_ascii_digit());
    for (at, _) in numbers {
        for most in [u32::MAX.to_string(), u64::MAX.to_string(), "1".repeat(400)] {
            start(format!("{}{most}{}", &text[..at], &text[at + 1..]).as_bytes());
        }
    }
    // The numbers of files wrap around.
    fs::write(&note, text.replace("\"incarnation\":0", "\"incarnation\":4294967295")).unwrap();
    log_folder.rotate("three\n");
    let mut tail = log_folder.resume();
    assert_eq!(log_folder.read(&mut tail).0, "three");
    assert_eq!(tail.current.unwrap().open.incarnation, 0);
}

#[test]
fn a_note_of_an_earlier_version_is_continued() {
    let (mut log_folder, tail) = followed(one);
    log_folder.save(&tail);
    let mut note: serde_json::Value = serde_json::from_slice(&fs::read(log_folder.note_path()).unwrap()).unwrap();
    for (object, fields) in [("", &["older", "target", "left"][..]), ("/file", &["born"]), ("/seen", &["wide"])] {
        let object = note.pointer_mut(object).unwrap().as_object_mut().unwrap();
        object.retain(|field, _| !fields.contains(&field.as_str()));
    }
    fs::write(log_folder.note_path(), note.to_string()).unwrap();
    log_folder.append("app.log", "two\n");
    log_folder.rotate("three\n");
    log_folder.rotate("four\n");
    assert_eq!(log_folder.read(&mut log_folder.resume()), ("two three four".to_owned(), vec![]));
}
