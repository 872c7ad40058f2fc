//! A file system whose power can be cut: ext4 in an image on a loop device, shut down without a flush of its journal.
//!
//! It needs root, loop devices and `mkfs.ext4`; where one is missing a rig is `None`, after printing why, and the test
//! has nothing to check. A cycle takes about 0.1 s. Tests of other crates include this file with `#[path]`.
#![expect(unsafe_code, reason = "shutting a file system down is an ioctl")]
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
use tempfile::TempDir;

/// `FS_IOC_SHUTDOWN`, which takes the address of one of its flags.
const SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);
/// `FS_SHUTDOWN_FLAGS_NOLOGFLUSH`: what the journal has not written stays unwritten.
const NO_LOG_FLUSH: u32 = 2;

const MIB: u64 = 1 << 20;

/// A mounted file system of its own. Dropping it unmounts and deletes it, after a panic as well.
pub(crate) struct PowerRig {
    image: PathBuf,
    mount: Mount,
    /// Holds the image, if the temporary directory itself does not.
    _backing: Option<Mount>,
    _dir: TempDir,
}

impl PowerRig {
    /// 64 MiB, room enough for tests that do not fill it.
    pub(crate) fn new() -> io::Result<Option<Self>> {
        Self::with_mib(64)
    }

    /// A file system on an image of `mib` MiB (16 or more), of which it takes a part for itself.
    pub(crate) fn with_mib(mib: u64) -> io::Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("image");
        Self::build(dir, image, mib, None)
    }

    /// A file system that believes in 64 MiB while its device takes only `mib`: writes go well, syncs past
    /// that fail.
    pub(crate) fn with_device_of_mib(mib: u64) -> io::Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        let mut backing = Mount::prepare(dir.path().join("device"))?;
        if let Err(reason) = backing.mount(&["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]) {
            return Ok(unavailable(&reason));
        }
        let image = backing.path.join("image");
        Self::build(dir, image, 64, Some(backing))
    }

    fn build(dir: TempDir, image: PathBuf, mib: u64, backing: Option<Mount>) -> io::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(unavailable("it needs root"));
        }
        File::create(&image)?.set_len(mib * MIB)?;
        let mut format = Command::new("mkfs.ext4");
        // No blocks kept back for root: the tests are root.
        if let Err(reason) = run(format.args(["-q", "-F", "-m", "0"]).arg(&image)) {
            return Ok(unavailable(&reason));
        }
        let mount = Mount::prepare(dir.path().join("mount"))?;
        let mut rig = Self { image, mount, _backing: backing, _dir: dir };
        match rig.mount_image() {
            Ok(()) => Ok(Some(rig)),
            Err(reason) => Ok(unavailable(&reason)),
        }
    }

    /// Where the file system is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mount.path
    }

    /// Cuts the power: everything that is not durable is lost, and every use of the mount fails.
    pub(crate) fn cut(&self) -> io::Result<()> {
        let root = File::open(self.path())?;
        // SAFETY: the call reads one u32 through the pointer that `Setter` passes, as its opcode says.
        unsafe { ioctl(&root, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }?;
        Ok(())
    }

    /// Brings the file system back with what was durable. Files still open on it are an error.
    pub(crate) fn remount(&mut self) -> io::Result<()> {
        self.mount.unmount().map_err(io::Error::other)?;
        self.mount_image().map_err(io::Error::other)
    }

    fn mount_image(&mut self) -> Result<(), String> {
        // The journal commits when it is asked to, not every five seconds: a slow test must not save what it never
        // synced.
        let image = self.image.to_string_lossy();
        self.mount.mount(&["-o", "loop,commit=300", &image])
    }
}

/// A directory with something mounted on it, or not yet.
struct Mount {
    path: PathBuf,
    mounted: bool,
}

impl Mount {
    fn prepare(path: PathBuf) -> io::Result<Self> {
        fs::create_dir(&path)?;
        Ok(Self { path, mounted: false })
    }

    fn mount(&mut self, what: &[&str]) -> Result<(), String> {
        run(Command::new("mount").args(what).arg(&self.path))?;
        self.mounted = true;
        Ok(())
    }

    #[allow(clippy::disallowed_methods, reason = "the mount is busy for a moment, and nothing says for how long")]
    fn unmount(&mut self) -> Result<(), String> {
        let mut unmounted = run(Command::new("umount").arg(&self.path));
        // A program that another test is just starting holds copies of all open files until it runs.
        let patience = Instant::now() + Duration::from_secs(10);
        while unmounted.as_ref().is_err_and(|reason| reason.contains("busy")) && Instant::now() < patience {
            thread::sleep(Duration::from_millis(5));
            unmounted = run(Command::new("umount").arg(&self.path));
        }
        unmounted?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted && self.unmount().is_err() {
            // A failed test may still hold files; the mount goes with them.
            let _ = run(Command::new("umount").arg("--lazy").arg(&self.path));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn unavailable<T>(reason: &str) -> Option<T> {
    eprintln!("no file system to cut the power of: {reason}");
    None
}
