//! Facts about a running process from the system.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::process::Child;
use std::time::{Duration, Instant};

/// The most bytes that it ever had resident.
pub fn resident_high(child: &Child) -> usize {
    status(child, "VmHWM:")
}

/// Bytes that it has resident.
pub fn resident(child: &Child) -> usize {
    status(child, "VmRSS:")
}

/// Waits until its resident bytes are as `wanted`; fails with `promise` if they never are.
pub fn resident_until(child: &Child, wanted: impl Fn(usize) -> bool, promise: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while !wanted(resident(child)) {
        assert!(Instant::now() < until, "{promise}: {} KiB are resident", resident(child) / 1024);
        std::thread::yield_now();
    }
}

fn status(child: &Child, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
