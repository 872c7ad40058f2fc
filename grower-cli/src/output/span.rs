//! Durations for people, with at most two units.

use std::time::Duration;

const UNITS: [(u64, &str); 5] = [(365 * 86_400, "y"), (86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];

/// `3 min 20 s`, `2 d 4 h`; below a second `0 s`.
pub(crate) fn span_for_people(span: Duration) -> String {
    let seconds = span.as_secs();
    let largest = UNITS.iter().position(|(unit, _)| *unit <= seconds).unwrap_or(UNITS.len() - 1);
    let (unit, name) = UNITS[largest];
    let rest = UNITS.get(largest + 1).map(|(smaller, name)| (seconds % unit / smaller, name));
    match rest.filter(|(count, _)| *count != 0) {
        Some((count, smaller)) => format!("{} {name} {count} {smaller}", seconds / unit),
        None => format!("{} {name}", seconds / unit),
    }
}

/// The same with tenths below a minute: `2.5 s`.
pub(crate) fn millis_for_people(millis: u64) -> String {
    match millis {
        0..60_000 => format!("{:.1} s", millis as f64 / 1e3),
        _ => span_for_people(Duration::from_millis(millis)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_two_units_at_most() {
        let shown =
            [0, 59, 60, 200, 3_600, 90_061, 40_000_000].map(|seconds| span_for_people(Duration::from_secs(seconds)));
        assert_eq!(shown, ["0 s", "59 s", "1 min", "3 min 20 s", "1 h", "1 d 1 h", "1 y 97 d"]);
    }

    #[test]
    fn a_short_span_has_tenths() {
        assert_eq!(
            [0, 2_520, 59_900, 60_000, 499_800].map(millis_for_people),
            ["0.0 s", "2.5 s", "59.9 s", "1 min", "8 min 19 s"]
        );
    }
}
