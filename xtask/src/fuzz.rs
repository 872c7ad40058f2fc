//! `cargo xtask fuzz`: hostile bytes for every decoder.
//!
//! The targets are in `xtask/fuzz`. libFuzzer chooses the bytes, guided by coverage from LLVM passes of the stable
//! compiler; only libFuzzer itself needs a C++ compiler. The build with coverage has its own target directory, which
//! also keeps the inputs between runs. `--keep` minimises them into the committed corpus, which an ordinary test
//! replays.

use crate::workspace::{cargo, must_succeed, root};
use anyhow::{Context, bail, ensure};
use grower_fuzz::{TARGETS, Target, corpus, guard};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Compiler flags that count the code an input reaches.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The longest input in the committed corpus, in bytes.
const KEPT_BYTES_MAX: usize = 1 << 10;

/// The most inputs of a target in the committed corpus, to keep the repository small.
const KEPT_MAX: usize = 40;

/// The targets, and how long to run each.
#[derive(clap::Args)]
pub(crate) struct Fuzz {
    /// The targets, run one after the other [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Minutes per target
    #[arg(long, default_value_t = 1.0, value_name = "M")]
    minutes: f64,

    /// Start with this seed: a fresh checkout then runs the same inputs in the same order, as far as the time allows
    #[arg(long, value_name = "S")]
    seed: Option<u32>,

    /// List the targets with their promises
    #[arg(long)]
    list: bool,

    /// Afterwards, add the inputs that reached new code to the committed corpus
    #[arg(long)]
    keep: bool,

    /// Run only the input in this file, such as one that failed
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

impl Fuzz {
    /// Fails at the first input that breaks a promise, and names the file that holds it.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        if self.list {
            TARGETS.iter().for_each(|target| println!("{:18} {}", target.name, target.about));
            return Ok(());
        }
        let targets = self.targets()?;
        let engine = FuzzEngine::build()?;
        if let Some(input) = &self.input {
            let [target] = targets.as_slice() else { bail!("name the one target of the input") };
            return must_succeed(engine.on(target)?.arg(std::path::absolute(input)?)); // The target runs in another folder.
        }
        for target in targets {
            engine.fuzz(target, self.minutes, self.seed)?;
            if self.keep {
                engine.keep(target)?;
            }
        }
        Ok(())
    }

    fn targets(&self) -> anyhow::Result<Vec<&'static Target>> {
        if self.targets.is_empty() {
            return Ok(TARGETS.iter().collect());
        }
        let find = |name: &String| {
            grower_fuzz::target(name).with_context(|| format!("unknown target {name:?}; --list shows all targets"))
        };
        self.targets.iter().map(find).collect()
    }
}

/// The targets, built with coverage and libFuzzer around them.
struct FuzzEngine {
    binary: PathBuf,
    /// The folder of inputs and failures.
    dir: PathBuf,
}

impl FuzzEngine {
    fn build() -> anyhow::Result<Self> {
        let dir = root().join("target/fuzz");
        let triple = host()?;
        let mut build = cargo();
        build.args(["build", "--package", "grower-fuzz", "--features", "libfuzzer", "--profile", "fuzz", "--target"]);
        build.arg(&triple).arg("--target-dir").arg(&dir).env("RUSTFLAGS", COVERAGE).current_dir(root());
        must_succeed(&mut build).context("the targets cannot be built; libFuzzer needs a C++ compiler (g++)")?;
        Ok(Self { binary: dir.join(triple).join("fuzz/grower-fuzz"), dir })
    }

