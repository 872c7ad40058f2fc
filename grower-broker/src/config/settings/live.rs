//! The settings of a running broker: those of its start, and later changes.
//!
//! A change is stored in the metadata and wins over file, environment and flags, also after a restart. Removing it
//! restores the value of the start. Settings that only a start can apply (ports, memory, the data directory) are
//! refused with the reason.

use super::error::SettingProblem;
use super::{BrokerSettings, KEYS, SettingKey, find};
use crate::config::{BrokerConfig, BrokerConfigError};
use arc_swap::{ArcSwap, Guard};
use grower_protocol::message::{ErrorCode, Failure, SettingEntry, SettingSource};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Changed settings as users wrote them, by key.
pub(crate) type ChangedSettings = BTreeMap<String, String>;

/// Sets the process's log level.
pub(crate) type SetLogLevel = Arc<dyn Fn(&str) + Send + Sync>;

/// The current settings.
pub(crate) struct LiveSettings {
    started: BrokerSettings,
    current: ArcSwap<BrokerSettings>,
    /// None if the program controls its own logging.
    set_log_level: Option<SetLogLevel>,
    /// Held while changes are applied, so that the newest win.
    taking: Mutex<()>,
    /// Wakes waits that depend on a setting.
    changes: watch::Sender<()>,
}

/// The reason why a setting was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingRefusal {
    /// The key or the value is invalid.
    #[error(transparent)]
    Problem(#[from] SettingProblem),
    /// The setting is applied only at a start.
    #[error(
        "{key} changes only with a restart: set it in the config file, the environment or a flag, and restart the broker"
    )]
    NeedsRestart {
        /// The key.
        key: &'static str,
    },
    /// The broker does not control the log.
    #[error("this broker runs inside another program, which controls its own logging")]
    ForeignLog,
    /// The request sets a key twice.
    #[error("{key} is set more than once")]
    Repeated {
        /// The key.
        key: &'static str,
    },
    /// The settings are inconsistent.
    #[error(transparent)]
    Config(#[from] BrokerConfigError),
}

impl From<SettingRefusal> for Failure {
    fn from(refusal: SettingRefusal) -> Self {
        Self::new(ErrorCode::InvalidConfig, refusal)
    }
}

impl LiveSettings {
    pub(crate) fn new(started: BrokerSettings, set_log_level: Option<SetLogLevel>) -> Self {
        let current = ArcSwap::from_pointee(started.clone());
        Self { started, current, set_log_level, taking: Mutex::default(), changes: watch::Sender::default() }
    }

    /// The current settings. Do not keep them: they may change.
    pub(crate) fn now(&self) -> Guard<Arc<BrokerSettings>> {
        self.current.load()
    }

    /// Notified of each change after this call.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Returns once the interval has passed since the first poll. A change of the setting applies at once.
    pub(crate) async fn passed(&self, interval: impl Fn(&BrokerConfig) -> Duration) {
        let (mut changes, since) = (self.changes(), Instant::now());
        loop {
            let due = since + interval(&self.now().broker);
            tokio::select! {
                () = sleep_until(due) => return,
                _ = changes.changed() => {}
            }
        }
    }

