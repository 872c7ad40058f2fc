//! The daemon under a service manager: its notifications to systemd, and its unit file.

mod support {
    pub(crate) mod daemon;
}

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;
use support::daemon::{Daemon, bare_command, command};

/// A service manager's ear.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(command: &mut Command, dir: &std::path::Path) -> Self {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        command.env("NOTIFY_SOCKET", &path);
        Self(socket)
    }

    /// The next message that has this line.
    fn wait_for(&self, line: &str) -> String {
        let mut message = [0; 4096];
        loop {
            let length = self.0.recv(&mut message).unwrap_or_else(|error| panic!("never said {line}: {error}"));
            let said = String::from_utf8(message[..length].to_vec()).unwrap();
            if said.lines().any(|said| said == line) {
                return said;
            }
        }
    }
}

#[test]
fn systemd_learns_when_it_is_ready_and_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(&dir.path().join("data"));
    let manager = Manager::listen(&mut command, dir.path());
    let daemon = Daemon::start_command(&mut command);
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains(&format!("listen={}", daemon.listen)), "{ready}");
    assert_eq!(daemon.terminate().status.code(), Some(0));
    manager.wait_for("STOPPING=1");
}

#[test]
fn the_service_watchdog_is_notified_while_the_daemon_lives() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(&dir.path().join("data"));
    let manager = Manager::listen(command.env("WATCHDOG_USEC", "20000"), dir.path());
    let daemon = Daemon::start_command(&mut command);
    manager.wait_for("READY=1");
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    assert_eq!(daemon.terminate().status.code(), Some(0));
}

#[test]
fn the_unit_starts_the_daemon_with_flags_that_it_has() {
    let unit = include_str!("../ops/grower-broker.service");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    assert_eq!(value("Type"), Some("notify"));
    let limit: u64 = value("LimitNOFILE").unwrap().parse().unwrap();
    assert!(100_000 <= limit);
    let mut words = value("ExecStart").unwrap().split(' ');
    assert!(words.next().unwrap().ends_with("/grower-broker"));
    let printed = bare_command().args(words).arg("--print-config").output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let config = String::from_utf8(printed.stdout).unwrap();
    let dir = format!("data_dir = \"/var/lib/{}\"", value("StateDirectory").unwrap());
    assert!(config.lines().any(|line| line == dir), "{config}");
}
