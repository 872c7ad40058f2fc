//! `backup.manifest`: the files of a backup, with sizes and checksums.
//!
//! ```text
//! # A backup of a Grower data directory: `grower-cli restore` makes a data directory of it.
//! format = 1
//! created = 1795302532913
//! cluster = "0b0c5e1d-9a3b-4f6e-8d3c-2a1b0c9d8e7f"
//! node = 1
//! a1b2c3d4 4711 topics/events/0/00000000000000000000.growerlog
//! crc32 = "89abcdef"
//! ```
//!
//! Each file has a line: the crc32 of its bytes, its length, and its path. The last crc covers all lines before it.

use crate::metadata::{NodeIdentity, Uuid};
use grower_protocol::ids::{NodeId, Timestamp};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Component, Path};

/// Enough for millions of files. Longer manifests are neither written nor read.
pub(super) const BYTES_MAX: usize = 1 << 30;

const FORMAT: u32 = 1;
const COMMENT: &str = "# A backup of a Grower data directory: `grower-cli restore` makes a data directory of it.\n";

/// The manifest of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupManifest {
    /// When the backup began.
    pub created: Timestamp,
    /// The cluster of the data.
    pub cluster: Uuid,
    /// The node of the data.
    pub node: NodeId,
    /// The files, by path.
    pub files: BTreeMap<String, FileSum>,
}

/// The size and checksum of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSum {
    /// Its length in bytes.
    pub bytes: u64,
    /// The crc32 of its bytes.
    pub crc: u32,
}

/// The reason why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The manifest is damaged.
    #[error("the manifest is damaged: {reason}")]
    Damaged {
        /// The damage.
        reason: &'static str,
    },
    /// A newer version wrote it.
    #[error("the backup has format {found}, this program knows up to {FORMAT}: use a newer Grower")]
    Newer {
        /// Its format.
        found: u32,
    },
}

impl BackupManifest {
    pub(super) fn new(identity: &NodeIdentity, created: Timestamp, files: BTreeMap<String, FileSum>) -> Self {
        Self { created, cluster: identity.cluster, node: identity.node, files }
    }

    /// The total bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.values().fold(0, |all, sum| all.saturating_add(sum.bytes))
    }

    /// The stored text.
    pub fn to_text(&self) -> String {
        let Self { created, cluster, node, files } = self;
        let created = created.as_millis();
        let mut text =
            format!("{COMMENT}format = {FORMAT}\ncreated = {created}\ncluster = \"{cluster}\"\nnode = {node}\n");
        for (path, FileSum { bytes, crc }) in files {
            let _ = writeln!(text, "{crc:08x} {bytes} {path}"); // Writing to a string cannot fail.
        }
        let crc = crc_line(&text);
        text + &crc
    }

    /// Parses a manifest after checking its crc.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let damaged = |reason| ManifestError::Damaged { reason };
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("not text"))?;
        let signed = text.rfind("crc32 = ").and_then(|at| text.get(..at)).ok_or(damaged("no crc"))?;
        if text.strip_prefix(signed) != Some(crc_line(signed).as_str()) {
            return Err(damaged("wrong crc"));
        }
        let lines = signed.strip_prefix(COMMENT).ok_or(damaged("not a manifest"))?;
        // A name may end with a carriage return, which `lines` would drop.
        let mut lines = lines.strip_suffix('\n').ok_or(damaged("a line without an end"))?.split('\n');
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(" = ");
        let format = field("format").and_then(|text| text.parse().ok()).ok_or(damaged("no format"))?;
        if FORMAT < format {
            return Err(ManifestError::Newer { found: format });
        }
        let mut number = |name| field(name).and_then(|text| text.trim_matches('"').parse::<i64>().ok());
        let created = number("created").map(Timestamp::from_millis).ok_or(damaged("no time"))?;
        let cluster =
            field("cluster").and_then(|text| text.trim_matches('"').parse().ok()).ok_or(damaged("no cluster"))?;
        let node = field("node").and_then(|text| text.parse().ok()).map(NodeId::new).ok_or(damaged("no node"))?;
        let files: Option<BTreeMap<_, _>> = lines.map(parse_file).collect();
        Ok(Self { created, cluster, node, files: files.ok_or(damaged("a malformed line"))? })
    }
}

fn parse_file(line: &str) -> Option<(String, FileSum)> {
    let mut parts = line.splitn(3, ' ');
    let crc = u32::from_str_radix(parts.next()?, 16).ok()?;
    let bytes = parts.next()?.parse().ok()?;
    let path = parts.next().filter(|path| stays_inside(Path::new(path)))?;
    Some((path.to_owned(), FileSum { bytes, crc }))
}

/// Whether a path stays inside its backup.
fn stays_inside(path: &Path) -> bool {
    !path.as_os_str().is_empty() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn crc_line(text: &str) -> String {
    format!("crc32 = \"{:08x}\"\n", crc32fast::hash(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> BackupManifest {
        let uuid = |byte| Uuid::from_random([byte; 16]);
        let identity = NodeIdentity { cluster: uuid(1), node: NodeId::new(3), uuid: uuid(2) };
        let files = [("meta", 200, 7), ("topics/a b/0/x.growerlog", 4_711, 0xdead_beef)];
        let files = files.map(|(path, bytes, crc)| (path.to_owned(), FileSum { bytes, crc }));
        BackupManifest::new(&identity, Timestamp::from_millis(1_000), files.into())
    }

    #[test]
    fn the_file_keeps_its_form() {
        insta::assert_snapshot!(manifest().to_text(), @r#"
        # A backup of a Grower data directory: `grower-cli restore` makes a data directory of it.
        format = 1
        created = 1000
        cluster = "01010101-0101-4101-8101-010101010101"
        node = 3
        00000007 200 meta
        deadbeef 4711 topics/a b/0/x.growerlog
        crc32 = "da2396c7"
        "#);
        assert_eq!(BackupManifest::parse(manifest().to_text().as_bytes()), Ok(manifest()));
    }

    #[test]
    fn a_path_keeps_each_of_its_characters() {
        let odd = BackupManifest { files: [("a\r".to_owned(), FileSum { bytes: 1, crc: 2 })].into(), ..manifest() };
        assert_eq!(BackupManifest::parse(odd.to_text().as_bytes()), Ok(odd));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let sound = manifest().to_text().into_bytes();
        for bit in 0..sound.len() * 8 {
            let mut damaged = sound.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(BackupManifest::parse(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn no_path_leads_out_of_the_backup_and_a_later_format_is_named() {
        let signed = |text: String| {
            let crc = crc_line(&text);
            (text + &crc).into_bytes()
        };
        let plain = manifest().to_text();
        let plain = &plain[..plain.rfind("crc32").unwrap()];
        for path in ["../meta", "/meta", "a/../../b"] {
            let damaged = ManifestError::Damaged { reason: "a malformed line" };
            assert_eq!(BackupManifest::parse(&signed(format!("{plain}00000000 1 {path}\n"))), Err(damaged), "{path}");
        }
        let later = plain.replace("format = 1", "format = 2");
        assert_eq!(BackupManifest::parse(&signed(later)), Err(ManifestError::Newer { found: 2 }));
    }
}
