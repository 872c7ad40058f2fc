//! Checks that memory and descriptors did not grow.

use super::sample::Sample;
use anyhow::ensure;

/// Accepted relative growth.
const PART: f64 = 0.1;
/// Accepted absolute growth, such as another arena of the allocator.
const BYTES: f64 = (8 << 20) as f64;
const DESCRIPTORS: f64 = 8.0;

/// Fails if the last third of the time shows more memory or descriptors than the middle third. The first third is
/// warm-up.
pub(super) fn check(samples: &[Sample]) -> anyhow::Result<()> {
    let of = |pick: fn(&Sample) -> f64| samples.iter().map(pick).collect::<Vec<_>>();
    check_values("memory in bytes", &of(|sample| sample.resident as f64), BYTES)?;
    check_values("descriptors", &of(|sample| sample.descriptors as f64), DESCRIPTORS)
}

fn check_values(what: &str, values: &[f64], slack: f64) -> anyhow::Result<()> {
    let third = values.len() / 3;
    ensure!(0 < third, "too short to tell whether {what} grows: at least three samples are needed");
    let (middle, last) = (median(&values[third..2 * third]), median(&values[2 * third..]));
    let most = middle + (middle * PART).max(slack);
    ensure!(last <= most, "{what} grows: {middle:.0} in the middle third, {last:.0} in the last");
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_flat(value: impl Fn(f64) -> f64) -> bool {
        let values: Vec<f64> = (0..90).map(|at| value(f64::from(at))).collect();
        check_values("apples", &values, 2.0).is_ok()
    }

    #[test]
    fn growth_is_distinguished_from_warm_up_and_swings() {
        assert!(is_flat(|_| 100.0));
        assert!(is_flat(|at| if at < 30.0 { at } else { 100.0 }), "warming up");
        assert!(is_flat(|at| 100.0 + 30.0 * (at % 3.0)), "swinging");
        assert!(!is_flat(|at| 100.0 + at), "creeping");
        assert!(!is_flat(|at| if at < 60.0 { 100.0 } else { 120.0 }), "a step late");
        assert!(check_values("apples", &[1.0, 1.0], 2.0).is_err(), "nothing can be said");
    }
}