    fn fuzz(&self, target: &Target, minutes: f64, seed: Option<u32>) -> anyhow::Result<()> {
        let seconds = (minutes * 60.0).ceil().max(1.0) as u64;
        let (found, failed) = (self.dir_of("corpus", target)?, self.dir_of("failed", target)?);
        let mut run = self.on(target)?;
        run.arg(&found).arg(corpus::dir(target.name)).env("GROWER_FUZZ_SEEDS", &found);
        run.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={}", guard::INPUT_BYTES_MAX));
        run.arg(format!("-artifact_prefix={}/", failed.display()));
        run.args(seed.map(|seed| format!("-seed={seed}")));
        run.args(["-timeout=60", "-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=1"]);
        let output = run.output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stat =
            |name: &str| stderr.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
        ensure!(output.status.success(), "{}", failure(target, &stderr));
        let (inputs, per_second) = (stat("stat::number_of_executed_units:"), stat("stat::average_exec_per_sec:"));
        println!("{:18} {inputs} inputs in {seconds} s ({per_second}/s), no failure", target.name);
        Ok(())
    }

    /// Adds the inputs that reach new code to the committed corpus.
    fn keep(&self, target: &Target) -> anyhow::Result<()> {
        let kept = corpus::dir(target.name);
        fs::create_dir_all(&kept)?;
        let mut merge = self.on(target)?;
        merge.arg("-set_cover_merge=1").arg(format!("-max_len={KEPT_BYTES_MAX}")).arg("-verbosity=0");
        let output = merge.arg(&kept).arg(self.dir_of("corpus", target)?).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // People name inputs that once failed; the engine names its own by a hash.
        let by_engine = |path: &PathBuf| path.file_name().is_some_and(|name| name.len() == 40);
        let found = corpus::inputs(target.name)?.into_iter().map(|(path, _)| path).filter(by_engine);
        for surplus in found.skip(KEPT_MAX) {
            fs::remove_file(surplus)?;
        }
        println!("{:18} {} inputs kept", target.name, corpus::inputs(target.name)?.len());
        Ok(())
    }

    fn on(&self, target: &Target) -> anyhow::Result<Command> {
        fs::create_dir_all(corpus::dir(target.name))?;
        let mut command = Command::new(&self.binary);
        command.env("GROWER_FUZZ_TARGET", target.name).current_dir(&self.dir);
        Ok(command)
    }

    fn dir_of(&self, what: &str, target: &Target) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join(what).join(target.name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

/// Describes a failure: the panic, the file of the input, and the command that repeats it.
fn failure(target: &Target, stderr: &str) -> String {
    let broke = stderr.lines().skip_while(|line| !line.contains("panicked at")).take(2);
    let broke = broke.collect::<Vec<_>>().join("\n");
    let file = stderr.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, file)| file.trim());
    match file {
        Some(file) => {
            let again = format!("cargo xtask fuzz {} --input {file}", target.name);
            format!("{} failed:\n{broke}\nthe input is in {file}; again: {again}", target.name)
        }
        None => format!("{} failed without an input:\n{stderr}", target.name),
    }
}

/// Returns the target triple of this machine. An explicit target keeps coverage out of build scripts and macros.
fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot run rustc -vV")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let host = stdout.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_input_and_how_to_see_it_again() {
        let stderr = "INFO: Seed: 1\n\nthread '<unnamed>' panicked at xtask/fuzz/src/guard.rs:30:5:\nrequest took 2s\n\
                    ==12== ERROR: libFuzzer: deadly signal\nartifact_prefix='/t/'; Test unit written to /t/crash-0a\n";
        insta::assert_snapshot!(failure(&TARGETS[1], stderr), @r"
        request failed:
        thread '<unnamed>' panicked at xtask/fuzz/src/guard.rs:30:5:
        request took 2s
        the input is in /t/crash-0a; again: cargo xtask fuzz request --input /t/crash-0a
        ");
    }

    #[test]
    fn an_unknown_target_is_named() {
        let fuzz = Fuzz {
            targets: vec!["nonsense".to_owned()],
            minutes: 1.0,
            list: false,
            keep: false,
            input: None,
            seed: None,
        };
        assert!(fuzz.run().unwrap_err().to_string().contains("nonsense"));
    }
}
