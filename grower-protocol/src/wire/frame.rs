//! Frames: each holds one message and the record batches that belong to it.
//!
//! ```text
//! 0 length u32 of the bytes after it | 4 crc32 of byte 8 to the message's end | 8 correlation u32
//! 12 message length u32 | 16 message | attachment: record batches, which carry their own CRC
//! ```
//! Numbers are big-endian. The attachment is the rest of the frame after the message; this module never decodes it.

use bytes::{Buf, BytesMut};

/// Length in bytes of the fixed part of a frame.
pub const FRAME_HEAD_LENGTH: usize = 16;
const LENGTH_COUNTS_FROM: usize = 4;
const CRC_COVERS_FROM: usize = 8;

/// Links a response to its request: the client chooses the number, the broker repeats it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Correlation(pub u32);

/// A received frame. Its parts are slices of the receive buffer, not copies.
#[derive(Debug)]
pub struct Frame {
    /// The request that the frame is or answers.
    pub correlation: Correlation,
    /// The encoded message, with its CRC checked.
    pub message: BytesMut,
    /// The record batches, unchecked.
    pub attachment: BytesMut,
}

/// A fault that ends the connection, because the start of the next frame is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is longer than this side accepts.
    #[error("a frame of {length} bytes is over the limit of {limit} (frame.bytes.max)")]
    TooLong {
        /// The declared length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The declared length leaves no room for the frame's head.
    #[error("a frame of {length} bytes is shorter than its head")]
    TooShort {
        /// The declared length.
        length: usize,
    },
    /// The declared lengths contradict each other.
    #[error("a frame of {length} bytes cannot hold a message of {message}")]
    Lengths {
        /// The length of the frame.
        length: usize,
        /// The length of the message.
        message: usize,
    },
    /// The message was damaged in transit.
    #[error("frame crc is {stored:#010x}, computed {computed:#010x}")]
    Crc {
        /// The CRC in the frame.
        stored: u32,
        /// The CRC of the received bytes.
        computed: u32,
    },
}

/// Splits a byte stream into frames.
#[derive(Clone, Copy, Debug)]
pub struct FrameDecoder {
    limit: usize,
}

/// The head of a frame. `FRAME_HEAD_LENGTH + message <= total`.
#[derive(Clone, Copy, Debug)]
pub struct FrameHead {
    /// Length in bytes of the whole frame.
    pub total: usize,
    /// Length in bytes of the message.
    pub message: usize,
    /// The request that the frame is or answers.
    pub correlation: Correlation,
    crc: u32,
}

impl FrameDecoder {
    /// Accepts frames of at most `limit` bytes after the length field.
    pub const fn new(limit: usize) -> Self {
        Self { limit }
    }

    /// The length in bytes of the first frame in `unread`; `None` until its head has arrived.
    pub fn frame_length(&self, unread: &[u8]) -> Result<Option<usize>, FrameError> {
        Ok(self.head(unread)?.map(|head| head.total))
    }

    /// The head of the first frame in `unread`; `None` until it has arrived.
    pub fn head(&self, unread: &[u8]) -> Result<Option<FrameHead>, FrameError> {
        let Some((prefix, rest)) = unread.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix) as usize;
        if self.limit < length {
            // Before the bytes arrive: they must not be buffered.
            return Err(FrameError::TooLong { length, limit: self.limit });
        }
        if length + LENGTH_COUNTS_FROM < FRAME_HEAD_LENGTH {
            return Err(FrameError::TooShort { length }); // Before the rest of the head arrives.
        }
        let Some(rest) = rest.first_chunk::<12>() else { return Ok(None) };
        let ([crc, correlation, message], []) = rest.as_chunks::<4>() else { unreachable!("12 bytes are 3 fields") };
        let message = u32::from_be_bytes(*message) as usize;
        if length + LENGTH_COUNTS_FROM < FRAME_HEAD_LENGTH + message {
            return Err(FrameError::Lengths { length, message });
        }
        Ok(Some(FrameHead {
            total: length + LENGTH_COUNTS_FROM,
            message,
            crc: u32::from_be_bytes(*crc),
            correlation: Correlation(u32::from_be_bytes(*correlation)),
        }))
    }

    /// Splits the first frame off `unread`; `None` until it is whole.
    pub fn next_frame(&self, unread: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(head) = self.head(unread)? else { return Ok(None) };
        if unread.len() < head.total {
            return Ok(None);
        }
        debug_assert!(FRAME_HEAD_LENGTH + head.message <= head.total, "head() checks the lengths");
        let mut frame = unread.split_to(head.total);
        let attachment = frame.split_off(FRAME_HEAD_LENGTH + head.message);
        let computed = crc32fast::hash(&frame[CRC_COVERS_FROM..]);
        if computed != head.crc {
            return Err(FrameError::Crc { stored: head.crc, computed });
        }
        frame.advance(FRAME_HEAD_LENGTH);
        Ok(Some(Frame { correlation: head.correlation, message: frame, attachment }))
    }
}

