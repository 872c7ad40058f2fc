//! The preface: the first 8 bytes in each direction of a native connection, with the sender's protocol versions.
//!
//! ```text
//! 0 'G' 'R' 'O' 'W' | 4 highest version u16 | 6 lowest version u16
//! ```
//! Both sides send theirs at once and agree on the same version. A Kafka client opens with a length instead. The length
//! that reads `GROW` would be over 1 GiB, which no listener accepts.

/// Length of a preface in bytes.
pub const PREFACE_LENGTH: usize = 8;

const MAGIC: [u8; 4] = *b"GROW";

/// The range of protocol versions that one side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preface {
    /// The newest version.
    pub highest: u16,
    /// The oldest version.
    pub lowest: u16,
}

/// The reason why two sides cannot communicate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefaceError {
    /// The other side speaks another protocol.
    #[error("the other side does not speak Grower's protocol")]
    NotGrower,
    /// The sides have no version in common.
    #[error("the other side speaks protocol versions {theirs}, this one speaks {ours}: upgrade the {older} side", older = if *.we_are_older { "near" } else { "far" })]
    NoCommonVersion {
        /// The versions of this side.
        ours: String,
        /// The versions of the other side.
        theirs: String,
        /// Whether this side needs the upgrade.
        we_are_older: bool,
    },
}

impl Preface {
    /// The versions of this build.
    pub const OURS: Self = Self { highest: 1, lowest: 1 };

    /// Encodes the preface.
    pub fn encode(self) -> [u8; PREFACE_LENGTH] {
        let [h0, h1] = self.highest.to_be_bytes();
        let [l0, l1] = self.lowest.to_be_bytes();
        [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], h0, h1, l0, l1]
    }

    /// Decodes the preface of the other side.
    pub fn decode(bytes: [u8; PREFACE_LENGTH]) -> Result<Self, PrefaceError> {
        let [g, r, o, w, h0, h1, l0, l1] = bytes;
        if [g, r, o, w] != MAGIC {
            return Err(PrefaceError::NotGrower);
        }
        Ok(Self { highest: u16::from_be_bytes([h0, h1]), lowest: u16::from_be_bytes([l0, l1]) })
    }

    /// The newest version that both sides speak.
    pub fn agree(self, theirs: Self) -> Result<u16, PrefaceError> {
        let common = self.highest.min(theirs.highest);
        if common < self.lowest.max(theirs.lowest) {
            let range = |p: Self| format!("{}..={}", p.lowest, p.highest);
            let we_are_older = self.highest < theirs.highest;
            return Err(PrefaceError::NoCommonVersion { ours: range(self), theirs: range(theirs), we_are_older });
        }
        Ok(common)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_preface_are_fixed() {
        assert_eq!(Preface { highest: 3, lowest: 1 }.encode(), *b"GROW\0\x03\0\x01");
        assert_eq!(Preface::decode(*b"GET / HT"), Err(PrefaceError::NotGrower));
    }

    #[test]
    fn both_sides_agree_on_the_newest_common_version() {
        let old = Preface { highest: 2, lowest: 1 };
        let new = Preface { highest: 5, lowest: 2 };
        assert_eq!(old.agree(new), Ok(2));
        assert_eq!(new.agree(old), Ok(2));
    }

    #[test]
    fn without_a_common_version_each_side_names_the_older_one() {
        let old = Preface { highest: 1, lowest: 1 };
        let new = Preface { highest: 5, lowest: 2 };
        insta::assert_snapshot!(old.agree(new).unwrap_err(), @"the other side speaks protocol versions 2..=5, this one speaks 1..=1: upgrade the near side");
        insta::assert_snapshot!(new.agree(old).unwrap_err(), @"the other side speaks protocol versions 1..=1, this one speaks 2..=5: upgrade the far side");
    }
}
