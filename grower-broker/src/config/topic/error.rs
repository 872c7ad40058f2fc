//! What to tell somebody whose config was refused.

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
    /// A value that a later version will take.
    #[error("{key}={value} is not supported yet; leave it at delete")]
    NotYet {
        /// The key.
        key: String,
        /// As given.
        value: String,
    },
    /// The same key twice in one request.
    #[error("{key} is set more than once")]
    Repeated {
        /// The key.
        key: String,
    },
}

struct Hint<'a>(&'a Option<&'static str>);

impl std::fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |nearest| write!(f, " (did you mean {nearest}?)"))
    }
}

impl ConfigError {
    pub(super) fn unknown(key: &str, known: impl Iterator<Item = &'static str> + Clone) -> Self {
        let key = shortened(key);
        let nearest = known.clone().map(|name| (edits(&key, name), name)).min().filter(|(edits, _)| *edits <= 4);
        let known = known.collect::<Vec<_>>().join(", ");
        Self::UnknownKey { key, nearest: nearest.map(|(_, name)| name), known }
    }

    pub(super) fn invalid(key: &str, value: &str, accepts: &'static str) -> Self {
        Self::InvalidValue { key: key.to_owned(), value: shortened(value), accepts }
    }
}

/// What a stranger sent may be long: enough of it to recognise.
fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 64;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

/// How many letters must be put in, taken out or changed to turn one text into the other.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in to.chars().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
