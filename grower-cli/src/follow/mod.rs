//! `produce --follow`: a growing file, line by line, through rotation, and on from the same byte after a crash.
//!
//! [`tail`] reads the file and its successors, [`note`] remembers on disk up to where every line is acknowledged, and
//! [`line_mark`] finds the few lines that were acknowledged after that was last written. Each record carries a header that
//! says which line it is.
//!
//! # Which file is which
//!
//! A name says little: rotation gives it to another file, and so may a person. A file is recognised by facts, in this order:
//! inode and time of creation (the device number only where no such time is kept); checksums of the first 64 KiB and of
//! the 4 KiB before the position; the order that rotation gives to names (`.1` is newer than `.2`, dates grow); and which
//! rotations were there when the file was begun, for these cannot come after it. Wall clocks and times of modification
//! decide nothing. [`recognise`] holds the decisions as functions of these facts, [`surroundings`] collects them.
//!
//! | situation | what is sent | warning |
//! | --- | --- | --- |
//! | it grows | the new lines | |
//! | renamed, a new file at the path | the rest of the old file, the rotations between them with the older first, the new file | compressed ones between them |
//! | .. the same while no follower runs | the same, if the old file is beside the path | |
//! | .. but the old file is compressed or removed | while following: the same; otherwise the new file | what was not read is missing; the compressed file that may have it |
//! | .. and other rotations came after it | those newer than all that were there before and than every compressed one | each is named |
//! | renamed with a date before its extension, perhaps several times | the same; such names count only if the old file got one | |
//! | an older rotation is unpacked beside it | nothing of it | |
//! | the writer stays with the renamed file | its lines, before those of the new file if that is empty so far, else after them | when late |
//! | copied, then truncated | the rest from the copy, then the file from its beginning | if less than 256 bytes tell that it is a copy |
//! | .. and written again with the same beginning | the rest from the copy, then the file from its beginning, if the beginning is at most 64 KiB | if less than 256 bytes tell that it is a copy |
//! | copied, not truncated | the new lines of the file | |
//! | truncated or rewritten, also with the same length | the file from its beginning | what was not read is missing |
//! | .. with the same content | nothing | |
//! | .. equal in its first 64 KiB and the 4 KiB before its end, with the same length | nothing | that it was written to |
//! | another file at the path that begins with all that was read (edited, restored, another device number) | what follows that | always |
//! | .. but something was rotated since | the file from its beginning | what was not read is missing |
//! | the device number changed | the new lines | |
//! | the inode passed to another file | nothing of that file | |
//! | another file beside it has the same beginning | nothing of that file | |
//! | a second name of one file (hard link) | each line once | |
//! | a link whose target was rotated | as without the link, beside the target | |
//! | copied over an older copy, then truncated | the rest from the copy, then the file from its beginning | |
//! | a link that points to another file, also as a folder of the path | the rest of the old file, its rotations, the new file | |
//! | .. the same while no follower runs | the same, if the link is the file itself or there is a `--state-dir` | that the note is behind a link, when it is begun; where the old file was, if it is gone |
//! | not there, unreadable, or no regular file | it is waited for | once for each reason |
//!
//! Files are copied, truncated and renamed while they are looked at, so the order of looking matters: [`surroundings`] says
//! which. What was read of a file is accepted only if it was not copied and truncated before; a survey in the middle of a
//! rotation is made again.
//!
//! # Nothing twice, nothing lost
//!
//! The note is written after the acks that it covers. A follower that is killed in between, or while the broker has
//! appended its records and not yet committed them, is followed by one that reads the records after the note, waits for
//! those that are not committed, and leaves out lines that have arrived. Lines could come twice only if a broker takes
//! requests of the killed follower out of their socket after it has answered its successor, or with `--acks none`.
//!
//! The note tells the topic by its id. If the topic was created again, or ends before what the note says, as after a restore,
//! lines are looked for from the log's start, and a warning tells that lines are missing.

mod fingerprint;
mod folder_watch;
pub(crate) mod fuzzed;
mod line_mark;
mod note;
mod note_path;
mod reader;
mod recognise;
mod rotation;
mod surroundings;
mod tail;
mod warning;

pub(crate) use line_mark::{ArrivedLines, LineMark};
pub(crate) use note::{Note, NoteError, NoteKeeper, TopicLoss, TopicSpan};
pub(crate) use note_path::{folder_of, former_note_paths, is_behind_link, note_path};
pub(crate) use reader::FollowedFile;
pub(crate) use tail::{FileTail, TailEvent};
pub(crate) use warning::Warning;
