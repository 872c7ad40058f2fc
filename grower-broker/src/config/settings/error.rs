//! Errors of settings.

use crate::config::suggest::{Hint, nearest, shortened};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// The reason why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is missing or unreadable.
    #[error("cannot read the config file {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is too long for a config file.
    #[error("{path} is longer than {limit} bytes: it is not a config file", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The file is not TOML.
    #[error("{origin}: {message}")]
    Syntax {
        /// The position of the error.
        origin: SettingOrigin,
        /// The error, in one line.
        message: String,
    },
    /// A setting was refused.
    #[error("{origin}: {problem}")]
    Refused {
        /// Its source.
        origin: SettingOrigin,
        /// The problem.
        problem: SettingProblem,
    },
}

/// The source of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingOrigin {
    /// A line of a file, from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Env(String),
    /// A flag, with its dashes.
    Flag(&'static str),
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// The problem with a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingProblem {
    /// The key is unknown.
    #[error("there is no setting {key:?}{hint}; known are {known}", hint = Hint(nearest))]
    Unknown {
        /// As given, shortened.
        key: String,
        /// The most similar key.
        nearest: Option<&'static str>,
        /// The keys of its section, or all keys, with commas.
        known: String,
    },
    /// The value is invalid.
    #[error("{key} = {value} is not allowed: it takes {accepts}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// As given, shortened.
        value: String,
        /// The accepted values.
        accepts: &'static str,
    },
}

impl SettingProblem {
    pub(super) fn unknown(key: &str, known: impl Iterator<Item = &'static str> + Clone) -> Self {
        let key = shortened(key);
        let without_section = |name: &&str| name.split_once('.').is_some_and(|(_, last)| last == key);
        let nearest = known.clone().find(without_section).or_else(|| nearest(&key, known.clone()));
        let section = key.split_once('.').map_or("", |(section, _)| section);
        let of_section = |name: &&str| name.split_once('.').is_some_and(|(first, _)| first == section);
        let mut listed: Vec<_> = known.clone().filter(of_section).collect();
        if listed.is_empty() {
            listed = known.collect();
        }
        Self::Unknown { key, nearest, known: listed.join(", ") }
    }

    pub(super) fn invalid(key: &'static str, value: &str, accepts: &'static str) -> Self {
        Self::Invalid { key, value: shortened(value), accepts }
    }
}
