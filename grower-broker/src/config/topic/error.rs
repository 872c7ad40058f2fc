//! What to tell somebody whose config was refused.

use crate::config::suggest::{Hint, nearest, shortened};

/// Why a topic config was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such key.
    #[error("there is no topic config {key:?}{hint}; known are {known}", hint = Hint(nearest))]
    UnknownKey {
        /// As given, cut to a readable length.
        key: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
        /// All keys, with commas.
        known: String,
    },
    /// A value that the key does not take.
    #[error("{key}={value:?} is not allowed: it takes {accepts}")]
    InvalidValue {
        /// The key.
        key: String,
        /// As given, cut to a readable length.
        value: String,
        /// What the key takes.
        accepts: &'static str,
    },
    /// The same key twice in one request.
    #[error("{key} is set more than once")]
    Repeated {
        /// The key.
        key: String,
    },
}

impl ConfigError {
    pub(super) fn unknown(key: &str, known: impl Iterator<Item = &'static str> + Clone) -> Self {
        let key = shortened(key);
        let nearest = nearest(&key, known.clone());
        Self::UnknownKey { key, nearest, known: known.collect::<Vec<_>>().join(", ") }
    }

    pub(super) fn invalid(key: &str, value: &str, accepts: &'static str) -> Self {
        Self::InvalidValue { key: key.to_owned(), value: shortened(value), accepts }
    }
}
