//! The only module that knows how messages, metadata commands and snapshots become bytes.
//!
//! bincode 2 is finished but unmaintained, so everything goes through this pair of functions: another format is a
//! change of this file. It is positional: a released type never changes, a change is a new enum variant at the end.

use ::bincode::config::{Configuration, Limit, LittleEndian, Varint};
use ::bincode::enc::write::SizeWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message in bytes; also bounds what decoding allocates.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

const fn config<const LIMIT: usize>() -> Configuration<LittleEndian, Varint, Limit<LIMIT>> {
    ::bincode::config::standard().with_limit::<LIMIT>()
}

/// Why bytes are not the message they should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not what the type looks like, or beyond the limit.
    #[error("malformed message: {0}")]
    Malformed(#[from] ::bincode::error::DecodeError),
    /// The message ended before the bytes did.
    #[error("{surplus} bytes follow the message")]
    Surplus {
        /// How many.
        surplus: usize,
    },
}

/// Turns a message into bytes.
///
/// # Panics
/// If it is larger than [`MESSAGE_BYTES_MAX`]: whoever builds messages bounds them first.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    ::bincode::serde::encode_to_vec(message, config::<MESSAGE_BYTES_MAX>())
        .expect("our messages are plain data below the limit")
}

/// Whether [`decode`] reads an encoded message, which counts its numbers by their full width: one that is below the limit
/// here may be beyond it there. Whoever sends what grows with its subject asks first.
pub fn is_readable<T: Serialize>(message: &T, encoded: &[u8]) -> bool {
    // A number takes at most eight times the bytes that it takes here.
    encoded.len() <= MESSAGE_BYTES_MAX / 8
        || encoded.len() <= MESSAGE_BYTES_MAX && read_length(message) <= MESSAGE_BYTES_MAX
}

/// What a message, or a part of one, comes to by the count of its decoder: all numbers as wide as they can be.
pub fn read_length<T: Serialize>(message: &T) -> usize {
    let mut counter = SizeWriter::default();
    let widest = ::bincode::config::standard().with_fixed_int_encoding();
    match ::bincode::serde::encode_into_writer(message, &mut counter, widest) {
        Ok(()) => counter.bytes_written,
        Err(_) => usize::MAX, // What cannot be written cannot be read.
    }
}

/// Reads exactly one message.
///
/// The limit counts numbers by their full width, up to eight times the bytes that they take here, and a text by the
/// length that it claims. So it goes with the size of the message: a few bytes cannot claim a text of many.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match bytes.len() {
        0..SMALL => decode_within::<T, { 16 * SMALL }>(bytes),
        SMALL..MEDIUM => decode_within::<T, { 16 * MEDIUM }>(bytes),
        _ => decode_within::<T, MESSAGE_BYTES_MAX>(bytes),
    }
}

const SMALL: usize = 4 << 10;
const MEDIUM: usize = 64 << 10;

fn decode_within<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (message, consumed) = ::bincode::serde::decode_from_slice(bytes, config::<LIMIT>())?;
    match bytes.len() - consumed {
        0 => Ok(message),
        surplus => Err(DecodeError::Surplus { surplus }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_the_limit_allocates_nothing() {
        // Nine bytes that promise 2^60 elements.
        let hostile = [253, 0, 0, 0, 0, 0, 0, 0, 16];
        assert!(matches!(decode::<Vec<u8>>(&hostile), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn a_short_message_cannot_claim_a_long_text() {
        let claim = encode(&(MESSAGE_BYTES_MAX as u64 - 100)); // The length of a text that does not follow.
        let error = decode::<String>(&claim).unwrap_err().to_string();
        assert!(error.contains("LimitExceeded"), "{error}");
    }

    #[test]
    fn messages_of_every_size_come_back() {
        for length in [0, SMALL - 3, SMALL, MEDIUM - 3, MEDIUM, 10 * MEDIUM] {
            let text = "x".repeat(length);
            assert_eq!(decode::<String>(&encode(&text)).unwrap(), text);
            let numbers = vec![7u64; length]; // As wide as can be beside the bytes that they take.
            assert_eq!(decode::<Vec<u64>>(&encode(&numbers)).unwrap(), numbers);
        }
    }

    #[test]
    fn what_is_called_readable_is_read_and_nothing_else() {
        let most = MESSAGE_BYTES_MAX / 8 - 1; // Beside their count.
        for (length, readable) in [(10, true), (most, true), (most + 1, false), (4 * most, false)] {
            let numbers = vec![7u64; length];
            let bytes = encode(&numbers);
            assert!(bytes.len() < MESSAGE_BYTES_MAX);
            assert_eq!((is_readable(&numbers, &bytes), decode::<Vec<u64>>(&bytes).is_ok()), (readable, readable));
        }
        let text = "x".repeat(MESSAGE_BYTES_MAX - 8);
        let most = (text.as_str(), None::<u8>);
        assert!(!is_readable(&most, &encode(&most)));
        assert!(is_readable(&text, &encode(&text)));
        assert!(decode::<String>(&encode(&text)).is_ok());
    }

    #[test]
    fn surplus_bytes_are_an_error() {
        let mut bytes = encode(&7u32);
        bytes.push(0);
        assert!(matches!(decode::<u32>(&bytes), Err(DecodeError::Surplus { surplus: 1 })));
    }
}