/// Encodes the head and the message of a frame. The caller sends `attachment_length` bytes of record batches after
/// them.
///
/// # Panics
/// If the frame is 4 GiB or longer.
pub fn encode_frame(correlation: Correlation, message: &[u8], attachment_length: usize) -> Vec<u8> {
    let total = FRAME_HEAD_LENGTH + message.len() + attachment_length;
    let length = u32::try_from(total - LENGTH_COUNTS_FROM).expect("a frame is smaller than 4 GiB");
    let mut frame = Vec::with_capacity(FRAME_HEAD_LENGTH + message.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&correlation.0.to_be_bytes());
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    let crc = crc32fast::hash(&frame[CRC_COVERS_FROM..]);
    frame[LENGTH_COUNTS_FROM..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sent(message: &[u8], attachment: &[u8]) -> Vec<u8> {
        let mut bytes = encode_frame(Correlation(9), message, attachment.len());
        bytes.extend_from_slice(attachment);
        bytes
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_frames(
            frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..40)), 0..5),
            chunk in 1usize..50,
        ) {
            let stream: Vec<u8> = frames.iter().flat_map(|(message, attachment)| sent(message, attachment)).collect();
            let decoder = FrameDecoder::new(1 << 20);
            let (mut unread, mut taken) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(chunk) {
                unread.extend_from_slice(piece);
                while let Some(frame) = decoder.next_frame(&mut unread).unwrap() {
                    taken.push((frame.message.to_vec(), frame.attachment.to_vec()));
                }
            }
            prop_assert_eq!(taken, frames);
            prop_assert!(unread.is_empty());
        }

        #[test]
        fn no_bytes_make_the_frame_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = FrameDecoder::new(100).next_frame(&mut BytesMut::from(&bytes[..]));
        }
    }

    #[test]
    fn the_bytes_of_a_frame_are_fixed() {
        let hex = |field: &[u8]| -> String { field.iter().map(|byte| format!("{byte:02x}")).collect() };
        let bytes = sent(b"hi", b"xyz");
        let (head, content) = bytes.split_at(FRAME_HEAD_LENGTH);
        let (message, attachment) = content.split_at(2);
        let fields: Vec<String> = head.chunks(4).chain([message, attachment]).map(hex).collect();
        insta::assert_snapshot!(fields.join(" "), @"00000011 ecdcc198 00000009 00000002 6869 78797a");
    }

    #[test]
    fn impossible_lengths_are_refused_before_their_bytes_arrive() {
        let decoder = FrameDecoder::new(1_000);
        let refuse = |bytes: &[u8]| decoder.next_frame(&mut BytesMut::from(bytes)).unwrap_err();
        assert_eq!(refuse(&(-1i32).to_be_bytes()), FrameError::TooLong { length: u32::MAX as usize, limit: 1_000 });
        assert_eq!(refuse(&1_001u32.to_be_bytes()), FrameError::TooLong { length: 1_001, limit: 1_000 });
        assert_eq!(refuse(&0u32.to_be_bytes()), FrameError::TooShort { length: 0 });
        let mut forged = sent(b"hi", b"");
        forged[15] = 200;
        assert_eq!(refuse(&forged), FrameError::Lengths { length: 14, message: 200 });
    }

    #[test]
    fn a_damaged_message_fails_its_crc() {
        let mut bytes = sent(b"hi", b"");
        bytes[17] ^= 1;
        let error = FrameDecoder::new(1_000).next_frame(&mut BytesMut::from(&bytes[..])).unwrap_err();
        assert!(matches!(error, FrameError::Crc { .. }));
    }
}
