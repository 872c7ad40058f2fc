//! Notifies the service manager by systemd's protocol; does nothing where there is no systemd.

use sd_notify::{NotifyState, watchdog_enabled};
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Names the socket of the service manager.
const SOCKET: &str = "NOTIFY_SOCKET";

/// How long a message may wait for a manager that does not read.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

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

/// Says at half the interval that is asked for that this runtime still turns. Never returns; where no watchdog is set
/// it waits.
pub(super) async fn feed_watchdog() {
    let Some(interval) = watchdog_enabled() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval((interval / 2).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    let Some(socket) = std::env::var_os(SOCKET).filter(|name| !name.is_empty()) else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, socket = %socket.display(), "cannot notify the service manager");
    }
}

fn send(socket: &OsStr, state: &[NotifyState<'_>]) -> io::Result<()> {
    let message: String = state.iter().map(|line| format!("{line}\n")).collect();
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(SEND_TIMEOUT))?;
    sender.send_to_addr(message.as_bytes(), &address(socket)?).map(drop)
}

/// A leading `@` stands for the NUL byte of an abstract name: see sd_notify(3).
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_receives(receiver: UnixDatagram, named: &OsStr) {
        receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        send(named, &[NotifyState::Ready, NotifyState::Status("up")]).unwrap();
        let mut message = [0; 64];
        let length = receiver.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1\nSTATUS=up\n");
    }

    #[test]
    fn the_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        check_receives(UnixDatagram::bind(&path).unwrap(), path.as_os_str());

        let name = format!("grower-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        check_receives(UnixDatagram::bind_addr(&abstract_name).unwrap(), OsStr::new(&format!("@{name}")));
    }
}
