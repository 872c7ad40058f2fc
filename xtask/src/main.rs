//! `cargo xtask`: the chores of the workspace.

mod bench;
mod binaries;
mod ci;
mod completions;
mod fuzz;
mod interrupt;
mod layers;
mod manifest;
mod manual;
#[cfg(test)]
mod pages;
mod preload;
mod release;
mod soak;
mod stall;
mod stop;
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
    /// Runs every check of a change: formatting, lints, layers, docs, tests.
    Ci,
    /// Fails if a crate or a module names another one against the design, or if a type name means two types.
    Layers,
    /// Measures the real daemon and a limit program that moves the same bytes.
    Bench(bench::Bench),
    /// Feeds hostile bytes to every decoder, guided by coverage.
    Fuzz(fuzz::Fuzz),
    /// Writes manual pages of both binaries.
    Man(manual::Manual),
    /// Writes completion scripts of both binaries for every shell.
    Completions(completions::Completions),
    /// Runs the daemon under mixed load and checks that memory and descriptors stay flat.
    Soak(soak::Soak),
    /// Stops and kills broker and clients at random, and checks the promises of the client library.
    Stall(stall::StallRig),
    /// One client process of the stall rig.
    #[command(hide = true)]
    StallClient(stall::StallClient),
    /// Checks a release, packages every crate and builds it from its package.
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
        Chore::Stall(rig) => rig.run(),
        Chore::StallClient(client) => client.run(),
        Chore::Release(release) => release.run(),
    }
}
