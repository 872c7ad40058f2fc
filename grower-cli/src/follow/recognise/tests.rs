//! Facts that a test cannot create on disk, or only by chance.

use super::*;
use std::ffi::OsStr;

const SCHEME: RotationScheme = RotationScheme { base: 0, is_before_extension: false };

fn candidate(location: CandidateLocation, is_same_file: bool, content: Option<Content>) -> Candidate {
    Candidate {
        location,
        is_same_file,
        content,
        is_known: false,
        is_ahead_of_path: true,
        is_beginning_of_path: false,
        is_longer: true,
        is_taken: false,
    }
}

fn rotated(name: &str, content: Content) -> Candidate {
    let rotation = Rotation::of(OsStr::new("app.log"), OsStr::new(name)).unwrap();
    candidate(CandidateLocation::Rotated(SCHEME, rotation), false, Some(content))
}

fn known(name: &str) -> Candidate {
    Candidate { is_known: true, ..rotated(name, Content::Other) }
}

#[test]
fn an_unreadable_file_is_waited_for() {
    let path = |is_same, content| candidate(CandidateLocation::Path, is_same, content);
    assert_eq!(recognise(&[], true), Recognised::Unreadable);
    assert_eq!(recognise(&[path(true, None)], true), Recognised::Unreadable);
    assert_eq!(recognise(&[path(false, None)], true), Recognised::Unreadable);
    // The file itself was rotated, and its mode forbids reading.
    let mut itself = rotated("app.log.1", Content::Other);
    (itself.is_same_file, itself.content) = (true, None);
    assert_eq!(recognise(&[path(false, Some(Content::Other)), itself], true), Recognised::Unreadable);
    // A renamed file is read even so.
    let moved = candidate(CandidateLocation::Elsewhere, true, Some(Content::Same));
    assert_eq!(recognise(&[path(false, None), moved], true), Recognised::Itself(1));
}

#[test]
fn the_same_inode_with_other_content_is_another_file() {
    for content in [Content::Other, Content::Shorter] {
        assert_eq!(recognise(&[candidate(CandidateLocation::Path, true, Some(content))], true), Recognised::Gone);
    }
}

#[test]
fn only_a_new_rotation_is_a_copy() {
    let path = candidate(CandidateLocation::Path, true, Some(Content::Other));
    let copy = rotated("app.log.1", Content::Same);
    assert_eq!(recognise(&[path.clone(), copy.clone()], false), Recognised::Copy(1));
    let before = Candidate { is_known: true, ..copy.clone() };
    assert_eq!(recognise(&[path.clone(), before], true), Recognised::Gone);
    let neighbour = candidate(CandidateLocation::Elsewhere, false, Some(Content::Same));
    assert_eq!(recognise(&[path.clone(), neighbour], true), Recognised::Gone);
    let two = [path, rotated("app.log.1", Content::Same), rotated("app.log.2", Content::Same)];
    assert_eq!(recognise(&two, false), Recognised::Copy(2), "the older one, for the newer one comes after it");
}

#[test]
fn a_replacement_is_accepted_only_without_a_rotation() {
    let path = candidate(CandidateLocation::Path, false, Some(Content::Same));
    assert_eq!(recognise(std::slice::from_ref(&path), false), Recognised::Replacement(0));
    assert_eq!(
        recognise(&[path.clone(), known("app.log.1"), known("app.log.2.gz")], false),
        Recognised::Replacement(0)
    );
    assert_eq!(
        recognise(&[path, rotated("app.log.1.gz", Content::Other), known("app.log.2.gz")], true),
        Recognised::Gone
    );
}

#[test]
fn the_order_of_names_tells_what_comes_next() {
    let names = ["app.log.1", "app.log.2", "app.log.3.gz", "app.log.4", "app.log-20261121"];
    let candidates: Vec<_> = names.iter().map(|name| rotated(name, Content::Other)).collect();
    let after = |suffix| {
        let Successors { readable, compressed } = successors(&candidates, Some(&(SCHEME, suffix)), false);
        (readable, compressed)
    };
    assert_eq!(after(Suffix::Number(5)), (vec![3, 1, 0], vec![2]));
    assert_eq!(after(Suffix::Number(2)), (vec![0], vec![]));
    assert_eq!(after(Suffix::Date("20261120".to_owned())), (vec![4], vec![]));
    // The time of `.4` is unknown: a compressed file is newer.
    assert_eq!(successors(&candidates, None, false).readable, [4, 1, 0]);
}

#[test]
fn a_file_that_is_being_read_does_not_come_next() {
    let mut taken = rotated("app.log.1", Content::Other);
    taken.is_taken = true;
    let next = successors(&[taken, known("app.log.2")], None, false);
    assert_eq!(next, Successors { readable: vec![], compressed: vec![] });
}

#[test]
fn a_copy_of_the_file_at_the_path_is_read_once_that_is_truncated() {
    let path = candidate(CandidateLocation::Path, true, Some(Content::Unknown));
    let copy = rotated("app.log.1", Content::Unknown);
    let untruncated = Candidate { is_ahead_of_path: false, is_beginning_of_path: true, ..copy.clone() };
    let around = [path.clone(), untruncated.clone()];
    assert_eq!((recognise(&around, false), has_unread_copy(&around)), (Recognised::Itself(0), true));
    assert_eq!(recognise(&[path.clone(), copy], false), Recognised::Copy(1));
    let read = Candidate { is_longer: false, ..untruncated.clone() };
    assert!(!has_unread_copy(&[path, read]), "nothing in it is new");
    // After another copy it is skipped for now, but not if rotation renames files.
    let around = [untruncated, known("app.log.2")];
    let after = |by_copying| successors(&around, Some(&(SCHEME, Suffix::Number(2))), by_copying).readable;
    assert_eq!((after(true), after(false)), (vec![], vec![0]));
}

#[test]
fn a_new_rotation_after_a_gap_is_undecided() {
    let new = rotated("app.log.2", Content::Same);
    assert_eq!(undecided(std::slice::from_ref(&new)), [0]);
    assert!(undecided(&[new.clone(), rotated("app.log.1", Content::Other)]).is_empty());
    assert!(undecided(&[new, rotated("app.log.3", Content::Other), known("app.log.1")]).is_empty());
    assert!(undecided(&[known("app.log.2"), rotated("app.log.4.gz", Content::Other)]).is_empty());
}
