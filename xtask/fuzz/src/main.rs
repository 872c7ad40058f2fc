//! libFuzzer around the target that `GROWER_FUZZ_TARGET` names. `cargo xtask fuzz` builds and starts it.

#![no_main]

use grower_fuzz::{Target, corpus, guard, target};
use std::path::Path;
use std::sync::OnceLock;

static TARGET: OnceLock<Target> = OnceLock::new();

/// Finds the target, and writes its seeds into the folder that libFuzzer reads.
fn prepare() -> Target {
    let name = std::env::var("GROWER_FUZZ_TARGET").expect("GROWER_FUZZ_TARGET names a target");
    let target = *target(&name).expect("GROWER_FUZZ_TARGET names a target that there is");
    if let Some(dir) = std::env::var_os("GROWER_FUZZ_SEEDS") {
        corpus::write_seeds(&target, Path::new(&dir)).expect("seeds can be written");
    }
    target
}

libfuzzer_sys::fuzz_target!(
    init: {
        TARGET.get_or_init(prepare);
    },
    |input: &[u8]| {
        guard::run(TARGET.get_or_init(prepare), input);
    }
);
