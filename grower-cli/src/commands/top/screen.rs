//! The terminal while the view owns it. A key, a signal, an error and a panic all restore it.

use crate::output::StdoutWriter;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, is_raw_mode_enabled,
};
use ratatui::{Frame, Terminal};
use std::io;
use std::panic;

/// A terminal that shows nothing but the view.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<StdoutWriter>>,
    _after: OnDrop<fn()>,
}

impl Screen {
    /// Takes the terminal. A panic anywhere in the process restores it before the message is printed.
    pub(crate) fn open() -> io::Result<Self> {
        let after = OnDrop(give_back as fn()); // First: opening may fail halfway.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            hook(info);
        }));
        enable_raw_mode()?;
        let mut out = StdoutWriter::open();
        execute!(out, EnterAlternateScreen)?;
        Ok(Self { terminal: Terminal::new(CrosstermBackend::new(out))?, _after: after })
    }

    pub(crate) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(render).map(drop)
    }
}

/// Restores the terminal, once: a second restore would move the cursor into the message of a panic.
fn give_back() {
    if is_raw_mode_enabled().unwrap_or(true) {
        let _ = disable_raw_mode(); // A terminal that is gone cannot be restored.
        let _ = execute!(StdoutWriter::open(), LeaveAlternateScreen);
    }
}

/// Calls a function when it is dropped.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn the_terminal_is_restored_after_a_panic() {
        let done = Cell::new(0);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let _after = OnDrop(|| done.set(done.get() + 1));
            panic!("in the middle of drawing");
        }));
        assert_eq!((ended.is_err(), done.get()), (true, 1));
    }
}
