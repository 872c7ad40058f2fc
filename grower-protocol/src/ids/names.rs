//! Names of topics, groups, members, committers and producers, checked when they are made.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The longest topic name or group id, in bytes.
pub const NAME_LENGTH_MAX: usize = 249;

/// A topic's name: 1 to 249 of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`. Safe as a directory name.
///
/// Names that start with `__` are reserved for the broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicName(Arc<str>);

/// A consumer group's id: 1 to 249 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupId(Arc<str>);

/// A member of a consumer group: 1 to 249 bytes without control characters, chosen by the client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemberId(Arc<str>);

/// A client that commits offsets for a group without membership: 1 to 249 bytes without control characters, chosen by
/// the client at random.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitterId(Arc<str>);

/// The stable name of a producer, which survives its restarts: 1 to 249 bytes without control characters, chosen by the
/// client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProducerName(Arc<str>);

/// The reason why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error("a name cannot be empty")]
    Empty,
    /// The name is longer than [`NAME_LENGTH_MAX`].
    #[error("a name has at most {NAME_LENGTH_MAX} bytes, this one has {length}")]
    TooLong {
        /// The length in bytes.
        length: usize,
    },
    /// A topic name has a character that is not allowed.
    #[error("{name:?} has the character {found:?}; topic names consist of a-z A-Z 0-9 . _ -")]
    TopicCharacter {
        /// The name as given.
        name: String,
        /// The first such character.
        found: char,
    },
    /// The id of a group, member or committer, or the name of a producer, has a control character.
    #[error("{name:?} has a control character")]
    ControlCharacter {
        /// The name as given.
        name: String,
    },
    /// A topic name is `.` or `..`.
    #[error("{name:?} names a directory and cannot be a topic name")]
    Directory {
        /// The name as given.
        name: String,
    },
}

impl TopicName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check_length(name)?;
        let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some(found) = name.chars().find(|c| !allowed(c)) {
            return Err(NameError::TopicCharacter { name: name.to_owned(), found });
        }
        if name == "." || name == ".." {
            return Err(NameError::Directory { name: name.to_owned() });
        }
        Ok(Self(name.into()))
    }

    /// Whether the name is reserved for the broker (`__..`).
    pub fn is_internal(&self) -> bool {
        self.0.starts_with("__")
    }

    /// Whether metrics or case-folding file systems confuse the two names, as they do `a.b` and `a_b`, or `A` and `a`.
    pub fn collides_with(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }

    /// Returns the name in lower case with `_` for `.`. Two names collide exactly if they fold to the same text.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase().replace('.', "_")
    }
}

fn check_length(name: &str) -> Result<(), NameError> {
    match name.len() {
        0 => Err(NameError::Empty),
        length if NAME_LENGTH_MAX < length => Err(NameError::TooLong { length }),
        _ => Ok(()),
    }
}

fn check_printable(name: &str) -> Result<(), NameError> {
    check_length(name)?;
    if name.chars().any(char::is_control) {
        return Err(NameError::ControlCharacter { name: name.to_owned() });
    }
    Ok(())
}

impl GroupId {
    /// Checks an id.
    pub fn new(id: &str) -> Result<Self, NameError> {
        check_printable(id).map(|()| Self(id.into()))
    }
}

impl MemberId {
    /// Checks an id.
    pub fn new(id: &str) -> Result<Self, NameError> {
        check_printable(id).map(|()| Self(id.into()))
    }
}

impl CommitterId {
    /// Checks an id.
    pub fn new(id: &str) -> Result<Self, NameError> {
        check_printable(id).map(|()| Self(id.into()))
    }
}

impl ProducerName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check_printable(name).map(|()| Self(name.into()))
    }
}

/// Implements access to the text, display and checked conversion for a name.
macro_rules! name {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for Arc<str> {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl From<&$name> for Arc<str> {
            fn from(name: &$name) -> Self {
                name.0.clone()
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.to_string()
            }
        }
    };
}

name!(TopicName);
name!(GroupId);
name!(MemberId);
name!(CommitterId);
name!(ProducerName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_are_safe_directory_names() {
        for good in ["a", "Events.v1_x-2", "...", "__consumer_offsets", &"n".repeat(249)] {
            assert!(TopicName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "/etc/x", "a/b", "a\0b", "caf\u{e9}", "\u{43e}rders", "a b", &"n".repeat(250)] {
            assert!(TopicName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_metrics_or_file_systems_fold_collide() {
        let name = |text| TopicName::new(text).unwrap();
        assert!(name("a.b").collides_with(&name("a_b")));
        assert!(name("Orders").collides_with(&name("orders")));
        assert!(!name("a-b").collides_with(&name("a_b")));
    }

    #[test]
    fn group_ids_may_be_any_printable_text() {
        assert!(GroupId::new("billing / \u{fc}ber").is_ok());
        assert!(GroupId::new("a\u{1b}[2J").is_err());
        assert!(GroupId::new("").is_err());
    }
}
