//! The slowest pace at which a peer may read its answers.

use std::time::Duration;

/// Bytes that a peer has to take in each write timeout, if that many wait for it.
const PACE: usize = 64 * 1024;

/// The pace of a peer: in each write timeout that we wait, it takes [`PACE`] bytes or all there are. A stalled reader
/// misses it, as does a reader that takes a byte now and then to stay connected.
pub(super) struct ReadPace {
    timeout: Duration,
    left: Duration,
    taken: usize,
}

impl ReadPace {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, left: timeout, taken: 0 }
    }

    /// Begins a new timeout.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.timeout);
    }

    /// How long we still wait for the next [`PACE`] bytes to be taken.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// Notes that we waited this long.
    pub(super) fn waited(&mut self, elapsed: Duration) {
        self.left = self.left.saturating_sub(elapsed);
    }

    /// Notes that the peer took this many bytes.
    pub(super) fn took(&mut self, bytes: usize) {
        self.taken += bytes;
        if PACE <= self.taken {
            self.restart();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: u64 = 10;

    /// Whether a peer is in time that takes these bytes, each after its number of seconds, ten times over.
    fn in_time(steps: &[(u64, usize)]) -> bool {
        let mut pace = ReadPace::new(Duration::from_secs(TIMEOUT));
        std::iter::repeat_n(steps, 10).flatten().all(|(seconds, bytes)| {
            let elapsed = Duration::from_secs(*seconds);
            let in_time = elapsed < pace.left();
            pace.waited(elapsed);
            pace.took(*bytes);
            in_time
        })
    }

    #[test]
    fn a_peer_has_a_timeout_for_each_64_kib() {
        let table: [(&[(u64, usize)], bool); 6] = [
            (&[(9, PACE)], true),
            (&[(0, 1), (4, 1), (5, PACE)], true),
            (&[(4, PACE / 2), (5, PACE / 2)], true),
            (&[(5, PACE / 2), (5, PACE / 2)], false),
            (&[(9, PACE - 1)], false),
            (&[(1, 1)], false),
        ];
        for (steps, expected) in table {
            assert_eq!(in_time(steps), expected, "{steps:?}");
        }
    }

    #[test]
    fn a_peer_that_took_everything_has_a_new_timeout() {
        let mut pace = ReadPace::new(Duration::from_secs(TIMEOUT));
        pace.waited(Duration::from_secs(9));
        pace.restart();
        assert_eq!(pace.left(), Duration::from_secs(TIMEOUT));
    }
}
