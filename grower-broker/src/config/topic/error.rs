//! Errors of topic configs.

use crate::config::suggest::{Hint, nearest, shortened};

/// The reason why a topic config was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The key is unknown.
    #[error("there is no topic config {key:?}{hint}; known are {known}", hint = Hint(nearest))]
    UnknownKey {
        /// As given, shortened.
        key: String,
        /// The most similar key.
        nearest: Option<&'static str>,
        /// All keys, with commas.
        known: String,
    },
    /// The value is invalid.
    #[error("{key}={value:?} is not allowed: it takes {accepts}")]
    InvalidValue {
        /// The key.
        key: String,
        /// As given, shortened.
        value: String,
        /// The accepted values.
        accepts: &'static str,
    },
    /// The request sets a key twice.
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
