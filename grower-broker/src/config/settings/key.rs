//! One setting: its name, its parser, and its form in a file.

use super::file::FileValue;
use super::{BrokerSettings, SettingProblem};

pub(super) struct SettingKey {
    /// `section.key`.
    pub(super) name: &'static str,
    /// Its description in a config file.
    pub(super) about: &'static str,
    /// Completes "it takes ..".
    pub(super) accepts: &'static str,
    pub(super) kind: ValueKind,
    /// Whether it can be changed while the broker runs.
    pub(super) live: bool,
    /// `None` refuses the value.
    pub(super) set: fn(&mut BrokerSettings, &str) -> Option<()>,
    /// `None` stands for a setting that is not set.
    pub(super) show: fn(&BrokerSettings) -> Option<String>,
}

/// The form of a value in TOML.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// A string.
    Text,
    /// A size or a duration: a string with a unit, or a number of bytes or milliseconds.
    Measure,
    /// A number.
    Count,
    /// `true` or `false`.
    Switch,
}

impl SettingKey {
    pub(super) fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// Parses text from a flag or the environment.
    pub(super) fn read(&self, settings: &mut BrokerSettings, text: &str) -> Result<(), SettingProblem> {
        (self.set)(settings, text.trim()).ok_or_else(|| self.refuse(&format!("{text:?}")))
    }

    /// Takes a value of a file. A wrong type is refused even if its text would be valid.
    pub(super) fn take(&self, settings: &mut BrokerSettings, value: &FileValue) -> Result<(), SettingProblem> {
        let text = match (value, self.kind) {
            (FileValue::Text(text), ValueKind::Text | ValueKind::Measure)
            | (FileValue::Number(text), ValueKind::Measure | ValueKind::Count)
            | (FileValue::Switch(text), ValueKind::Switch) => text,
            _ => return Err(self.refuse(&value.to_string())),
        };
        (self.set)(settings, text.trim()).ok_or_else(|| self.refuse(&value.to_string()))
    }

    fn refuse(&self, written: &str) -> SettingProblem {
        SettingProblem::invalid(self.name, written, self.accepts)
    }

    /// The lines of a file with its present value.
    pub(super) fn to_toml(&self, settings: &BrokerSettings) -> String {
        let key = self.name.split_once('.').map_or(self.name, |(_, key)| key);
        let line = match ((self.show)(settings), self.kind) {
            (None, _) => format!("# {key} ="),
            (Some(value), ValueKind::Text | ValueKind::Measure) => format!("{key} = {}", toml::Value::String(value)),
            (Some(value), ValueKind::Count | ValueKind::Switch) => format!("{key} = {value}"),
        };
        format!("# {} ({}).\n{line}\n", self.about, self.accepts)
    }
}
