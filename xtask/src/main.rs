//! `cargo xtask`: the chores of the workspace.

mod bench;
mod binaries;
mod ci;
mod completions;
mod fuzz;
mod interrupt;
mod layers;
mod manual;
#[cfg(test)]
mod pages;
mod release;
mod soak;
mod workspace;

use clap::{Parser, Subcommand};

/// The chores of the Grower workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct XtaskArguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Runs all that a change must pass: formatting, lints, layers, docs, tests.
    Ci,
    /// Fails if a crate or a module names one that the design does not let it know, or a type name means two types.
    Layers,
    /// Measures the real daemon beside a limit program that moves the same bytes.
    Bench(bench::Bench),
    /// Gives every decoder hostile bytes, guided by what they reach.
    Fuzz(fuzz::Fuzz),
    /// Writes manual pages of both binaries.
    Man(manual::Manual),
    /// Writes completion scripts of both binaries for every shell.
    Completions(completions::Completions),
    /// Runs the daemon under mixed load and checks that it stays as it was.
    Soak(soak::Soak),
    /// Checks all that can be checked before a release, packages every crate and builds it from its package.
    Release(release::Release),
}

fn main() -> anyhow::Result<()> {
    match XtaskArguments::parse().chore {
        Chore::Ci => ci::run(),
        Chore::Layers => layers::run(),
        Chore::Bench(bench) => bench.run(),
        Chore::Fuzz(fuzz) => fuzz.run(),
        Chore::Man(manual) => manual.run(),
        Chore::Completions(completions) => completions.run(),
        Chore::Soak(soak) => soak.run(),
        Chore::Release(release) => release.run(),
    }
}
