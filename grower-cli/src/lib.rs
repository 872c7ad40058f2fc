//! The command line of Grower as a library, so that tests can run the same code as the `grower-cli` binary.
//!
//! Each command has a file under `commands/` with its arguments, their help, and a `run`. [`demo::run`] shows the
//! whole log at work over any [`grower_client::Client`].

#![deny(clippy::print_stdout, clippy::print_stderr)] // They panic where a stream is gone or full: see `output`.

mod arguments;
mod capacity;
mod commands;
mod follow;
mod groups;
mod lines;
mod options;
mod output;
mod position_spec;
mod segment_listing;
mod session;

pub use arguments::Arguments;
pub use commands::CliCommand;

/// The demo over any client.
pub mod demo {
    pub use crate::commands::demo::run;
}

/// For fuzzing only: no part of it is stable.
#[doc(hidden)]
pub mod fuzzed {
    pub use crate::follow::fuzzed::{NOTE_OF_ONE_FILE, check_note};
}

use clap::CommandFactory;
use std::io::Write;
use std::process::ExitCode;

/// Parses the command line and runs it. Exit status 0: done. 1: failed; standard error says why and what to do. 2:
/// wrong usage.
pub fn main() -> ExitCode {
    let result = match Arguments::read() {
        Ok(arguments) => run(arguments),
        Err(usage) if usage.use_stderr() => usage.exit(),
        Err(help) => print_help(&help),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::stderr_line(format_args!("error: {}", with_advice(output::message_of(&error))));
            let is_usage = error.is::<session::WrongVariable>() || error.is::<options::WrongUsage>();
            if is_usage { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    output::check_stdout()?; // First: a command must not act if its report would be lost.
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(async {
        session::outlive_file_size_limit()?;
        commands::run(arguments.command, &arguments.options, Arguments::command).await
    });
    runtime.shutdown_background();
    result
}

/// Adds advice to an error that comes from a lack of file descriptors.
fn with_advice(message: String) -> String {
    let is_short = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .iter()
        .any(|errno| message.contains(&std::io::Error::from(*errno).to_string()));
    let advice = "; raise the limit with `ulimit -n 1024`, or close files of other programs";
    if is_short { format!("{message}{advice}") } else { message }
}

/// Prints help or a version. The parser's own printing ignores errors.
fn print_help(help: &clap::Error) -> anyhow::Result<()> {
    output::check_stdout()?;
    let text = help.render();
    let mut out = output::StdoutWriter::open();
    match output::has_colour(&std::io::stdout()) {
        true => write!(out, "{}", text.ansi())?,
        false => write!(out, "{text}")?,
    }
    Ok(out.flush()?)
}

/// Logs of the client and of an embedded broker go to standard error, from warnings up; `RUST_LOG` changes the level.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| output::Stderr)
        .with_ansi(output::has_colour(&std::io::stderr()))
        .without_time()
        .with_target(false)
        .init();
}
