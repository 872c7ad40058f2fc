//! A library in C that changes the system calls of a program, steered by a number in a shared file.

use anyhow::{Context, ensure};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Changes programs that run with its [`variables`](Self::variables).
#[derive(Clone, Debug)]
pub(crate) struct PreloadedLibrary {
    library: PathBuf,
    variable: &'static str,
    file: PathBuf,
    open: Arc<File>,
}

impl PreloadedLibrary {
    /// Compiles `source`, a file of this crate, below `dir`. It maps the file that `variable` names, which holds an
    /// 8-byte integer, 0 at first. Needs a C compiler.
    pub(crate) fn build(dir: &Path, source: &str, variable: &'static str) -> anyhow::Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let (library, file) = (dir.join(variable).with_extension("so"), dir.join(variable));
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&library).arg(source).arg("-ldl");
        let status = compiler.status().context("cannot run the C compiler cc")?;
        ensure!(status.success(), "cc: {status}");
        let open = Arc::new(File::options().read(true).write(true).create_new(true).open(&file)?);
        let library = Self { library, variable, file, open };
        library.set(0)?;
        Ok(library)
    }

    /// The environment of a program with this library.
    pub(crate) fn variables(&self) -> [(&str, &Path); 2] {
        [("LD_PRELOAD", &self.library), (self.variable, &self.file)]
    }

    /// Sets the number that all programs with this library see.
    pub(crate) fn set(&self, number: i64) -> anyhow::Result<()> {
        self.open.write_all_at(&number.to_ne_bytes(), 0).with_context(|| format!("cannot set {}", self.variable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    #[test]
    fn a_process_with_the_clock_library_sees_the_shifted_time() {
        let dir = tempfile::tempdir().unwrap();
        let clock = PreloadedLibrary::build(dir.path(), "src/soak/limited/clock_shift.c", "CLOCK_SHIFT").unwrap();
        let day = 24 * 3600;
        clock.set(day).unwrap();
        let date = Command::new("date").arg("+%s").envs(clock.variables()).output().unwrap();
        let said: u64 = String::from_utf8(date.stdout).unwrap().trim().parse().unwrap();
        let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let ahead = Duration::from_secs(said).saturating_sub(here);
        assert!(ahead.abs_diff(Duration::from_secs(day as u64)) < Duration::from_secs(60), "{ahead:?}");
    }
}
