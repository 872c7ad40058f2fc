//! One setting: how it is read from text, taken from a file, and written into one.

use super::file::Value;
use super::{Problem, Settings};

pub(super) struct Key {
    /// `section.key`.
    pub(super) name: &'static str,
    /// What it means, for whoever reads the file.
    pub(super) about: &'static str,
    /// Completes "it takes ..".
    pub(super) accepts: &'static str,
    pub(super) kind: Kind,
    /// Whether a running broker takes a new value.
    pub(super) live: bool,
    /// `None` refuses the value.
    pub(super) set: fn(&mut Settings, &str) -> Option<()>,
    /// `None` stands for a setting that is not set.
    pub(super) show: fn(&Settings) -> Option<String>,
}

/// What a value looks like in TOML.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// A size or a duration: a string with a unit, or a number of bytes or milliseconds.
    Measure,
    /// A number.
    Count,
    /// `true` or `false`.
    Switch,
}

impl Key {
    pub(super) fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// Reads text, as flags and the environment have it.
    pub(super) fn read(&self, settings: &mut Settings, text: &str) -> Result<(), Problem> {
        (self.set)(settings, text.trim()).ok_or_else(|| self.refuse(&format!("{text:?}")))
    }

    /// Takes what a file has. A value of the wrong type is refused even if its text would do.
    pub(super) fn take(&self, settings: &mut Settings, value: &Value) -> Result<(), Problem> {
        let text = match (value, self.kind) {
            (Value::Text(text), Kind::Text | Kind::Measure)
            | (Value::Number(text), Kind::Measure | Kind::Count)
            | (Value::Switch(text), Kind::Switch) => text,
            _ => return Err(self.refuse(&value.to_string())),
        };
        (self.set)(settings, text.trim()).ok_or_else(|| self.refuse(&value.to_string()))
    }

    fn refuse(&self, written: &str) -> Problem {
        Problem::invalid(self.name, written, self.accepts)
    }

    /// The lines of a file that set it to what it is.
    pub(super) fn to_toml(&self, settings: &Settings) -> String {
        let key = self.name.split_once('.').map_or(self.name, |(_, key)| key);
        let line = match ((self.show)(settings), self.kind) {
            (None, _) => format!("# {key} ="),
            (Some(value), Kind::Text | Kind::Measure) => format!("{key} = {}", toml::Value::String(value)),
            (Some(value), Kind::Count | Kind::Switch) => format!("{key} = {value}"),
        };
        format!("# {} ({}).\n{line}\n", self.about, self.accepts)
    }
}
