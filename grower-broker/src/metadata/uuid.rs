//! Random identities of clusters and nodes.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// 128 random bits. A node id may be given twice by mistake; this cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Uuid([u8; 16]);

/// Text that is not a UUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID such as 6d2f8a9c-1b7e-4c55-9f0e-3a1d2b4c5e6f")]
pub struct UuidError;

impl Uuid {
    /// Makes a version 4 UUID of random bytes.
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// The bytes as they are stored.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        let number = u128::from_str_radix(&text.replace('-', ""), 16).map_err(|_| UuidError)?;
        let uuid = Self(number.to_be_bytes());
        // Only the canonical form, so that text and value are one to one.
        if uuid.to_string() == text { Ok(uuid) } else { Err(UuidError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_survives_formatting_and_parsing() {
        let uuid = Uuid::from_random([0xa7; 16]);
        assert_eq!(uuid.to_string().parse(), Ok(uuid));
        for bad in ["", "a7a7a7a7", "A7A7A7A7-a7a7-47a7-a7a7-a7a7a7a7a7a7", "+7a7a7a7-a7a7-47a7-a7a7-a7a7a7a7a7a7"] {
            assert_eq!(bad.parse::<Uuid>(), Err(UuidError), "{bad}");
        }
    }
}
