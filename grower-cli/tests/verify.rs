//! `log verify`: finds every flipped bit of a data directory, and reports an undamaged one as such.

mod kit;

use grower_broker::offline;
use kit::{Served, json, text};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// All files except those without content that matters.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !["LOCK", "reserve"].map(AsRef::as_ref).contains(&path.file_name().unwrap()) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The files with findings.
fn named(dir: &Path) -> Vec<PathBuf> {
    offline::verify(dir, |_| ()).unwrap().findings.into_iter().map(|finding| finding.path).collect()
}

#[test]
fn every_flipped_bit_is_found_in_its_file() {
    let broker = Served::stopped_with_segments();
    let dir = broker.data_dir();
    assert_eq!(named(&dir), Vec::<PathBuf>::new());
    let mut missed = Vec::new();
    let mut flips = 0;
    for file in files(&dir) {
        let sound = fs::read(&file).unwrap();
        let handle = fs::File::options().write(true).open(&file).unwrap();
        for bit in 0..sound.len() * 8 {
            let at = bit / 8;
            handle.write_all_at(&[sound[at] ^ (1 << (bit % 8))], at as u64).unwrap();
            if !named(&dir).contains(&file) {
                missed.push(format!("{}: bit {bit}", file.display()));
            }
            handle.write_all_at(&sound[at..=at], at as u64).unwrap();
            flips += 1;
        }
    }
    assert!(missed.is_empty(), "{} of {flips} flips missed: {missed:#?}", missed.len());
    assert_eq!(named(&dir), Vec::<PathBuf>::new());
}

#[test]
fn damage_is_reported_with_file_bytes_offsets_and_exit_1() {
    let broker = Served::stopped_with_segments();
    let dir = broker.data_dir();
    let before = files(&dir).iter().map(|file| fs::read(file).unwrap()).collect::<Vec<_>>();
    let verify = |form: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_grower-cli"));
        command.args(["log", "verify"]).arg(&dir).args(form.split_whitespace()).output().unwrap()
    };
    let sound = verify("");
    assert_eq!((sound.status.code(), text(&sound.stderr).as_str()), (Some(0), ""));
    assert!(text(&sound.stdout).contains("partitions checked"), "{}", text(&sound.stdout));
    assert_eq!(
        files(&dir).iter().map(|file| fs::read(file).unwrap()).collect::<Vec<_>>(),
        before,
        "it changes nothing"
    );

    let file = dir.join("topics/events/0/00000000000000000003.growerlog");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    fs::write(&file, bytes).unwrap();
    let damaged = verify("");
    assert_eq!(damaged.status.code(), Some(1));
    let stdout = text(&damaged.stdout);
    assert!(stdout.contains("00000000000000000003.growerlog: bytes ") && stdout.contains(" offsets 4..5:"), "{stdout}");
    let finding = &json(&verify("--output json").stdout)[0]["findings"][0];
    assert_eq!(finding["offsets"], serde_json::json!([4, 5]));
}

#[test]
fn a_directory_in_use_or_without_data_is_refused() {
    let broker = Served::start();
    let error = broker.fails(&format!("log verify {}", broker.data_dir().display()), b"");
    assert!(error.contains("stop it first"), "{error}");
    let error = broker.fails(&format!("log verify {}", broker.path("nowhere").display()), b"");
    assert!(error.contains("not a data directory"), "{error}");
}
