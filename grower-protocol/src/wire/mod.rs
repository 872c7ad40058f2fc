//! The native protocol below its messages: preface, frames, and the one place that knows bincode.
//!
//! A connection opens with 8 bytes in each direction ([`Preface`]); after that both sides send frames
//! ([`FrameDecoder`], [`encode_frame`]). A frame carries one message and, beside it, untouched, record batches.

mod bincode;
mod frame;
mod preface;

pub use bincode::{DecodeError, MESSAGE_BYTES_MAX, decode, encode, is_readable, read_length};
pub use frame::{Correlation, FRAME_HEAD_LENGTH, Frame, FrameDecoder, FrameError, FrameHead, encode_frame};
pub use preface::{PREFACE_LENGTH, Preface, PrefaceError};
