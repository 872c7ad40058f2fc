//! Snapshots of screens, without a terminal and without a broker.

use super::model::*;
use super::render::render;
use crate::capacity::Rate;
use grower_client::ids::{NodeId, Timestamp, TopicId, TopicName};
use grower_client::{BrokerDescription, DiskDescription, FsyncDescription, GroupState, TopicTraffic, Traffic, UsedUp};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::time::Duration;

fn id(number: u8) -> TopicId {
    TopicId::from_bytes([number; 16])
}

fn broker(total: u64) -> BrokerDescription {
    let traffic = |number: u8| {
        let count = total * u64::from(number);
        let total =
            Traffic { records_in: count, bytes_in: count * 1_024, records_out: count / 2, bytes_out: count * 512 };
        TopicTraffic { topic: id(number), total, recent: Traffic::default(), recent_ms: 0 }
    };
    BrokerDescription {
        node: NodeId::new(1),
        version: "1".to_owned(),
        now: Timestamp::from_millis(0),
        uptime_ms: 200_000,
        connections: 3,
        memory_used: 5 << 20,
        memory_budget: 1 << 30,
        fsync: FsyncDescription { count: 9, p50_micros: 310, p99_micros: 1_250 },
        disk: Some(DiskDescription {
            total: 100 << 30,
            free: 26 << 30,
            reserve: 2 << 30,
            used_up: Some(UsedUp { bytes: 1 << 30, over_ms: 3_600_000 }),
        }),
        topics: vec![traffic(1), traffic(2)],
    }
}

fn snapshot(seconds: u64, total: u64) -> TopSnapshot {
    let topic = |number: u8, name: &str, records: u64| TopicLine {
        id: id(number),
        name: TopicName::new(name).unwrap(),
        partitions: number.into(),
        records,
        bytes: records * 100,
        rate: Rate::default(),
    };
    let group = |name: &str, lag: u64| GroupLine {
        name: name.to_owned(),
        state: GroupState::Stable,
        members: 2,
        lag,
        lag_ms: Some(lag * 10),
    };
    TopSnapshot {
        at: Duration::from_secs(seconds),
        broker: broker(total),
        topics: vec![topic(1, "audit", 1_200_000), topic(2, "events", 7)],
        groups: vec![group("billing", 1_200), group("odd\u{1b}[31m", 0)],
    }
}

/// A model that has seen two polls, a second apart.
fn model() -> TopModel {
    let mut model = TopModel::new();
    model.apply_poll(Ok(snapshot(1, 1_000)));
    model.apply_poll(Ok(snapshot(2, 3_000)));
    model
}

fn press(model: &mut TopModel, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\t' => KeyCode::Tab,
            '\n' => KeyCode::Enter,
            letter => KeyCode::Char(letter),
        };
        assert_eq!(model.key(KeyEvent::new(code, KeyModifiers::NONE)), KeyOutcome::Continue);
    }
}

fn screen(model: &mut TopModel, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| render(model, frame, true)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn a_small_screen_shows_the_broker_and_its_topics() {
    insta::assert_snapshot!(screen(&mut model(), 80, 12));
}

#[test]
fn a_wide_screen_shows_every_column() {
    insta::assert_snapshot!(screen(&mut model(), 140, 10));
}

#[test]
fn a_column_that_does_not_fit_is_left_out_completely() {
    let screen = screen(&mut model(), 60, 9);
    assert!(screen.contains("1,200,000") && screen.contains("2,000") && !screen.contains("OUT"), "{screen}");
}

#[test]
fn tab_shows_groups_and_their_names_are_escaped() {
    let mut model = model();
    press(&mut model, "\tsss");
    insta::assert_snapshot!(screen(&mut model, 80, 10));
}

#[test]
fn a_filter_keeps_the_names_that_contain_it() {
    let mut model = model();
    press(&mut model, "/vent");
    insta::assert_snapshot!(screen(&mut model, 80, 9));
    press(&mut model, "\n");
    assert_eq!(model.topics().len(), 1);
    press(&mut model, "/");
    model.key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
    assert_eq!(model.topics().len(), 2, "esc drops it, and does not quit");
}

#[test]
fn keys_sort_by_each_column_and_reverse_the_order() {
    let mut model = model();
    let names = |model: &TopModel| model.topics().iter().map(|topic| topic.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&model), ["audit", "events"]);
    press(&mut model, "ss");
    assert_eq!(names(&model), ["audit", "events"], "most records first");
    press(&mut model, "ss");
    assert_eq!(names(&model), ["events", "audit"], "most records a second first");
    press(&mut model, "r");
    assert_eq!(names(&model), ["audit", "events"]);
    press(&mut model, "SSSSS");
    assert_eq!(model.sort, 7);
}

#[test]
fn a_failed_poll_is_shown_with_the_last_figures() {
    let mut model = model();
    model.apply_poll(Err("connection refused".to_owned()));
    assert!(screen(&mut model, 40, 9).lines().next().unwrap().contains("connection refused"));
    model.apply_poll(Ok(snapshot(3, 4_000)));
    assert!(!screen(&mut model, 120, 9).contains("connection refused"));
}

#[test]
fn every_screen_size_is_drawn_even_without_data() {
    for (width, height) in [(1, 1), (10, 3), (300, 100)] {
        screen(&mut model(), width, height);
        screen(&mut TopModel::new(), width, height);
    }
}

#[test]
fn q_and_ctrl_c_quit_also_while_a_filter_is_typed() {
    let mut model = model();
    assert_eq!(model.key(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE)), KeyOutcome::Quit);
    press(&mut model, "/q");
    assert_eq!(model.filter, "q");
    assert_eq!(model.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), KeyOutcome::Quit);
}
