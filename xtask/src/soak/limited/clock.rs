//! Shifts the wall clock of a running daemon.

use anyhow::{Context, ensure};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Shifts the clock of daemons that run with its [`variables`](Self::variables).
#[derive(Clone, Debug)]
pub(in crate::soak) struct ClockShift {
    library: PathBuf,
    file: PathBuf,
    open: Arc<File>,
}

impl ClockShift {
    /// Compiles the library that shifts the clock, below `dir`. Needs a C compiler.
    pub(super) fn build(dir: &Path) -> anyhow::Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/soak/limited/clock_shift.c");
        let (library, file) = (dir.join("clock_shift.so"), dir.join("clock_shift"));
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&library).arg(source);
        let status = compiler.status().context("cannot run the C compiler cc")?;
        ensure!(status.success(), "cc: {status}");
        let open = Arc::new(File::options().read(true).write(true).create_new(true).open(&file)?);
        let clock = Self { library, file, open };
        clock.set(0)?;
        Ok(clock)
    }

    /// The environment of a daemon with this clock.
    pub(super) fn variables(&self) -> [(&str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("CLOCK_SHIFT", &self.file)]
    }

    /// Sets the clock `seconds` ahead; behind if negative.
    pub(in crate::soak) fn set(&self, seconds: i64) -> anyhow::Result<()> {
        self.open.write_all_at(&seconds.to_ne_bytes(), 0).context("cannot set the daemon's clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    #[test]
    fn a_process_with_the_library_sees_the_shifted_time() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ClockShift::build(dir.path()).unwrap();
        let day = 24 * 3600;
        clock.set(day).unwrap();
        let date = Command::new("date").arg("+%s").envs(clock.variables()).output().unwrap();
        let said: u64 = String::from_utf8(date.stdout).unwrap().trim().parse().unwrap();
        let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let ahead = Duration::from_secs(said).saturating_sub(here);
        assert!(ahead.abs_diff(Duration::from_secs(day as u64)) < Duration::from_secs(60), "{ahead:?}");
    }
}
