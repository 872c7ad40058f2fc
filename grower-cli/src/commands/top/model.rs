//! The content of the view, and the effect of keys on it.

use super::columns::{GROUP_COLUMNS, TOPIC_COLUMNS};
use crate::capacity::Rate;
use grower_client::ids::{TopicId, TopicName};
use grower_client::{BrokerDescription, GroupState, Traffic};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::widgets::TableState;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

/// A broker as one poll found it.
#[derive(Clone, Debug)]
pub(crate) struct TopSnapshot {
    /// The time of the poll, since the view was opened.
    pub(crate) at: Duration,
    pub(crate) broker: BrokerDescription,
    pub(crate) topics: Vec<TopicLine>,
    pub(crate) groups: Vec<GroupLine>,
}

/// One topic.
#[derive(Clone, Debug)]
pub(crate) struct TopicLine {
    pub(crate) id: TopicId,
    pub(crate) name: TopicName,
    pub(crate) partitions: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// The rate since the previous poll.
    pub(crate) rate: Rate,
}

/// One group.
#[derive(Clone, Debug)]
pub(crate) struct GroupLine {
    pub(crate) name: String,
    pub(crate) state: GroupState,
    pub(crate) members: u64,
    pub(crate) lag: u64,
    pub(crate) lag_ms: Option<u64>,
}

/// The table that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopView {
    Topics,
    Groups,
}

impl TopView {
    fn column_count(self) -> usize {
        match self {
            Self::Topics => TOPIC_COLUMNS.len(),
            Self::Groups => GROUP_COLUMNS.len(),
        }
    }
}

/// Everything between the broker and the screen.
pub(crate) struct TopModel {
    pub(crate) view: TopView,
    pub(crate) latest: Option<TopSnapshot>,
    /// The rate of all topics since the previous poll.
    pub(crate) rate: Rate,
    /// Why the latest poll failed.
    pub(crate) last_error: Option<String>,
    /// The column to sort by.
    pub(crate) sort: usize,
    pub(crate) descending: bool,
    pub(crate) filter: String,
    /// Whether keys edit the filter.
    pub(crate) filtering: bool,
    pub(crate) rows: TableState,
}

/// The effect of a key on the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyOutcome {
    Continue,
    Quit,
}

impl TopModel {
    pub(crate) fn new() -> Self {
        Self {
            view: TopView::Topics,
            latest: None,
            rate: Rate::default(),
            last_error: None,
            sort: 0,
            descending: false,
            filter: String::new(),
            filtering: false,
            rows: TableState::default().with_selected(0),
        }
    }

    /// Applies the result of a poll.
    pub(crate) fn apply_poll(&mut self, polled: Result<TopSnapshot, String>) {
        let mut snapshot = match polled {
            Ok(snapshot) => snapshot,
            Err(error) => return self.last_error = Some(error),
        };
        self.last_error = None;
        if let Some(before) = &self.latest {
            let over = u64::try_from(snapshot.at.saturating_sub(before.at).as_millis()).unwrap_or(u64::MAX);
            let moved = moved(&before.broker, &snapshot.broker);
            for topic in &mut snapshot.topics {
                topic.rate = moved.get(&topic.id).map(|traffic| Rate::of(traffic, over)).unwrap_or_default();
            }
            self.rate = Rate::of(&moved.values().fold(Traffic::default(), sum), over);
        }
        self.latest = Some(snapshot);
    }

    /// The topics that pass the filter, sorted.
    pub(crate) fn topics(&self) -> Vec<&TopicLine> {
        let all = self.latest.iter().flat_map(|snapshot| &snapshot.topics);
        let mut topics: Vec<_> = all.filter(|topic| topic.name.as_str().contains(&self.filter)).collect();
        let number = TOPIC_COLUMNS[self.sort].number;
        topics.sort_by(|a, b| self.order(number(a).cmp(&number(b)).then_with(|| a.name.cmp(&b.name))));
        topics
    }

    /// The groups that pass the filter, sorted.
    pub(crate) fn groups(&self) -> Vec<&GroupLine> {
        let all = self.latest.iter().flat_map(|snapshot| &snapshot.groups);
        let mut groups: Vec<_> = all.filter(|group| group.name.contains(&self.filter)).collect();
        let number = GROUP_COLUMNS[self.sort].number;
        groups.sort_by(|a, b| self.order(number(a).cmp(&number(b)).then_with(|| a.name.cmp(&b.name))));
        groups
    }

    fn order(&self, order: Ordering) -> Ordering {
        if self.descending { order.reverse() } else { order }
    }

    /// Applies a key.
    pub(crate) fn key(&mut self, key: KeyEvent) -> KeyOutcome {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { KeyOutcome::Quit } else { KeyOutcome::Continue };
        }
        if self.filtering {
            self.filter_key(key.code);
            return KeyOutcome::Continue;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return KeyOutcome::Quit,
            KeyCode::Tab => self.switch(),
            KeyCode::Char('s') => self.sort_by(self.sort + 1),
            KeyCode::Char('S') => self.sort_by(self.sort + self.view.column_count() - 1),
            KeyCode::Char('r') => self.descending = !self.descending,
            KeyCode::Char('/') => self.filtering = true,
            KeyCode::Down | KeyCode::Char('j') => self.rows.select_next(),
            KeyCode::Up | KeyCode::Char('k') => self.rows.select_previous(),
            KeyCode::Home => self.rows.select_first(),
            KeyCode::End => self.rows.select_last(),
            _ => {}
        }
        KeyOutcome::Continue
    }

    fn filter_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(letter) => self.filter.push(letter),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Enter => self.filtering = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.filtering = false;
            }
            _ => {}
        }
        self.rows.select_first();
    }

    fn switch(&mut self) {
        self.view = if self.view == TopView::Topics { TopView::Groups } else { TopView::Topics };
        self.sort_by(0);
        self.rows.select_first();
    }

    /// Sorts names ascending and numbers descending.
    fn sort_by(&mut self, column: usize) {
        self.sort = column % self.view.column_count();
        self.descending = self.sort != 0;
    }
}

/// The traffic of each topic between two polls. Counters fall when the broker restarts; the difference then counts as
/// 0.
fn moved(before: &BrokerDescription, now: &BrokerDescription) -> BTreeMap<TopicId, Traffic> {
    let earlier: BTreeMap<_, _> = before.topics.iter().map(|topic| (topic.topic, topic.total)).collect();
    let moved = |total: Traffic, before: Traffic| Traffic {
        records_in: total.records_in.saturating_sub(before.records_in),
        bytes_in: total.bytes_in.saturating_sub(before.bytes_in),
        records_out: total.records_out.saturating_sub(before.records_out),
        bytes_out: total.bytes_out.saturating_sub(before.bytes_out),
    };
    let topics = now.topics.iter();
    topics
        .map(|topic| (topic.topic, moved(topic.total, earlier.get(&topic.topic).copied().unwrap_or_default())))
        .collect()
}

fn sum(a: Traffic, b: &Traffic) -> Traffic {
    Traffic {
        records_in: a.records_in + b.records_in,
        bytes_in: a.bytes_in + b.bytes_in,
        records_out: a.records_out + b.records_out,
        bytes_out: a.bytes_out + b.bytes_out,
    }
}
