//! Reads the TOML file: keys, values, and their lines.

use super::{SettingOrigin, SettingsError};
use crate::config::suggest::shortened;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// Far more than all settings with comments, about 3 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One `key = value` of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileEntry {
    /// With its section, as in `network.listen`.
    pub(super) key: String,
    pub(super) value: FileValue,
    /// From 1.
    pub(super) line: usize,
}

/// A value of the file, as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileValue {
    Text(String),
    Number(String),
    Switch(String),
    /// A float, a date, a list: never valid, kept as written.
    Other(String),
}

impl fmt::Display for FileValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(text) | Self::Switch(text) => f.write_str(text),
            Self::Other(text) => f.write_str(text.lines().next().unwrap_or_default()),
        }
    }
}

/// The file's text, up to the limit.
pub(super) fn read(path: &Path) -> Result<String, SettingsError> {
    let failed = |source| SettingsError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if FILE_BYTES_MAX < text.len() as u64 {
        return Err(SettingsError::TooLong { path: path.to_owned(), limit: FILE_BYTES_MAX });
    }
    Ok(text)
}

/// The entries of the text, in order.
pub(super) fn entries(path: &Path, text: &str) -> Result<Vec<FileEntry>, SettingsError> {
    let document = DeTable::parse(text).map_err(|error| syntax_error(path, text, &error))?;
    let mut entries = Vec::new();
    collect(document.get_ref(), "", text, &mut entries);
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let span = error.span().unwrap_or_default();
    let line = text.get(span.clone()).and_then(|line| line.lines().next()).unwrap_or_default();
    let mut message = error.message().lines().collect::<Vec<_>>().join(", ");
    if !line.is_empty() {
        message = format!("{message}: {:?}", shortened(line));
    }
    SettingsError::Syntax {
        origin: SettingOrigin::File { path: path.to_owned(), line: line_at(text, span.start) },
        message,
    }
}

fn collect(table: &DeTable<'_>, section: &str, text: &str, into: &mut Vec<FileEntry>) {
    for (key, value) in table {
        let name = format!("{section}{}", key.get_ref());
        match value.get_ref() {
            // BrokerSettings are two levels deep: deeper tables are unknown keys.
            DeValue::Table(inner) if section.is_empty() => collect(inner, &format!("{name}."), text, into),
            _ => {
                into.push(FileEntry { key: name, value: value_of(value, text), line: line_at(text, key.span().start) })
            }
        }
    }
}

fn value_of(value: &Spanned<DeValue<'_>>, text: &str) -> FileValue {
    match value.get_ref() {
        DeValue::String(string) => FileValue::Text(string.clone().into_owned()),
        DeValue::Integer(integer) => FileValue::Number(decimal(integer)),
        DeValue::Boolean(on) => FileValue::Switch(on.to_string()),
        _ => FileValue::Other(text.get(value.span()).unwrap_or_default().to_owned()),
    }
}

/// Converts `0x10` and `1_000` to plain decimals.
fn decimal(integer: &DeInteger<'_>) -> String {
    let number = i128::from_str_radix(integer.as_str(), integer.radix());
    number.map_or_else(|_| integer.to_string(), |number| number.to_string())
}

fn line_at(text: &str, position: usize) -> usize {
    text.bytes().take(position).filter(|byte| *byte == b'\n').count() + 1
}
