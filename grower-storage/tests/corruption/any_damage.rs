//! Anything happens to several files at once: what is served is what was appended.

use crate::log_kit;
use crate::stopped::{Stopped, findings, read_one};
use grower_protocol::ids::{LeaderEpoch, Offset};
use grower_storage::disk::Disk;
use grower_storage::log::{DiskLog, Log};
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

/// Something that happens to a file.
#[derive(Clone, Debug)]
enum FileDamage {
    Overwrite {
        at: usize,
        with: Vec<u8>,
    },
    Truncate(usize),
    Extend(Vec<u8>),
    /// A block that belongs to another file, as a misdirected write leaves it.
    CopyFrom {
        file: usize,
        from: usize,
        at: usize,
        length: usize,
    },
    Remove,
}

fn damage() -> impl Strategy<Value = (usize, FileDamage)> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..40);
    let what = prop_oneof![
        4 => (0usize..500, bytes()).prop_map(|(at, with)| FileDamage::Overwrite { at, with }),
        1 => (0usize..500).prop_map(FileDamage::Truncate),
        1 => bytes().prop_map(FileDamage::Extend),
        2 => (0usize..10, 0usize..400, 0usize..400, 1usize..200)
            .prop_map(|(file, from, at, length)| FileDamage::CopyFrom { file, from, at, length }),
        1 => Just(FileDamage::Remove),
    ];
    (0usize..10, what)
}

fn apply(files: &mut Vec<(PathBuf, Vec<u8>)>, which: usize, damage: &FileDamage) {
    let which = which % files.len();
    let donor = match damage {
        FileDamage::CopyFrom { file, .. } => files[file % files.len()].1.clone(),
        _ => Vec::new(),
    };
    let bytes = &mut files[which].1;
    match damage {
        FileDamage::Overwrite { at, with } => {
            let at = (*at).min(bytes.len());
            let end = (at + with.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&with[..end - at]);
        }
        FileDamage::Truncate(length) => bytes.truncate(*length),
        FileDamage::Extend(more) => bytes.extend_from_slice(more),
        FileDamage::CopyFrom { from, at, length, .. } => {
            let (from, at) = ((*from).min(donor.len()), (*at).min(bytes.len()));
            let length = (*length).min(donor.len() - from).min(bytes.len() - at);
            bytes[at..at + length].copy_from_slice(&donor[from..from + length]);
        }
        FileDamage::Remove if 1 < files.len() => drop(files.remove(which)),
        FileDamage::Remove => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_serve_wrong_records(all in prop::collection::vec(damage(), 1..5)) {
        let stopped = Stopped::new(log_kit::options());
        let disk = stopped.with(|files| all.iter().for_each(|(which, damage)| apply(files, *which, damage)));
        let _ = findings(&disk);
        let log: Arc<dyn Disk> = Arc::new(disk.clone());
        let Ok((mut log, _)) = DiskLog::open(log, log_kit::place(), log_kit::options(), Default::default()) else {
            return Ok(()); // Another partition's, says its own file.
        };
        let span = log.span();
        let _ = log.reader().check(span.clone());
        for batch in stopped.batches.iter().filter(|batch| span.contains(&Offset::new(batch.base))) {
            if let Some(bytes) = read_one(&log, batch.base) {
                prop_assert_eq!(&bytes, &batch.bytes);
            }
        }
        let _ = log.retain(Default::default(), &Default::default(), span.end);
        let appended = log.append(log_kit::batch_of(9, 1, 5, 0, 0), LeaderEpoch::new(9), Default::default()).unwrap();
        prop_assert_eq!(appended.base_offset, span.end);
        prop_assert!(read_one(&log, span.end.value()).is_some(), "what is appended afterwards is served");
    }
}
