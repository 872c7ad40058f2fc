//! Facts about the machine: file system, syncs, processor time, memory.

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Returns the type of the file system of `path`, from the longest mount point above it.
pub(crate) fn file_system(path: &Path) -> anyhow::Result<String> {
    let path = path.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts").context("this bench needs Linux")?;
    let on_the_way = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        path.starts_with(point).then(|| (point.len(), kind.to_owned()))
    });
    // The last of several mounts on one point is the visible one.
    let Some((_, kind)) = on_the_way.max_by_key(|(length, _)| *length) else {
        bail!("no file system for {}", path.display())
    };
    Ok(kind)
}

/// Appends 4 KiB at a time to a file and makes them durable.
pub(crate) struct SyncProbe {
    file: File,
}

impl SyncProbe {
    /// Creates the file.
    pub(crate) fn start(directory: &Path) -> anyhow::Result<Self> {
        Ok(Self { file: File::create(directory.join("sync"))? })
    }

    /// Measures one append and its fdatasync.
    pub(crate) fn append(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.file.write_all(&[7; 4096])?;
        self.file.sync_data()?;
        Ok(began.elapsed())
    }
}

/// Measures the median time of an append of 4 KiB and its fdatasync.
pub(crate) fn fdatasync_p50(directory: &Path) -> anyhow::Result<Duration> {
    let mut probe = SyncProbe::start(directory)?;
    let mut took = (0..200).map(|_| probe.append()).collect::<anyhow::Result<Vec<_>>>()?;
    took.sort_unstable();
    took.get(took.len() / 2).copied().context("nothing was measured")
}

/// Returns the free bytes of the file system of `path`.
pub(crate) fn free_bytes(path: &Path) -> anyhow::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Raises the limit of open files to the hard limit; the soft limit is often 1,024.
pub(crate) fn raise_open_files() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")
}

/// Touches and frees `bytes` of memory, so that the round does not pay for pages that the host has reclaimed.
pub(crate) fn touch_memory(bytes: u64) -> anyhow::Result<()> {
    let available = status_kib(&fs::read_to_string("/proc/meminfo")?, "MemAvailable:")? * 1024;
    let mut memory = vec![0_u8; usize::try_from(bytes.min(available / 2))?];
    memory.iter_mut().step_by(4096).for_each(|page| *page = 1);
    std::hint::black_box(&memory);
    Ok(())
}

/// Returns the processor seconds of this process, which are exact.
pub(crate) fn own_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Returns the processor seconds of a process, in hundredths.
pub(crate) fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    sum_of_times(process, 2)
}

/// Returns the processor seconds of a process and of its children that have ended.
pub(crate) fn cpu_seconds_with_children(process: u32) -> anyhow::Result<f64> {
    sum_of_times(process, 4)
}

/// Adds up this many of four times: user and system time of the process, then those of its ended children.
fn sum_of_times(process: u32, count: usize) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the name in parentheses and may hold anything; the times begin at field 14.
    let after_name = stat.rsplit_once(") ").context("a strange /proc/../stat")?.1;
    let ticks = after_name.split(' ').skip(11).take(count).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS)
}

/// Returns the busy processor seconds of the machine.
pub(crate) fn cpu_seconds_of_all() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("a strange /proc/stat")?;
    let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _io_wait, irq, soft_irq, ..] = fields.as_slice() else {
        bail!("a strange /proc/stat")
    };
    Ok((user + nice + system + irq + soft_irq) / TICKS)
}

/// Linux counts processor time for user space in hundredths of a second.
const TICKS: f64 = 100.0;

/// Returns the peak memory of a process since [`reset_peak_memory`], in bytes.
pub(crate) fn peak_memory(process: u32) -> anyhow::Result<u64> {
    memory(process, "VmHWM:")
}

/// Returns the resident memory of a process, in bytes.
pub(crate) fn resident_memory(process: u32) -> anyhow::Result<u64> {
    memory(process, "VmRSS:")
}

/// Resets the peak memory of a process.
pub(crate) fn reset_peak_memory(process: u32) -> anyhow::Result<()> {
    fs::write(format!("/proc/{process}/clear_refs"), "5").context("cannot reset the peak of memory")
}

fn memory(process: u32, name: &str) -> anyhow::Result<u64> {
    Ok(status_kib(&fs::read_to_string(format!("/proc/{process}/status"))?, name)? * 1024)
}

fn status_kib(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
