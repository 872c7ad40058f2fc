//! `produce --follow`: reads a growing file line by line, through rotation, and continues at the same byte after a
//! crash.
//!
//! [`tail`] reads the file and its successors. [`note`] remembers on disk up to which byte every line is
//! acknowledged. [`line_mark`] finds the few lines that were acknowledged after the last note: each record carries a
//! header that identifies its line.
//!
//! # Which file is which
//!
//! A name proves little: rotation gives it to another file, and so may a person. A file is recognised by these facts,
//! in this order: inode and time of creation (the device number only if no such time is kept); checksums of the first
//! 64 KiB and of the 4 KiB before the position; the order of rotated names (`.1` is newer than `.2`, dates grow); and
//! the rotations that existed when the file was begun, because these cannot come after it. Wall clocks and
//! modification times decide nothing. [`surroundings`] collects the facts, [`recognise`] decides as a pure function
//! of them.
//!
//! | situation | what is sent | warning |
//! | --- | --- | --- |
//! | it grows | the new lines | |
//! | renamed, a new file at the path | the rest of the old file, the rotations between them with the older first, the new file | compressed ones between them |
//! | .. the same while no follower runs | the same, if the old file is next to the path | |
//! | .. but the old file is compressed or removed | while following: the same; otherwise the new file | unread lines are missing; the compressed file that may have them |
//! | .. and other rotations came after it | those newer than all earlier rotations and than every compressed one | each is named |
//! | renamed with a date before its extension, perhaps several times | the same; such names count only if the old file got one | |
//! | an older rotation is unpacked next to it | nothing of it | |
//! | the writer stays with the renamed file | its lines, before those of the new file if that is empty so far, else after them | when late |
//! | copied, then truncated | the rest from the copy, then the file from its beginning | if less than 256 bytes tell that it is a copy |
//! | .. and written again with the same beginning | the rest from the copy, then the file from its beginning, if the beginning is at most 64 KiB | if less than 256 bytes tell that it is a copy |
//! | copied, not truncated | the new lines of the file | |
//! | truncated or rewritten, also with the same length | the file from its beginning | unread lines are missing |
//! | .. with the same content | nothing | |
//! | .. equal in its first 64 KiB and the 4 KiB before its end, with the same length | nothing | that it was written to |
//! | another file at the path that begins with all bytes read (edited, restored, another device number) | the bytes after those | always |
//! | .. but a file was rotated since | the file from its beginning | unread lines are missing |
//! | the device number changed | the new lines | |
//! | the inode passed to another file | nothing of that file | |
//! | another file next to it has the same beginning | nothing of that file | |
//! | a second name of one file (hard link) | each line once | |
//! | a link whose target was rotated | as without the link, next to the target | |
//! | copied over an older copy, then truncated | the rest from the copy, then the file from its beginning | |
//! | a link that points to another file, also as a folder of the path | the rest of the old file, its rotations, the new file | |
//! | .. the same while no follower runs | the same, if the link is the file itself or there is a `--state-dir` | that the note is behind a link, when it is begun; where the old file was, if it is gone |
//! | missing, unreadable, or not a regular file | nothing until it can be read | once for each reason |
//!
//! Files are copied, truncated and renamed during a survey, so the order of its steps matters: see [`surroundings`].
//! Bytes read from a file are accepted only if it was not copied and truncated before. A survey during a rotation is
//! repeated.
//!
//! # Nothing twice, nothing lost
//!
//! The note is written after the acks that it covers. A follower may be killed between the two, or after the broker
//! has appended its records and before it commits them. Its successor then reads the records after the note, waits
//! for uncommitted ones, and leaves out lines that have arrived. Duplicates are possible only with `--acks none`, or
//! if a broker reads requests of the killed follower from their socket after it has answered the successor.
//!
//! The note names the topic by its id. If the topic was created again, or ends before the offsets of the note, as
//! after a restore, arrived lines are searched from the log start, and a warning says that lines are missing.

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
