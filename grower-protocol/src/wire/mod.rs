//! The native protocol below its messages: preface, frames and the encoding of messages.
//!
//! Each side opens a connection with 8 bytes ([`Preface`]), then sends frames ([`FrameDecoder`], [`encode_frame`]). A
//! frame carries one message, and record batches as their raw bytes.

mod bincode;
mod frame;
mod preface;

pub use bincode::{DecodeError, MESSAGE_BYTES_MAX, decode, encode, is_readable, read_length};
pub use frame::{Correlation, FRAME_HEAD_LENGTH, Frame, FrameDecoder, FrameError, FrameHead, encode_frame};
pub use preface::{PREFACE_LENGTH, Preface, PrefaceError};
