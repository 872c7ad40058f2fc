//! A topic's id. Each creation gets a new one, so a topic created again under an old name is another topic.

use serde::{Deserialize, Serialize};
use std::fmt;

/// 128 random bits, displayed as a UUID. They are never all zero, which Kafka clients read as "no id".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// Makes an id (UUID version 4) from random bytes.
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// Wraps the stored bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for TopicId {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_displays_as_a_version_4_uuid() {
        insta::assert_snapshot!(TopicId::from_random([0xff; 16]), @"ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
