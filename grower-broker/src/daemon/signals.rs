//! The signals that reach the process, and what each asks for.
//!
//! SIGTERM, SIGINT and SIGQUIT ask for a clean stop. A wrapper may pass on a signal that the process received as well,
//! so further ones count as a second request only after [`REPEAT_AFTER`]. SIGHUP is logged and changes nothing:
//! settings change through `grower-cli broker alter`, and a closed terminal does not end a broker. So are SIGUSR1,
//! SIGUSR2 and SIGALRM, which other programs are sent for their own purposes. SIGXFSZ comes with the error of a write
//! beyond `ulimit -f`, and the error is enough.

use grower_broker::{Clock, SystemClock};
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal this soon after the first belongs to the same request.
const REPEAT_AFTER: Duration = Duration::from_secs(1);

/// Listens from its creation on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    /// When a stop was requested last, on the monotonic clock.
    asked: Option<Duration>,
}

impl Signals {
    /// Must be called inside a runtime. Those that ask for nothing are ignored from here on.
    pub(super) fn listen() -> io::Result<Self> {
        ignore("SIGHUP", signal(SignalKind::hangup())?);
        ignore("SIGUSR1", signal(SignalKind::user_defined1())?);
        ignore("SIGUSR2", signal(SignalKind::user_defined2())?);
        ignore("SIGALRM", signal(SignalKind::alarm())?);
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, quit: signal(SignalKind::quit())?, asked: None })
    }

    /// Returns at the first signal; called again, at the next one that is a request of its own.
    pub(super) async fn asked_to_stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
                _ = self.quit.recv() => {}
            }
            let now = SystemClock.monotonic();
            if is_new_request(self.asked, now) {
                self.asked = Some(now);
                return;
            }
        }
    }
}

/// From here on a write beyond the limit of a file's size (`ulimit -f`) is an error like that of a full disk; before,
/// it kills the process. Must be called inside a runtime.
pub(super) fn outlive_file_size_limit() -> io::Result<()> {
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop) // Its handler stays.
}

fn is_new_request(earlier: Option<Duration>, now: Duration) -> bool {
    earlier.is_none_or(|earlier| REPEAT_AFTER <= now.saturating_sub(earlier))
}

fn ignore(name: &'static str, mut signal: Signal) {
    tokio::spawn(async move {
        while signal.recv().await.is_some() {
            tracing::info!("{name} ignored: settings change with `grower-cli broker alter`, SIGTERM stops the broker");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_within_a_second_of_the_first_is_the_same_request() {
        let first = Duration::from_secs(5);
        assert!(is_new_request(None, first));
        assert!(!is_new_request(Some(first), first));
        assert!(!is_new_request(Some(first), first + REPEAT_AFTER - Duration::from_millis(1)));
        assert!(is_new_request(Some(first), first + REPEAT_AFTER));
    }
}
