//! The committed corpus: small inputs, one file each.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The folder of a target's inputs.
pub fn dir(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// Reads the inputs of a target, in the order of their names; none without a folder.
pub fn inputs(target: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let entries = match fs::read_dir(dir(target)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.into_iter().map(|path| Ok((path.clone(), fs::read(path)?))).collect()
}

/// Writes a target's seeds into `dir`, for the engine.
pub fn write_seeds(target: &crate::Target, dir: &Path) -> io::Result<()> {
    for (at, seed) in (target.seeds)().iter().enumerate() {
        fs::write(dir.join(format!("seed-{at}")), seed)?;
    }
    Ok(())
}
