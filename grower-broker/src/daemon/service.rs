//! What a service manager is told: systemd's notification protocol, and nothing where there is no systemd.

use sd_notify::{NotifyState, notify, watchdog_enabled};

/// The logs are being recovered; nothing is served yet.
pub(super) fn recovering() {
    tell(&[NotifyState::Status("recovering the logs")]);
}

/// Everything that was acknowledged can be read again, and clients may come.
pub(super) fn ready(line: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(line)]);
}

/// Requests in work are answered, and no others.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("making everything durable")]);
}

/// Says at half the interval that is asked for that this runtime still turns. Never returns; where no watchdog is set it waits.
pub(super) async fn feed_watchdog() {
    let Some(interval) = watchdog_enabled() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval((interval / 2).max(std::time::Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
