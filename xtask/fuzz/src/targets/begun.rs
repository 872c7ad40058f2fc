//! The list of partitions of a data directory that have had records.

use crate::Target;
use grower_broker::fuzzed::begun_written_again;

pub(super) const BEGUN: Target = Target {
    name: "begun",
    about: "the list of partitions that have had records: a valid one is written the same",
    run,
    seeds,
    allocates: 16 << 20,
};

/// Checks the bytes as they are, and their lines with correct checksums.
fn run(input: &[u8]) {
    check(input);
    if let Ok(text) = std::str::from_utf8(input) {
        let signed: String =
            text.split('\n').map(|line| format!("{line} {:08x}\n", crc32fast::hash(line.as_bytes()))).collect();
        check(signed.as_bytes());
    }
}

fn check(bytes: &[u8]) {
    let written = begun_written_again(bytes);
    assert_eq!(begun_written_again(written.as_bytes()), written);
}

fn seeds() -> Vec<Vec<u8>> {
    let id = "6d2f8a9c-1b7e-4c55-9f0e-3a1d2b4c5e6f";
    let texts = [String::new(), format!("+ {id} 0 events\n+ {id} 1 events\n- {id}\n+ {id} 7 a.b_c-d")];
    texts.map(String::into_bytes).to_vec()
}
