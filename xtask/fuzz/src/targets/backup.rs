//! The manifest of a backup.

use crate::Target;
use grower_broker::metadata::Uuid;
use grower_broker::offline::backups::{BackupManifest, FileSum};
use grower_protocol::ids::{NodeId, Timestamp};
use std::path::{Component, Path};

pub(super) const MANIFEST: Target = Target {
    name: "backup-manifest",
    about: "the manifest of a backup: no path leads out of it, and a valid one is written the same",
    run,
    seeds,
    allocates: 4 << 20,
};

/// Parses the lines as they are, and with a correct CRC.
fn run(input: &[u8]) {
    let _ = BackupManifest::parse(input);
    let crc = format!("crc32 = \"{:08x}\"\n", crc32fast::hash(input));
    let Ok(manifest) = BackupManifest::parse(&[input, crc.as_bytes()].concat()) else { return };
    for path in manifest.files.keys() {
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        assert!(inside && !path.is_empty(), "{path:?} leads out of the backup");
    }
    let _ = manifest.bytes();
    assert_eq!(BackupManifest::parse(manifest.to_text().as_bytes()), Ok(manifest));
}

fn seeds() -> Vec<Vec<u8>> {
    let manifest = |files: &[(&str, u64)]| {
        let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), FileSum { bytes: *bytes, crc: 0xdead_beef }));
        let (created, cluster, node) = (Timestamp::from_millis(1_000), Uuid::from_random([5; 16]), NodeId::new(1));
        BackupManifest { created, cluster, node, files: files.collect() }
    };
    let log = "topics/a b/0/00000000000000000000.growerlog";
    let both = [manifest(&[]), manifest(&[("identity", 57), (log, 4_711), ("large", u64::MAX)])];
    both.iter().map(|manifest| without_crc(manifest.to_text())).collect()
}

fn without_crc(text: String) -> Vec<u8> {
    let end = text.rfind("crc32 = ").unwrap_or(text.len());
    text.into_bytes().split_at(end).0.to_vec()
}
