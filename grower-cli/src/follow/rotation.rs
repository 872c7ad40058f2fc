//! Names of rotated files: the name of the followed file, `.` or `-`, and a number or a date; or these before its
//! extension.
//!
//! Numbers count backwards (`app.log.1` is newer than `app.log.2`), dates forwards. The two schemes do not compare:
//! the order of
//! `app.log.1` and `app.log-20261121` is unknown.

use std::cmp::Ordering;
use std::ffi::OsStr;

/// A file's name read as a rotation of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    pub(super) suffix: Suffix,
    /// Whether it is compressed, so that it has no readable lines.
    pub(super) compressed: bool,
}

/// The suffix that rotation adds to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Suffix {
    /// The number of rotations since.
    Number(u16),
    /// The digits of a date or time.
    Date(String),
}

const COMPRESSED: [&str; 9] = [".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".br", ".Z", ".zip"];
/// The longest suffix of digits that is a number; longer ones are dates or seconds since 1970.
const NUMBER_DIGITS_MAX: usize = 3;

impl Rotation {
    /// Reads `name` as a rotation of `base`, as `app.log.1` is one of `app.log`.
    pub(super) fn of(base: &OsStr, name: &OsStr) -> Option<Self> {
        Self::between(&base.to_string_lossy(), "", &name.to_string_lossy())
    }

    /// Reads names like `app-1.log`. Such a name may belong to another program's log, so it proves nothing by itself.
    pub(super) fn before_extension(base: &OsStr, name: &OsStr) -> Option<Self> {
        let base = base.to_string_lossy();
        let (stem, _) = base.rsplit_once('.').filter(|(stem, _)| !stem.is_empty())?;
        Self::between(stem, &base[stem.len()..], &name.to_string_lossy())
    }

    fn between(start: &str, end: &str, name: &str) -> Option<Self> {
        let plain = COMPRESSED.iter().find_map(|extension| name.strip_suffix(extension));
        let middle = plain.unwrap_or(name).strip_prefix(start)?.strip_prefix(['.', '-'])?.strip_suffix(end)?;
        Some(Self { suffix: Suffix::parse(middle)?, compressed: plain.is_some() })
    }
}

impl Suffix {
    fn parse(text: &str) -> Option<Self> {
        let is_date_like = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | 'T' | ':' | 'Z');
        if !text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(is_date_like) {
            return None;
        }
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        match (digits.len() == text.len(), digits.len()) {
            (true, ..=NUMBER_DIGITS_MAX) => digits.parse().ok().map(Self::Number),
            (false, ..=NUMBER_DIGITS_MAX) => None,
            _ => Some(Self::Date(digits)),
        }
    }

    /// Compares ages, the older first; none for different schemes.
    pub(super) fn age_order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Some(b.cmp(a)),
            (Self::Date(a), Self::Date(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// Whether this one was certainly rotated later.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        self.age_order(other) == Some(Ordering::Greater)
    }

    /// Orders any two suffixes: dates before numbers, then the older first.
    pub(super) fn reading_order(&self, other: &Self) -> Ordering {
        self.age_order(other).unwrap_or_else(|| matches!(self, Self::Number(_)).cmp(&matches!(other, Self::Number(_))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Option<Rotation> {
        Rotation::of(OsStr::new("app.log"), OsStr::new(name))
    }

    #[test]
    fn rotations_are_known_by_their_names() {
        for name in ["app.log.1", "app.log-20261121", "app.log.2026-11-21T08:30:00Z", "app.log.20261121-083000"] {
            assert!(!of(name).unwrap().compressed, "{name}");
        }
        for name in ["app.log.1.gz", "app.log-20261121.zst", "app.log.2.Z"] {
            assert!(of(name).unwrap().compressed, "{name}");
        }
        for name in [
            "app.log",
            "app.log.old",
            "app.log.gz",
            "app.log.events.grower-place",
            "other.log.1",
            "app.log1",
            "app.log.1.2",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[test]
    fn a_number_or_a_date_may_stand_before_the_extension() {
        let of = |name: &str| Rotation::before_extension(OsStr::new("app.log"), OsStr::new(name));
        assert_eq!(of("app-20261121.log").unwrap().suffix, Suffix::Date("20261121".to_owned()));
        assert!(of("app.1.log.gz").unwrap().compressed);
        for name in ["app.log", "app.log.1", "app-.log", "app-new.log", "app-1.txt"] {
            assert_eq!(of(name), None, "{name}");
        }
        assert_eq!(Rotation::before_extension(OsStr::new("syslog"), OsStr::new("syslog-1")), None);
    }

    #[test]
    fn numbers_count_backwards_and_dates_forwards() {
        let newer = |a: &str, b: &str| of(a).unwrap().suffix.is_newer_than(&of(b).unwrap().suffix);
        assert!(newer("app.log.9", "app.log.10.gz"));
        assert!(newer("app.log-20261121", "app.log-20261120"));
        assert!(newer("app.log.2026-11-21T10", "app.log-20261121"));
        assert!(!newer("app.log.1", "app.log-20261121") && !newer("app.log-20261121", "app.log.1"));
    }
}
