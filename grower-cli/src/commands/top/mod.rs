//! `top`: a live view of a broker. Its content is a model without a terminal, drawn by a function without a broker.

mod columns;
mod model;
mod poll;
mod render;
mod screen;
#[cfg(test)]
mod tests;

use crate::output::{has_colour, span_for_people};
use crate::session::Session;
use anyhow::{Context, ensure};
use clap::Args;
use grower_client::Admin;
use model::{KeyOutcome, TopModel, TopSnapshot};
use poll::poll;
use ratatui::crossterm::event::{self, Event};
use render::render;
use screen::Screen;
use std::io::IsTerminal;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Watch a broker: topics with their rates, groups with their lag, syncs, memory, disk
///
/// A live view, refreshed every second. Rates cover the time since the last refresh.
#[derive(Debug, Args)]
#[command(after_help = "RECS IN and RECS OUT are records a second, IN/S and OUT/S bytes a second.

Keys: q or ctrl-c quits, tab switches between topics and groups, s and S sort by the next or the previous column, r reverses \
the order, / filters by name, up and down move. Set NO_COLOR for a view without colours.

There is no JSON: see topic list, group describe and broker describe.")]
pub struct TopCommand {}

/// Interval between polls of the broker.
const POLL_EACH: Duration = Duration::from_secs(1);
/// Delay after which a missing answer is shown.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the thread that reads keys checks whether the view has ended.
const KEYS_EACH: Duration = Duration::from_millis(100);

impl TopCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        ensure!(
            std::io::stdout().is_terminal() && std::io::stdin().is_terminal(),
            "top needs a terminal; in a pipe use topic list, group describe or broker describe"
        );
        // Before the terminal is taken: a signal that ended the process then would leave it changed.
        let signals =
            [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
        let colour = has_colour(&std::io::stdout());
        let screen = Screen::open()?;
        let (events, snapshots) = (keys(), snapshots(session.client.admin()));
        show(screen, events, snapshots, signals, colour).await
    }
}

async fn show(
    mut screen: Screen,
    mut events: mpsc::UnboundedReceiver<Event>,
    mut snapshots: mpsc::Receiver<Result<TopSnapshot, String>>,
    [mut interrupt, mut terminate, mut hangup]: [Signal; 3],
    colour: bool,
) -> anyhow::Result<()> {
    let mut model = TopModel::new();
    loop {
        screen.draw(|frame| render(&mut model, frame, colour))?;
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Key(key)) if key.is_press() && model.key(key) == KeyOutcome::Quit => return Ok(()),
                Some(_) => {} // A new size is drawn for.
                None => return Ok(()),
            },
            polled = snapshots.recv() => model.apply_poll(polled.context("the task that polls the broker has ended")?),
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
        }
    }
}

/// Reads keys on a thread, because a read blocks. The thread ends with the view, or with the terminal.
fn keys() -> mpsc::UnboundedReceiver<Event> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while !sender.is_closed() {
            match event::poll(KEYS_EACH) {
                Ok(false) => {}
                Ok(true) if event::read().is_ok_and(|event| sender.send(event).is_ok()) => {}
                Ok(true) | Err(_) => return,
            }
        }
    });
    receiver
}

/// Polls the broker in a task, so that a silent broker never delays a key.
fn snapshots(admin: Admin) -> mpsc::Receiver<Result<TopSnapshot, String>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let began = Instant::now();
        loop {
            let asked = Instant::now();
            let mut polled = pin!(poll(&admin, began.elapsed()));
            // The request to a lost broker retries until its timeout. Meanwhile the view shows old figures, and says
            // so.
            let polled = loop {
                match timeout(ANSWER_TIMEOUT, &mut polled).await {
                    Ok(polled) => break polled.map_err(|error| error.to_string()),
                    Err(_) => {
                        let silent = format!("no answer for {}", span_for_people(asked.elapsed()));
                        if sender.send(Err(silent)).await.is_err() {
                            return;
                        }
                    }
                }
            };
            if sender.send(polled).await.is_err() {
                return;
            }
            sleep(POLL_EACH).await;
        }
    });
    receiver
}
