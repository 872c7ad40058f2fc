//! Notes the times at which this process did not run.

use super::journal::{Journal, JournalEvent, Nanos};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(20);
/// A tick that is this late is a pause.
const PAUSE: Duration = Duration::from_millis(40);

/// Watches from a thread of its own: a busy runtime is no pause.
pub(super) fn start(journal: Journal) {
    std::thread::spawn(move || {
        let mut last = Nanos::now();
        loop {
            std::thread::sleep(TICK);
            let now = Nanos::now();
            if PAUSE < now.since(last) {
                journal.note(&JournalEvent::Pause { from: last, to: now });
            }
            last = now;
        }
    });
}
