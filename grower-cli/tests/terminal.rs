//! Commands on a terminal: `top` always restores it, and deletions ask for confirmation.

mod kit;

use kit::{Served, until};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Child;
use std::sync::{Arc, Mutex};

/// A pseudo-terminal whose output is recorded.
struct Terminal {
    keyboard: File,
    line: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn open() -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
        let flags = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
        let line = File::options().read(true).write(true).custom_flags(flags).open(name).unwrap();
        tcsetwinsize(&line, Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let (mut keyboard, shown) = (File::from(keyboard), Arc::new(Mutex::new(Vec::new())));
        let (mut eye, seen) = (keyboard.try_clone().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(read @ 1..) = eye.read(&mut some) {
                seen.lock().unwrap().extend_from_slice(&some[..read]);
            }
        });
        keyboard.flush().unwrap();
        Self { keyboard, line, shown }
    }

    fn run(&self, broker: &Served, command: &str) -> Child {
        let end = || self.line.try_clone().unwrap();
        broker.cli(command).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
    }

    fn shows(&self, text: &str) -> bool {
        self.shown.lock().unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Whether the terminal is in raw mode.
    fn is_raw(&self) -> bool {
        !tcgetattr(&self.line).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }
}

const ANOTHER_SCREEN: &str = "\x1b[?1049h";
const FORMER_SCREEN: &str = "\x1b[?1049l";
const CURSOR: &str = "\x1b[?25h";

fn check(end: impl Fn(&mut Terminal, &Child)) {
    let broker = Served::start();
    broker.ok("topic create rainbow", b"");
    let mut terminal = Terminal::open();
    assert!(!terminal.is_raw());
    let mut top = terminal.run(&broker, "top");
    until("the view", || terminal.shows(ANOTHER_SCREEN) && terminal.shows("rainbow"));
    assert!(terminal.is_raw());
    end(&mut terminal, &top);
    assert!(top.wait().unwrap().success());
    assert!(!terminal.is_raw());
    until("the screen as it was", || terminal.shows(FORMER_SCREEN) && terminal.shows(CURSOR));
}

fn kill(top: &Child, signal: Signal) {
    kill_process(Pid::from_child(top), signal).unwrap();
}

#[test]
fn a_key_restores_the_terminal() {
    check(|terminal, _| terminal.keyboard.write_all(b"q").unwrap());
    check(|terminal, _| terminal.keyboard.write_all(b"\x03").unwrap());
}

#[test]
fn a_signal_restores_the_terminal() {
    check(|_, top| kill(top, Signal::TERM));
    check(|_, top| kill(top, Signal::INT));
    check(|_, top| kill(top, Signal::HUP));
}

#[test]
fn a_lost_broker_is_shown_with_the_old_figures() {
    let mut broker = Served::start();
    broker.ok("topic create rainbow", b"");
    let mut terminal = Terminal::open();
    let mut top = terminal.run(&broker, "top");
    until("the view", || terminal.shows("rainbow"));
    broker.stop();
    until("a word about it", || terminal.shows("no answer for"));
    terminal.keyboard.write_all(b"q").unwrap();
    assert!(top.wait().unwrap().success());
}

#[test]
fn a_topic_is_deleted_on_a_terminal_only_after_a_yes() {
    let broker = Served::start();
    broker.ok("topic create rainbow", b"");
    let answered = |command: &str, answer: &[u8]| {
        let mut terminal = Terminal::open();
        let mut asking = terminal.run(&broker, command);
        until("the question", || answer.is_empty() || terminal.shows("[y/N]"));
        terminal.keyboard.write_all(answer).unwrap();
        let deleted = asking.wait().unwrap().success();
        assert_eq!(!broker.ok("topic list --output json", b"").starts_with(b"[]"), !deleted);
        deleted
    };
    assert!(!answered("topic delete rainbow", b"\n"));
    assert!(!answered("topic delete rainbow", b"no\n"));
    assert!(answered("topic delete rainbow", b"y\n"));
    broker.ok("topic create rainbow", b"");
    assert!(answered("topic delete rainbow --yes", b""));
}
