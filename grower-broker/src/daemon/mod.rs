//! From a command line to a running broker and back to an exit code.
//!
//! The process serves from its ready line on. Its exit code is 0 after a stop on request, and 1, with one line of
//! reason, if it cannot start or has failed. After a failed sync it ends at once: the next start finds out what is on
//! the disk.

mod log;
mod pages;
mod purge;
mod service;
mod signals;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use grower_broker::config::{BrokerConfig, BrokerConfigError, settings::BrokerSettings};
use grower_broker::flags::Flags;
use grower_broker::offline::{FileSystem, Trust};
use grower_broker::{Broker, StartError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signals::Signals;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// The longest wait for a line to be written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs the process to its end.
pub(crate) fn run() -> ExitCode {
    pages::keep_small();
    let result = match Flags::try_parse() {
        Ok(flags) => prepare_and_serve(&flags),
        Err(usage) if usage.use_stderr() => usage.exit(),
        Err(help) => print_help(&help),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&reason(&error));
            ExitCode::FAILURE
        }
    }
}

fn prepare_and_serve(flags: &Flags) -> Result<()> {
    let settings = flags.settings()?;
    let checked = settings.broker.check();
    if flags.print_config {
        return print(&settings, checked);
    }
    checked?;
    let (level, log) = log::start(settings.log_format, &settings.log_level)?;
    if let Some(passed_over) = &settings.passed_over {
        tracing::warn!("{passed_over}; ignored");
    }
    raise_open_files()?;
    purge::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let entered = runtime.enter();
    signals::outlive_file_size_limit().context("cannot listen for signals")?;
    drop(entered);
    warn_beyond_loopback(&settings.broker);
    let served = runtime.block_on(serve(settings, level, log));
    // A cancelled recovery may still run, and a stop must not wait for it.
    runtime.shutdown_background();
    served
}

/// Prints the help. The parser's own printing ignores errors.
fn print_help(help: &clap::Error) -> Result<()> {
    let (text, mut out) = (help.render(), std::io::stdout());
    let text = if out.is_terminal() { text.ansi().to_string() } else { text.to_string() };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot print the help")
}

/// A file to start from needs no data directory yet.
fn print(settings: &BrokerSettings, checked: Result<(), BrokerConfigError>) -> Result<()> {
    match checked {
        Ok(()) | Err(BrokerConfigError::NoDataDir) => {}
        Err(error) => return Err(error.into()),
    }
    let mut out = std::io::stdout();
    out.write_all(settings.to_toml().as_bytes()).and_then(|()| out.flush()).context("cannot print the settings")
}

async fn serve(settings: BrokerSettings, level: log::Level, log: log::Writing) -> Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    tokio::spawn(service::feed_watchdog());
    service::recovering();
    let data_dir = settings.broker.data_dir.clone();
    let starting = tokio::spawn(start(settings, level));
    let broker = tokio::select! {
        started = starting => started.context("the start failed")??,
        // The next start can repeat all that this one did.
        () = signals.asked_to_stop() => return Ok(()),
    };
    warn_of_file_system(&data_dir);
    let ready = ready_line(broker.listen_address(), broker.http_address());
    say(&ready);
    service::ready(&ready);
    tokio::select! {
        failure = broker.failed() => {
            drop(log);
            say(&format!("grower-broker: stopped: {failure}"));
            std::process::exit(1); // Nothing may be written any more, not even by a clean stop.
        }
        () = signals.asked_to_stop() => tracing::info!("stopping"),
    }
    service::stopping();
    tokio::select! {
        stopped = broker.stop() => stopped.map_err(|reason| anyhow!("did not stop cleanly: {reason}")),
        () = signals.asked_to_stop() => Err(anyhow!("stopped at once, on a second request")),
    }
}

async fn start(settings: BrokerSettings, level: log::Level) -> Result<Broker, StartError> {
    let builder = Broker::builder(settings.broker.clone()).settings(settings);
    builder.log_level(move |filter| level.set(filter)).start().await
}

fn ready_line(listen: Option<SocketAddr>, http: Option<SocketAddr>) -> String {
    let mut line = "grower-broker ready".to_owned();
    for (name, address) in [("listen", listen), ("http", http)] {
        if let Some(address) = address {
            line.push_str(&format!(" {name}={address}"));
        }
    }
    line
}

/// Writes a line to stderr in one write, so that no reader sees half of it. Waits a moment at most for a reader that
/// stalls.
#[expect(clippy::disallowed_methods, reason = "the thread may outlive the broker, which does not depend on it")]
fn say(line: &str) {
    let line: Arc<str> = format!("{line}\n").into();
    let (written, is_written) = mpsc::channel();
    let said = line.clone();
    let saying = std::thread::Builder::new().spawn(move || {
        write(&said);
        let _ = written.send(());
    });
    match saying {
        Ok(_) => drop(is_written.recv_timeout(PATIENCE)), // Then it comes when it is read, or never.
        Err(_) => write(&line),                           // Without a thread it may take as long as it takes.
    }
}

fn write(line: &str) {
    // Without stderr there is no reader.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn reason(error: &anyhow::Error) -> String {
    let mut reason = error.to_string();
    if let Some(cause) = error.source().map(ToString::to_string)
        && !reason.contains(&cause)
    {
        reason = format!("{reason}: {cause}");
    }
    format!("grower-broker: {}", reason.lines().map(str::trim).collect::<Vec<_>>().join(" "))
}

/// With fewer a broker could serve next to nothing: it reserves some for files and for HTTP.
const OPEN_FILES_MIN: u64 = 32;

/// Logs and connections are many files; the soft limit is often 1,024.
fn raise_open_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(error) = raised {
        tracing::warn!(%error, current = limit.current, "cannot raise the limit of open files");
    }
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < OPEN_FILES_MIN => Err(anyhow!(
            "the process may have {limit} open files: a broker needs {OPEN_FILES_MIN} or more, at least one for each connection and partition; raise the limit (ulimit -n, LimitNOFILE=)"
        )),
        _ => Ok(()),
    }
}

/// Warns of a file system that does not keep records.
fn warn_of_file_system(data_dir: &Path) {
    match FileSystem::of(data_dir).map(|found| (found.trust(), found)) {
        Ok((Trust::Full, _)) => {}
        Ok((Trust::Doubtful(why) | Trust::None(why), found)) => {
            tracing::warn!(data_dir = %data_dir.display(), file_system = %found, "{why}");
        }
        Err(error) => tracing::warn!(%error, "cannot ask which file system the data directory is on"),
    }
}

fn warn_beyond_loopback(config: &BrokerConfig) {
    for address in [config.listen, config.http].into_iter().flatten() {
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "this address can be reached from other machines, and there are no users or passwords yet: every client may do everything"
            );
            return;
        }
    }
}
