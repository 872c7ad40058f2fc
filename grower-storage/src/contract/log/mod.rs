//! The promises of [`Log`] that hold for every log, in files or not.

mod append;
mod compact;
mod drop;
mod kit;
mod producers;
mod read;

use crate::log::{Log, LogOptions};

/// Checks the logs that `open` makes: each call must give an empty one with these options.
///
/// # Panics
///
/// At the first promise that is broken.
///
/// ```
/// use grower_storage::log::MemLog;
/// grower_storage::contract::log(|options| Box::new(MemLog::new(options)));
/// ```
pub fn log(mut open: impl FnMut(LogOptions) -> Box<dyn Log>) {
    let promises = [append::PROMISES, read::PROMISES, drop::PROMISES, compact::PROMISES, producers::PROMISES];
    for promise in promises.into_iter().flatten() {
        promise(&mut kit::Kit::new(open(LogOptions::tiny())));
    }
}

type LogPromise = fn(&mut kit::Kit);
