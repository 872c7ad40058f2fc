//! `produce --follow`: a growing file, line by line, through rotation, and on from the same byte after a crash.
//!
//! [`tail`] reads the file and its successors, [`place`] remembers on disk up to where every line is acknowledged, and
//! [`marks`] finds the few lines that were acknowledged after that was last written. Each record carries a header that
//! says which line it is, so that a follower killed between the broker's ack and its own note sends nothing twice.

mod fingerprint;
mod marks;
mod place;
mod siblings;
mod tail;

pub(crate) use marks::{Mark, marks_after};
pub(crate) use place::{Keeper, Place};
pub(crate) use tail::{Open, Step, Tail};
