//! The kind of file system of a directory, and what a sync is worth there.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;

/// Names of the kinds that statfs tells by number.
const KINDS: [(u64, &str); 12] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xf2f5_2010, "f2fs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlay"),
    (0x6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
];

/// A kind of file system; prints its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem(Cow<'static, str>);

/// How far a file system can be trusted. Any doubt comes with its reason and advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Synced bytes stay.
    Full,
    /// It depends.
    Doubtful(&'static str),
    /// Acknowledged records may be lost.
    None(&'static str),
}

impl FileSystem {
    /// The file system of an existing directory.
    pub fn of(dir: &Path) -> io::Result<Self> {
        Ok(Self::numbered(rustix::fs::statfs(dir)?.f_type as u64 & 0xffff_ffff))
    }

    fn numbered(kind: u64) -> Self {
        let known = KINDS.iter().find(|(number, _)| *number == kind);
        Self(known.map_or_else(|| format!("file system {kind:#x}").into(), |(_, name)| (*name).into()))
    }

    /// The file system of this name.
    pub fn named(name: &str) -> Self {
        Self(name.to_owned().into())
    }

    /// How far it can be trusted.
    pub fn trust(&self) -> Trust {
        match &*self.0 {
            "ext4" | "xfs" | "btrfs" | "zfs" | "f2fs" => Trust::Full,
            "tmpfs" | "ramfs" => {
                Trust::None("this is memory: records do not survive a restart. Use a directory on a disk")
            }
            "nfs" | "cifs" | "smb2" => Trust::None(
                "locks and syncs of a network file system are not to be relied on: use a disk of this machine",
            ),
            "overlay" => Trust::Doubtful(
                "this is a container's own layer, which goes with the container: mount a volume for the data directory",
            ),
            "fuse" => Trust::Doubtful("what a sync means depends on the program behind it: prefer ext4 or xfs"),
            _ => Trust::Doubtful("it is not known whether a sync means anything here: prefer ext4 or xfs"),
        }
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test] // Hostile input 55.
    fn only_local_disks_are_trusted() {
        let trust = |kind| FileSystem::numbered(kind).trust();
        for kind in [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1994, 0x8584_58f6] {
            assert!(matches!(trust(kind), Trust::None(_)), "{kind:#x}");
        }
        for kind in [0x794c_7630, 0x6573_5546, 0x1] {
            assert!(matches!(trust(kind), Trust::Doubtful(_)), "{kind:#x}");
        }
        for kind in [0xef53, 0x5846_5342, 0x9123_683e, 0x2fc1_2fc1, 0xf2f5_2010] {
            assert_eq!(trust(kind), Trust::Full, "{kind:#x}");
        }
        assert_eq!(FileSystem::numbered(1).to_string(), "file system 0x1");
        assert_eq!(FileSystem::numbered(0x6969), FileSystem::named("nfs"));
    }

    #[test]
    fn a_directory_that_is_not_there_has_none() {
        assert!(FileSystem::of(Path::new("/")).is_ok());
        assert_eq!(FileSystem::of(Path::new("/not/there")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
