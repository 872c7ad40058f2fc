//! The daemon's settings: from a TOML file, the environment and flags, with later sources winning. Some can be changed
//! while the broker runs: see `live`.
//!
//! Each setting has one name, `section.key`, and one parser for all sources: `[network] http = "off"` in the file,
//! `GROWER__NETWORK__HTTP=off` in the environment, `--http off` as a flag. Unknown keys and values are errors with
//! their position; nothing is skipped, so a mistyped limit never silently keeps its default.

mod error;
mod file;
mod key;
mod keys;
mod live;

pub use error::{SettingOrigin, SettingProblem, SettingsError};
pub use live::SettingRefusal;
pub(crate) use live::{LiveSettings, SetLogLevel};

use super::BrokerConfig;
use key::SettingKey;
use keys::KEYS;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// All settings of the daemon. Two are equal if their values are, whatever the sources.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// The broker's settings.
    pub broker: BrokerConfig,
    /// The format of log lines.
    pub log_format: LogFormat,
    /// The log level, as a filter of `tracing`.
    pub log_level: String,
    /// The source of each setting that was set.
    origins: BTreeMap<&'static str, SettingOrigin>,
    /// The reason why `RUST_LOG` was ignored, if it was.
    pub passed_over: Option<String>,
}

impl PartialEq for BrokerSettings {
    fn eq(&self, other: &Self) -> bool {
        let said = |of: &Self| (of.broker.clone(), of.log_format, of.log_level.clone());
        said(self) == said(other)
    }
}

impl Eq for BrokerSettings {}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// The prefix of environment variables for settings.
const ENV_PREFIX: &str = "GROWER__";

impl Default for BrokerSettings {
    /// Both ports on loopback, and no data directory yet.
    fn default() -> Self {
        let loopback = |port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let broker = BrokerConfig { listen: loopback(9092), http: loopback(9094), ..BrokerConfig::at(PathBuf::new()) };
        Self::of(broker)
    }
}

/// Variables for the log level, the stronger one last.
const LEVEL_VARIABLES: [&str; 2] = [SHARED_LEVEL_VARIABLE, "GROWER_LOG"];

/// Other programs read this variable too: a value that is no filter here must not stop the start.
const SHARED_LEVEL_VARIABLE: &str = "RUST_LOG";

impl BrokerSettings {
    /// The settings of a broker that a program embeds.
    pub fn of(broker: BrokerConfig) -> Self {
        Self {
            broker,
            log_format: LogFormat::default(),
            log_level: "info".to_owned(),
            origins: BTreeMap::new(),
            passed_over: None,
        }
    }

    /// Reads a TOML file.
    pub fn read_file(&mut self, path: &Path) -> Result<(), SettingsError> {
        self.read_text(path, &file::read(path)?)
    }

    /// Reads the text of a TOML file; errors name `path`.
    pub fn read_text(&mut self, path: &Path, text: &str) -> Result<(), SettingsError> {
        for entry in file::entries(path, text)? {
            let origin = SettingOrigin::File { path: path.to_owned(), line: entry.line };
            let set = find(&entry.key).and_then(|key| key.take(self, &entry.value).map(|()| key.name));
            self.note(origin, set)?;
        }
        Ok(())
    }

    /// Reads variables called `GROWER__SECTION__KEY`, and ignores others and empty ones. A setting from a flag stays,
    /// even if the variable is invalid.
    pub fn read_env(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<(), SettingsError> {
        let mut levels = [const { None }; LEVEL_VARIABLES.len()];
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            // Text that is not Unicode is no value of any key, so the parser refuses it.
            let value = value.to_string_lossy();
            if let Some(at) = LEVEL_VARIABLES.iter().position(|known| *known == name) {
                levels[at] = Some(value.into_owned()).filter(|value| !value.is_empty());
            } else if let Some(key) = name.strip_prefix(ENV_PREFIX) {
                let key = key.replace("__", ".").to_lowercase();
                let is_settled = value.is_empty() || matches!(self.origins.get(&*key), Some(SettingOrigin::Flag(_)));
                if find(&key).is_err() || !is_settled {
                    self.set(SettingOrigin::Env(name.to_owned()), &key, &value)?;
                }
            }
        }
        for (name, level) in LEVEL_VARIABLES.into_iter().zip(levels) {
            let set =
                level.map_or(Ok(()), |level| self.set(SettingOrigin::Env(name.to_owned()), "logging.level", &level));
            match set {
                Err(error) if name == SHARED_LEVEL_VARIABLE => self.passed_over = Some(error.to_string()),
                set => set?,
            }
        }
        Ok(())
    }

    /// Reads a flag.
    pub fn read_flag(&mut self, flag: &'static str, key: &str, value: &str) -> Result<(), SettingsError> {
        self.set(SettingOrigin::Flag(flag), key, value)
    }

    fn set(&mut self, origin: SettingOrigin, key: &str, text: &str) -> Result<(), SettingsError> {
        let set = find(key).and_then(|key| key.read(self, text).map(|()| key.name));
        self.note(origin, set)
    }

    /// Notes the source of a setting, or adds it to the error.
    fn note(&mut self, origin: SettingOrigin, set: Result<&'static str, SettingProblem>) -> Result<(), SettingsError> {
        match set {
            Ok(key) => drop(self.origins.insert(key, origin)),
            Err(problem) => return Err(SettingsError::Refused { origin, problem }),
        }
        Ok(())
    }

    /// All settings as a TOML file that can be read back.
    pub fn to_toml(&self) -> String {
        let mut toml = String::new();
        let mut section = "";
        for key in &KEYS {
            if key.section() != section {
                section = key.section();
                let blank = if toml.is_empty() { "" } else { "\n" };
                toml.push_str(&format!("{blank}[{section}]\n"));
            }
            toml.push_str(&key.to_toml(self));
        }
        toml
    }
}

fn find(name: &str) -> Result<&'static SettingKey, SettingProblem> {
    let found = KEYS.iter().find(|key| key.name == name);
    found.ok_or_else(|| SettingProblem::unknown(name, KEYS.iter().map(|key| key.name)))
}

#[cfg(test)]
mod tests;
