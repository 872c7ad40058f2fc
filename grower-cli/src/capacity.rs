//! Rates, disk space and sync latency, from the counters of a broker.

use crate::output::{bytes_for_people, in_groups, span_for_people};
use grower_client::{DiskDescription, FsyncDescription, Traffic};
use std::time::Duration;

/// Traffic in a second, rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Records appended.
    pub(crate) records_in: u64,
    /// Bytes appended.
    pub(crate) bytes_in: u64,
    /// Records read.
    pub(crate) records_out: u64,
    /// Bytes read.
    pub(crate) bytes_out: u64,
}

impl Rate {
    /// The rate of `traffic` that took `over_ms` milliseconds.
    pub(crate) fn of(traffic: &Traffic, over_ms: u64) -> Self {
        let each_second = |count: u64| {
            let count = u128::from(count) * 1_000;
            u64::try_from((count + u128::from(over_ms / 2)) / u128::from(over_ms.max(1))).unwrap_or(u64::MAX)
        };
        Self {
            records_in: each_second(traffic.records_in),
            bytes_in: each_second(traffic.bytes_in),
            records_out: each_second(traffic.records_out),
            bytes_out: each_second(traffic.bytes_out),
        }
    }

    /// `1,200 records/s, 3.4 MiB/s`.
    pub(crate) fn incoming(&self) -> String {
        rate_text(self.records_in, self.bytes_in)
    }

    /// The same text for readers.
    pub(crate) fn outgoing(&self) -> String {
        rate_text(self.records_out, self.bytes_out)
    }
}

fn rate_text(records: u64, bytes: u64) -> String {
    format!("{} records/s, {}/s", in_groups(records), bytes_for_people(bytes))
}

/// The disk space left for records, and how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Bytes that producers may still write.
    pub(crate) writable_bytes: u64,
    reserve: u64,
    /// Bytes that are missing before producers are accepted again.
    missing: u64,
    used_up: Option<(u64, Duration)>,
}

const DAY: f64 = 86_400.0;

impl Capacity {
    pub(crate) fn of(disk: &DiskDescription) -> Self {
        let used_up = disk.used_up.and_then(|used| {
            let bytes = u64::try_from(used.bytes).ok().filter(|bytes| 0 < *bytes)?;
            Some((bytes, Duration::from_millis(used.over_ms)))
        });
        Self {
            writable_bytes: disk.free.saturating_sub(disk.reserve),
            reserve: disk.reserve,
            missing: disk.reserve.saturating_sub(disk.free),
            used_up,
        }
    }

    /// Whether producers are refused.
    pub(crate) fn is_full(&self) -> bool {
        0 < self.missing
    }

    /// Days until the disk is full; none while it does not fill.
    pub(crate) fn days_until_full(&self) -> Option<f64> {
        let (bytes, over) = self.used_up?;
        let days = self.writable_bytes as f64 / bytes as f64 * over.as_secs_f64() / DAY;
        Some((days * 1000.0).round() / 1000.0)
    }

    /// The state of the disk in one line.
    pub(crate) fn describe(&self) -> String {
        let reserve = bytes_for_people(self.reserve);
        if self.is_full() {
            if self.missing == self.reserve {
                return "no bytes or almost no inodes are free (see df and df -i): writes are refused until some are freed".to_owned();
            }
            let missing = bytes_for_people(self.missing);
            return format!(
                "free space is below the reserve of {reserve}: writes are refused until {missing} more is free"
            );
        }
        let free = format!("{} free beyond the reserve of {reserve}", bytes_for_people(self.writable_bytes));
        match (self.days_until_full(), self.used_up) {
            (Some(days), Some((bytes, over))) => {
                let (used, over) = (bytes_for_people(bytes), span_for_people(over));
                let left = Duration::try_from_secs_f64(days * DAY).unwrap_or(Duration::MAX);
                format!("{free}; full in {} at the rate of the last {over}, {used}", span_for_people(left))
            }
            _ => free,
        }
    }
}

/// The median and the 99th percentile of the latest syncs.
pub(crate) fn percentiles(fsync: &FsyncDescription) -> String {
    let millis = |micros: u64| format!("{:.2} ms", micros as f64 / 1e3);
    format!("p50 {}, p99 {}", millis(fsync.p50_micros), millis(fsync.p99_micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use grower_client::UsedUp;

    fn disk(free: u64, bytes: i64) -> Capacity {
        let used_up = Some(UsedUp { bytes, over_ms: 3_600_000 });
        Capacity::of(&DiskDescription { total: 100 << 30, free, reserve: 2 << 30, used_up })
    }

    #[test]
    fn the_days_until_the_disk_is_full_are_shown_while_it_fills() {
        assert_eq!(disk(26 << 30, 1 << 30).days_until_full(), Some(1.0));
        insta::assert_snapshot!(disk(26 << 30, 1 << 30).describe(), @"24.0 GiB free beyond the reserve of 2.0 GiB; full in 1 d at the rate of the last 1 h, 1.0 GiB");
        assert_eq!(disk(26 << 30, 0).days_until_full(), None);
        insta::assert_snapshot!(disk(26 << 30, -5).describe(), @"24.0 GiB free beyond the reserve of 2.0 GiB");
        insta::assert_snapshot!(disk(0, 0).describe(), @"no bytes or almost no inodes are free (see df and df -i): writes are refused until some are freed");
        insta::assert_snapshot!(disk(1 << 30, 1 << 30).describe(), @"free space is below the reserve of 2.0 GiB: writes are refused until 1.0 GiB more is free");
    }

    #[test]
    fn a_rate_is_rounded_and_never_divides_by_nothing() {
        let traffic = Traffic { records_in: 100, bytes_in: 59_970, records_out: 1, bytes_out: 0 };
        assert_eq!(Rate::of(&traffic, 60_000), Rate { records_in: 2, bytes_in: 1_000, records_out: 0, bytes_out: 0 });
        assert_eq!(Rate::of(&Traffic::default(), 0), Rate::default());
    }
}
