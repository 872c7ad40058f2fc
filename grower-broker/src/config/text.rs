//! Numbers with units: parsed in any form, shown with the largest exact unit.

use std::ops::RangeInclusive;

const BYTE_UNITS: [(u64, &str); 5] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];
const TIME_UNITS: [(u64, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];

/// `1048576`, `1MiB`, `1 MB`.
pub(super) fn bytes(text: &str, allowed: RangeInclusive<u64>) -> Option<u64> {
    let size: bytesize::ByteSize = text.parse().ok()?;
    within(size.as_u64(), allowed)
}

/// `300000` (milliseconds), `5m`, `1h 30m`.
pub(super) fn millis(text: &str, allowed: RangeInclusive<u64>) -> Option<u64> {
    let millis = match text.parse() {
        Ok(millis) => millis,
        Err(_) => u64::try_from(humantime::parse_duration(text).ok()?.as_millis()).ok()?,
    };
    within(millis, allowed)
}

/// `1000`.
pub(super) fn count(text: &str, allowed: RangeInclusive<u64>) -> Option<u64> {
    within(text.parse().ok()?, allowed)
}

/// `0.5`, in thousandths.
pub(super) fn permille(text: &str) -> Option<u16> {
    let share: f64 = text.parse().ok()?;
    (0.0..=1.0).contains(&share).then(|| (share * 1000.0).round() as u16)
}

pub(super) fn show_permille(permille: u16) -> String {
    (f64::from(permille) / 1000.0).to_string()
}

/// `-1` for no limit, otherwise as `parse` reads it.
pub(super) fn unlimited(text: &str, parse: impl FnOnce(&str) -> Option<u64>) -> Option<Option<u64>> {
    if text == "-1" { Some(None) } else { parse(text).map(Some) }
}

pub(super) fn show_bytes(bytes: u64) -> String {
    in_units(bytes, BYTE_UNITS)
}

pub(super) fn show_millis(millis: u64) -> String {
    in_units(millis, TIME_UNITS)
}

pub(super) fn show_limit(limit: Option<u64>, show: impl FnOnce(u64) -> String) -> String {
    limit.map_or_else(|| "-1".to_owned(), show)
}

fn within(number: u64, allowed: RangeInclusive<u64>) -> Option<u64> {
    allowed.contains(&number).then_some(number)
}

fn in_units(number: u64, units: [(u64, &str); 5]) -> String {
    let fits = units.iter().find(|(size, _)| number != 0 && number.is_multiple_of(*size));
    fits.map_or_else(|| number.to_string(), |(size, unit)| format!("{}{unit}", number / size))
}
