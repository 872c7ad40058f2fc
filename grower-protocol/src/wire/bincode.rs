//! Encodes and decodes messages, metadata commands and snapshots. No other module names bincode.
//!
//! bincode 2 is unmaintained; this module makes it replaceable. The format is positional: a released type never
//! changes, a change is a new enum variant at the end.

use ::bincode::config::{Configuration, Limit, LittleEndian, Varint};
use ::bincode::enc::write::SizeWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message in bytes. It also bounds the memory that decoding allocates.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

const fn config<const LIMIT: usize>() -> Configuration<LittleEndian, Varint, Limit<LIMIT>> {
    ::bincode::config::standard().with_limit::<LIMIT>()
}

/// The reason why a message cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not encode the type, or pass the limit.
    #[error("malformed message: {0}")]
    Malformed(#[from] ::bincode::error::DecodeError),
    /// Bytes follow the message.
    #[error("{surplus} bytes follow the message")]
    Surplus {
        /// The number of bytes after the message.
        surplus: usize,
    },
}

/// Encodes a message.
///
/// # Panics
/// If the message is larger than [`MESSAGE_BYTES_MAX`]. The caller bounds it first.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    ::bincode::serde::encode_to_vec(message, config::<MESSAGE_BYTES_MAX>())
        .expect("our messages are plain data below the limit")
}

/// Whether [`decode`] accepts an encoded message. It counts each number by its full width, so a message below the limit
/// when encoded may pass the limit of the decoder. Callers check every message of unbounded length before they send it.
pub fn is_readable<T: Serialize>(message: &T, encoded: &[u8]) -> bool {
    // The full width of a number is at most eight times its encoded length.
    encoded.len() <= MESSAGE_BYTES_MAX / 8
        || encoded.len() <= MESSAGE_BYTES_MAX && read_length(message) <= MESSAGE_BYTES_MAX
}

/// The length in bytes of a message, or a part of one, as its decoder counts it: every number by its full width.
pub fn read_length<T: Serialize>(message: &T) -> usize {
    let mut counter = SizeWriter::default();
    let widest = ::bincode::config::standard().with_fixed_int_encoding();
    match ::bincode::serde::encode_into_writer(message, &mut counter, widest) {
        Ok(()) => counter.bytes_written,
        Err(_) => usize::MAX, // A value that cannot be encoded cannot be decoded either.
    }
}

/// Decodes exactly one message.
///
/// The decoder's limit counts a number by its full width, up to eight times its encoded length, and a text by the
/// length that it claims. The limit therefore grows with the length of the message: a short message cannot claim a long
/// text.
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
        // Nine bytes that claim 2^60 elements.
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
    fn messages_of_every_size_decode_to_themselves() {
        for length in [0, SMALL - 3, SMALL, MEDIUM - 3, MEDIUM, 10 * MEDIUM] {
            let text = "x".repeat(length);
            assert_eq!(decode::<String>(&encode(&text)).unwrap(), text);
            let numbers = vec![7u64; length]; // Eight times wider decoded than encoded.
            assert_eq!(decode::<Vec<u64>>(&encode(&numbers)).unwrap(), numbers);
        }
    }

    #[test]
    fn is_readable_agrees_with_decode() {
        let most = MESSAGE_BYTES_MAX / 8 - 1; // One less, for the vector's length.
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
