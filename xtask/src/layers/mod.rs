//! `cargo xtask layers`: which crate and which module may know which, which modules are pure, which files read a
//! clock, and that a type name means one type.

mod clock_readers;
mod crates;
mod modules;
mod pure;
mod source;
mod type_names;

/// Fails with one line for each forbidden arrow and each type name that means two types.
pub(crate) fn run() -> anyhow::Result<()> {
    let (crates, mut violations) = crates::check()?;
    let sources = source::read_all()?;
    violations.extend(modules::check(&sources));
    violations.extend(pure::check(&sources));
    violations.extend(clock_readers::check(&sources));
    violations.extend(type_names::check(&sources));
    anyhow::ensure!(violations.is_empty(), "layers:\n{}", violations.join("\n"));
    println!("layers: {crates} crates, every arrow is one of the design's, every type has a name of its own");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_keeps_to_the_layers() {
        super::run().unwrap();
    }
}
