//! Memory, disk, backups, and what the system knows of the process.

use super::page::MetricsPage;
use crate::memory::StateKind;
use crate::state::BrokerState;
use prometheus_client::registry::Unit;
use std::fmt;

pub(super) fn print(page: &mut MetricsPage<'_>, state: &BrokerState) -> fmt::Result {
    let bytes = Some(&Unit::Bytes);
    page.gauge(("memory_used", "Part of the memory budget in use", bytes), state.memory.used() as u64)?;
    page.gauge(("memory_budget", "The memory budget (--memory)", bytes), state.memory.total() as u64)?;
    let bytes_by_kind = StateKind::ALL.map(|kind| ([("kind", kind.name())], state.memory.state_bytes(kind) as u64));
    page.gauges(
        ("memory_state", "Memory for the state of groups, producers and fetch sessions", bytes),
        bytes_by_kind,
    )?;
    let most = state.memory.state_bytes_max(StateKind::Groups) as u64;
    page.gauge(("memory_state_limit", "Limit of that memory, for groups and for producers", bytes), most)?;
    let names = state.topics.image().named_producer_count() as u64;
    page.gauge(("named_producers", "Named producers", None), names)?;
    if let Some(usage) = state.disk_reserve.usage() {
        page.gauge(("disk_free", "Bytes that may still be written to the file system", bytes), usage.free)?;
        page.gauge(("disk_total", "Size of the file system", bytes), usage.total)?;
        page.gauge(("disk_reserve", "Free bytes below which producers are refused", bytes), usage.keep_free)?;
    }
    if let Some(began) = state.backups.newest() {
        let about = "When the newest backup of this broker began; 0 if there is none";
        let seconds = u64::try_from(began.as_millis() / 1_000).unwrap_or(0);
        page.gauge(("backup_newest_timestamp", about, Some(&Unit::Seconds)), seconds)?;
    }
    if let Some(resident) = resident_bytes() {
        page.gauge(("process_resident", "Memory that the process holds", bytes), resident)?;
    }
    if let Some(open) = open_files() {
        page.gauge(("process_open_files", "Open file descriptors", None), open)?;
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    page.gauge(("process_open_files_limit", "File descriptors that may be open", None), limit.unwrap_or(u64::MAX))
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// One of them is the directory that is being read.
fn open_files() -> Option<u64> {
    Some((std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}
