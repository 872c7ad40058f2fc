//! The only module that knows how messages, metadata commands and snapshots become bytes.
//!
//! bincode 2 is finished but unmaintained, so everything goes through this pair of functions: another format is a
//! change of this file. It is positional: a released type never changes, a change is a new enum variant at the end.

use ::bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message in bytes; also bounds what decoding allocates.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

const CONFIG: Configuration<LittleEndian, Varint, Limit<MESSAGE_BYTES_MAX>> =
    ::bincode::config::standard().with_limit::<MESSAGE_BYTES_MAX>();

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
    ::bincode::serde::encode_to_vec(message, CONFIG).expect("our messages are plain data below the limit")
}

/// Reads exactly one message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (message, consumed) = ::bincode::serde::decode_from_slice(bytes, CONFIG)?;
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
    fn surplus_bytes_are_an_error() {
        let mut bytes = encode(&7u32);
        bytes.push(0);
        assert!(matches!(decode::<u32>(&bytes), Err(DecodeError::Surplus { surplus: 1 })));
    }
}
