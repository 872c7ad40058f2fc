//! Computes the wait before a retry: exponential up to a limit, with jitter so that clients do not retry together.

use std::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_millis(20);
/// No wait is longer than this.
const LONGEST: Duration = Duration::from_secs(1);

/// Returns the wait after this many failures in a row: doubled each time, capped, then cut to 50-100 % by `random`.
pub(crate) fn delay(failures: u32, random: u64) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    let full = FIRST.saturating_mul(1u32.checked_shl(doublings.min(16)).unwrap_or(u32::MAX)).min(LONGEST);
    let half = full / 2;
    half + Duration::from_nanos(random % (half.as_nanos() as u64 + 1))
}

/// Returns a random number of the operating system, for [`delay`].
#[expect(clippy::disallowed_methods, reason = "a shell draws random numbers")]
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let longest: Vec<u128> = (0..9).map(|n| delay(n, 0).as_millis() * 2).collect();
        assert_eq!(longest, [0, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        assert_eq!(delay(u32::MAX, 0), LONGEST / 2);
    }

    #[test]
    fn jitter_takes_off_at_most_half() {
        for random in [0, 1, u64::MAX / 3, u64::MAX] {
            let wait = delay(4, random);
            assert!(Duration::from_millis(80) <= wait && wait <= Duration::from_millis(160), "{wait:?}");
        }
    }
}
