//! Frames: one message and the record bytes that belong to it.
//!
//! ```text
//! 0 length u32, of what follows it | 4 crc32 of 8.. to the message's end | 8 correlation u32 | 12 message length u32
//! 16 message | attachment: record batches, which carry their own CRC
//! ```
//! Numbers are big-endian. The attachment is whatever the message's length leaves: it is never decoded here.

use bytes::{Buf, BytesMut};

/// Length of a frame's fixed part in bytes.
pub const FRAME_HEAD_LENGTH: usize = 16;
const LENGTH_COUNTS_FROM: usize = 4;
const CRC_COVERS_FROM: usize = 8;

/// Chosen by whoever asks, repeated by whoever answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Correlation(pub u32);

/// A frame taken off a connection. Its parts are disjoint pieces of the receive buffer, none copied.
#[derive(Debug)]
pub struct Frame {
    /// Which exchange it belongs to.
    pub correlation: Correlation,
    /// The encoded message; its crc was checked.
    pub message: BytesMut,
    /// Record batches; unchecked.
    pub attachment: BytesMut,
}

/// Why a connection cannot go on: nobody knows where the next frame begins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than this side accepts.
    #[error("a frame of {length} bytes is over the limit of {limit} (frame.bytes.max)")]
    TooLong {
        /// As declared.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// Lengths that contradict each other.
    #[error("a frame of {length} bytes cannot hold a message of {message}")]
    Lengths {
        /// Of the frame.
        length: usize,
        /// Of the message.
        message: usize,
    },
    /// Damaged on the way.
    #[error("frame crc is {stored:#010x}, computed {computed:#010x}")]
    Crc {
        /// As sent.
        stored: u32,
        /// As received.
        computed: u32,
    },
}

/// Cuts a byte stream into frames.
#[derive(Clone, Copy, Debug)]
pub struct FrameDecoder {
    limit: usize,
}

/// The declared lengths of a frame, found possible.
#[derive(Clone, Copy, Debug)]
pub struct FrameHead {
    /// Bytes of the whole frame.
    pub total: usize,
    /// Bytes of its message.
    pub message: usize,
    /// Which exchange it belongs to.
    pub correlation: Correlation,
    crc: u32,
}

impl FrameDecoder {
    /// Accepts frames of at most `limit` bytes after the length field.
    pub const fn new(limit: usize) -> Self {
        Self { limit }
    }

    /// How many bytes the first frame in `unread` has in all; `None` until its head is here.
    pub fn frame_length(&self, unread: &[u8]) -> Result<Option<usize>, FrameError> {
        Ok(self.head(unread)?.map(|head| head.total))
    }

    /// What the first frame in `unread` says of itself; `None` until its head is here.
    pub fn head(&self, unread: &[u8]) -> Result<Option<FrameHead>, FrameError> {
        let Some((prefix, rest)) = unread.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix) as usize;
        if self.limit < length {
            return Err(FrameError::TooLong { length, limit: self.limit }); // Before waiting for bytes that must not come.
        }
        if length + LENGTH_COUNTS_FROM < FRAME_HEAD_LENGTH {
            return Err(FrameError::Lengths { length, message: 0 }); // However much of the head has come.
        }
        let Some(rest) = rest.first_chunk::<12>() else { return Ok(None) };
        let [c0, c1, c2, c3, i0, i1, i2, i3, m0, m1, m2, m3] = *rest;
        let message = u32::from_be_bytes([m0, m1, m2, m3]) as usize;
        if length + LENGTH_COUNTS_FROM < FRAME_HEAD_LENGTH + message {
            return Err(FrameError::Lengths { length, message });
        }
        Ok(Some(FrameHead {
            total: length + LENGTH_COUNTS_FROM,
            message,
            crc: u32::from_be_bytes([c0, c1, c2, c3]),
            correlation: Correlation(u32::from_be_bytes([i0, i1, i2, i3])),
        }))
    }

    /// Takes the first frame off `unread`; `None` until it is whole.
    pub fn next_frame(&self, unread: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(head) = self.head(unread)? else { return Ok(None) };
        if unread.len() < head.total {
            return Ok(None);
        }
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

/// Head and message of a frame; the caller sends `attachment_length` bytes of records right after.
///
/// # Panics
/// If the whole is 4 GiB or more.
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
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = FrameDecoder::new(100).next_frame(&mut BytesMut::from(&bytes[..]));
        }
    }

    #[test]
    fn the_bytes_of_a_frame_are_fixed() {
        let bytes: String = sent(b"hi", b"xyz").iter().map(|byte| format!("{byte:02x}")).collect();
        insta::assert_snapshot!(bytes, @"00000011ecdcc1980000000900000002686978797a");
    }

    #[test]
    fn impossible_lengths_are_refused_before_their_bytes_arrive() {
        let decoder = FrameDecoder::new(1_000);
        let refuse = |bytes: &[u8]| decoder.next_frame(&mut BytesMut::from(bytes)).unwrap_err();
        assert_eq!(refuse(&(-1i32).to_be_bytes()), FrameError::TooLong { length: u32::MAX as usize, limit: 1_000 });
        assert_eq!(refuse(&1_001u32.to_be_bytes()), FrameError::TooLong { length: 1_001, limit: 1_000 });
        assert_eq!(refuse(&0u32.to_be_bytes()), FrameError::Lengths { length: 0, message: 0 });
        let mut lying = sent(b"hi", b"");
        lying[15] = 200;
        assert_eq!(refuse(&lying), FrameError::Lengths { length: 14, message: 200 });
    }

    #[test]
    fn a_damaged_message_is_noticed() {
        let mut bytes = sent(b"hi", b"");
        bytes[17] ^= 1;
        let error = FrameDecoder::new(1_000).next_frame(&mut BytesMut::from(&bytes[..])).unwrap_err();
        assert!(matches!(error, FrameError::Crc { .. }));
    }
}