    /// Checks changes on top of earlier ones; a value of none removes a change.
    pub(crate) fn check(
        &self,
        before: &ChangedSettings,
        requests: &[(String, Option<String>)],
    ) -> Result<(), SettingRefusal> {
        let mut changed = before.clone();
        for (at, (name, value)) in requests.iter().enumerate() {
            let Some(value) = value else {
                // A key of another version may be set, and must be removable.
                let known = changed.remove(name).is_some();
                find(name).map(drop).or_else(|problem| if known { Ok(()) } else { Err(problem) })?;
                continue;
            };
            let key = self.changeable(name)?;
            if requests.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(SettingRefusal::Repeated { key: key.name });
            }
            key.read(&mut self.started.clone(), value)?;
            changed.insert(name.clone(), value.clone());
        }
        Ok(self.with(&changed).broker.check()?)
    }

    fn changeable(&self, name: &str) -> Result<&'static SettingKey, SettingRefusal> {
        let key = find(name)?;
        match key.name {
            "logging.level" if self.set_log_level.is_none() => Err(SettingRefusal::ForeignLog),
            _ if key.live => Ok(key),
            name => Err(SettingRefusal::NeedsRestart { key: name }),
        }
    }

    /// Applies changes; `changed` is called under the lock.
    pub(crate) fn take(&self, changed: impl FnOnce() -> ChangedSettings) {
        let _newest_last = self.taking.lock();
        let settings = self.sound_with(&changed());
        let before = self.current.swap(Arc::new(settings.clone()));
        if let Some(set) = self.set_log_level.as_ref().filter(|_| before.log_level != settings.log_level) {
            set(&settings.log_level);
        }
        self.changes.send_replace(());
    }

    /// Ignores changes that are inconsistent with the settings of this start.
    fn sound_with(&self, changed: &ChangedSettings) -> BrokerSettings {
        let mut sound = ChangedSettings::new();
        for (key, value) in changed {
            sound.insert(key.clone(), value.clone());
            if let Err(error) = self.with(&sound).broker.check() {
                tracing::warn!(key, value, %error, "ignored a stored setting that conflicts with the settings of this start");
                sound.remove(key);
            }
        }
        self.with(&sound)
    }

    /// The settings with these changes. Unknown keys and values count as unset.
    fn with(&self, changed: &ChangedSettings) -> BrokerSettings {
        let mut settings = self.started.clone();
        for (name, value) in changed {
            let _ = self.changeable(name).map(|key| key.read(&mut settings, value));
        }
        settings
    }

    /// Every setting, in the order of the config file.
    pub(crate) fn describe(&self, changed: &ChangedSettings) -> Vec<SettingEntry> {
        KEYS.iter().map(|key| self.entry(key, changed)).collect()
    }

    fn entry(&self, key: &SettingKey, changed: &ChangedSettings) -> SettingEntry {
        let live = self.changeable(key.name).is_ok();
        let started_with = (key.show)(&self.started);
        let source = if live && changed.contains_key(key.name) {
            SettingSource::Changed
        } else if let Some(origin) = self.started.origins.get(key.name) {
            SettingSource::Start(origin.to_string())
        } else if started_with == (key.show)(&BrokerSettings::default()) {
            SettingSource::Default
        } else {
            SettingSource::Start("the program".to_owned())
        };
        SettingEntry {
            key: key.name.to_owned(),
            value: (key.show)(&self.now()),
            source,
            started_with,
            needs_restart: !live,
            about: key.about.to_owned(),
            accepts: key.accepts.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;

    fn live() -> LiveSettings {
        let mut started = BrokerSettings::default();
        started.read_flag("--memory", "broker.memory", "2GiB").unwrap();
        started.read_flag("--data-dir", "broker.data_dir", "data").unwrap();
        LiveSettings::new(started, Some(Arc::new(|_| {})))
    }

    fn changed(changes: &[(&str, &str)]) -> ChangedSettings {
        changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn check(changes: &[(&str, &str)]) -> Result<(), String> {
        let requests: Vec<_> =
            changes.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect();
        live().check(&ChangedSettings::new(), &requests).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn settings_that_a_running_broker_cannot_change_are_refused_with_the_reason() {
        assert_eq!(check(&[("disk.reserve_bytes", "1GiB"), ("logging.level", "debug")]), Ok(()));
        insta::assert_snapshot!(check(&[("broker.memory", "4GiB")]).unwrap_err(), @"broker.memory changes only with a restart: set it in the config file, the environment or a flag, and restart the broker");
        insta::assert_snapshot!(check(&[("disk.reserve", "4GiB")]).unwrap_err(), @r#"there is no setting "disk.reserve"; known are disk.reserve_bytes, disk.flush_delay, disk.retention_check"#);
        insta::assert_snapshot!(check(&[("disk.reserve_bytes", "plenty")]).unwrap_err(), @r#"disk.reserve_bytes = "plenty" is not allowed: it takes a size, such as 1GiB; auto for 2 % of the file system and at least 64MiB"#);
        insta::assert_snapshot!(check(&[("logging.level", "loud")]).unwrap_err(), @r#"logging.level = "loud" is not allowed: it takes off, error, warn, info, debug or trace, also by module as in info,grower_broker::group=debug"#);
        insta::assert_snapshot!(check(&[("fetch.bytes_max", "200MiB")]).unwrap_err(), @"fetch.bytes_max is 209715200, and must be at least 64KiB below network.frame_bytes_max, which is 104857600");
        insta::assert_snapshot!(check(&[("fetch.bytes_max", "1MiB"), ("fetch.bytes_max", "2MiB")]).unwrap_err(), @"fetch.bytes_max is set more than once");
    }

    #[test]
    fn a_change_goes_before_the_start_until_it_is_taken_back() {
        let live = live();
        live.take(|| changed(&[("disk.reserve_bytes", "1GiB")]));
        assert_eq!(live.now().broker.disk_reserve_bytes, Some(1 << 30));
        live.take(ChangedSettings::new);
        assert_eq!(live.now().broker.disk_reserve_bytes, None);
    }

    #[test]
    fn what_was_stored_by_another_version_or_goes_with_nothing_is_left_out() {
        let live = live();
        live.take(|| {
            changed(&[
                ("fetch.bytes_max", "900MiB"),
                ("no.such", "1"),
                ("broker.memory", "9GiB"),
                ("disk.flush_delay", "7ms"),
            ])
        });
        let now = live.now();
        assert_eq!(now.broker.memory, 2 << 30);
        assert_eq!(now.broker.fetch_bytes_max, 55 << 20);
        assert_eq!(now.broker.flush_delay.as_millis(), 7);
    }

    #[test]
    fn the_log_follows_its_level() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        let live = LiveSettings::new(
            BrokerSettings::of(BrokerConfig::at("data")),
            Some(Arc::new(move |level| tell.lock().push(level.to_owned()))),
        );
        live.take(|| changed(&[("logging.level", "debug")]));
        live.take(|| changed(&[("logging.level", "debug"), ("disk.flush_delay", "7ms")]));
        live.take(ChangedSettings::new);
        assert_eq!(*told.lock(), ["debug", "info"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_a_setting_measures_follows_its_changes() {
        let (live, start) = (live(), Instant::now());
        let passed = live.passed(|config| config.retention_check);
        let change = async {
            for (at, to) in [(10, "1h"), (40, "1m"), (50, "20s")] {
                sleep_until(start + Duration::from_secs(at)).await;
                live.take(|| changed(&[("disk.retention_check", to)]));
            }
        };
        tokio::join!(passed, change);
        assert_eq!(start.elapsed(), Duration::from_secs(50), "the time of the last setting is over already");
        live.passed(|config| config.retention_check).await;
        assert_eq!(start.elapsed(), Duration::from_secs(70));
    }

    #[test]
    fn every_setting_says_where_it_comes_from() {
        let live = live();
        let stored = changed(&[("disk.flush_delay", "7ms")]);
        live.take(|| stored.clone());
        let described = live.describe(&stored);
        let of =
            |key: &str| described.iter().find(|entry| entry.key == key).map(|e| (e.value.clone(), e.source.clone()));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(of("broker.memory"), Some((text("2GiB"), SettingSource::Start("--memory".to_owned()))));
        assert_eq!(of("disk.flush_delay"), Some((text("7ms"), SettingSource::Changed)));
        assert_eq!(of("disk.retention_check"), Some((text("30s"), SettingSource::Default)));
        assert_eq!(described.len(), KEYS.len());
    }
}
