//! Positions in a log as people write them: `beginning`, `end`, `committed`, `offset:N`, `time:..`.

use grower_client::ids::{Offset, Timestamp};
use std::str::FromStr;
use std::time::Duration;

/// A position in every partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PositionSpec {
    /// The log start offset.
    Beginning,
    /// The high watermark.
    End,
    /// The committed offset of the group.
    Committed,
    /// This offset.
    Offset(Offset),
    /// The first record at or after this time.
    Time(TimeSpec),
}

/// A point in time, fixed or counted back from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeSpec {
    /// A fixed time.
    At(Timestamp),
    /// This long ago.
    Ago(Duration),
}

/// Why a position was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PositionError {
    /// No known form.
    #[error("write beginning, end, committed, offset:N, time:RFC3339 or time:-5m")]
    Unknown,
    /// `offset:` without a number that an offset can be.
    #[error("{0:?} is not an offset: write a number from 0, as in offset:1200")]
    Offset(String),
    /// `time:` without a time.
    #[error("{0:?} is not a time: write it as in time:2026-11-21T08:30:00Z, or time:-5m for five minutes ago")]
    Time(String),
}

impl FromStr for PositionSpec {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            "committed" => Ok(Self::Committed),
            _ => match text.split_once(':') {
                Some(("offset", number)) => offset(number).map(Self::Offset),
                Some(("time", time)) => TimeSpec::parse(time).map(Self::Time),
                _ => Err(PositionError::Unknown),
            },
        }
    }
}

fn offset(number: &str) -> Result<Offset, PositionError> {
    let parsed = number.parse::<u64>().ok().and_then(|raw| Offset::try_from(raw).ok());
    parsed.ok_or_else(|| PositionError::Offset(number.to_owned()))
}

impl TimeSpec {
    fn parse(text: &str) -> Result<Self, PositionError> {
        let refused = || PositionError::Time(text.to_owned());
        match text.strip_prefix('-') {
            Some(ago) => humantime::parse_duration(ago).map(Self::Ago).map_err(|_| refused()),
            None => parse_rfc3339(text).map(Self::At).ok_or_else(refused),
        }
    }

    /// Returns the fixed time, with `now` as the present.
    pub(crate) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(ago) => {
                let millis = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                Timestamp::from_millis(now.as_millis().saturating_sub(millis))
            }
        }
    }
}

/// Reads a time in RFC 3339, up to the last millisecond of the year 9999.
fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp::from_millis(time.as_millisecond()));
    }
    // `jiff::Timestamp` ends one day before year 10000. A civil time with an offset reaches the last day.
    let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
    let offset = i64::from(pieces.to_numeric_offset()?.seconds());
    let local = pieces.date().to_datetime(pieces.time()?);
    let since = local.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0));
    let millis = i64::try_from(since.as_millis()).ok()?;
    Some(Timestamp::from_millis(millis.checked_sub(offset.checked_mul(1_000)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_understood() {
        let time = |millis| PositionSpec::Time(TimeSpec::At(Timestamp::from_millis(millis)));
        for (text, wanted) in [
            ("beginning", PositionSpec::Beginning),
            ("end", PositionSpec::End),
            ("committed", PositionSpec::Committed),
            ("offset:17", PositionSpec::Offset(Offset::new(17))),
            ("time:1970-01-01T00:00:01.5Z", time(1500)),
            ("time:1970-01-01T02:00:00+02:00", time(0)),
            ("time:9999-12-31T23:59:59.999Z", time(253_402_300_799_999)),
            ("time:9999-12-31T12:00:00+02:00", time(253_402_250_400_000)),
            ("time:9999-12-31T23:59:59-12:00", time(253_402_343_999_000)),
            ("time:-5m", PositionSpec::Time(TimeSpec::Ago(Duration::from_secs(300)))),
            ("time:-1h30m", PositionSpec::Time(TimeSpec::Ago(Duration::from_secs(5400)))),
        ] {
            assert_eq!(text.parse(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_form_that_works() {
        for text in [
            "",
            "start",
            "offset:",
            "offset:-1",
            "offset:9223372036854775808",
            "time:",
            "time:yesterday",
            "time:-5",
            "time:9999-12-31T23:59:59",
            "time:9999-12-31Z",
            "time:10000-01-01T00:00:00Z",
        ] {
            assert!(text.parse::<PositionSpec>().is_err(), "{text}");
        }
        let message = "offset:x".parse::<PositionSpec>().unwrap_err().to_string();
        insta::assert_snapshot!(message, @r#""x" is not an offset: write a number from 0, as in offset:1200"#);
    }

    #[test]
    fn ago_counts_back_from_now() {
        let now = Timestamp::from_millis(1_000_000);
        assert_eq!(TimeSpec::Ago(Duration::from_secs(10)).resolve(now), Timestamp::from_millis(990_000));
        assert_eq!(TimeSpec::Ago(Duration::MAX).resolve(now), Timestamp::from_millis(1_000_000 - i64::MAX));
    }
}
