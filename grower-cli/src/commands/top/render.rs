//! Draws the model on a screen of any size.

use super::model::{GroupLine, TopModel, TopSnapshot, TopView, TopicLine};
use crate::capacity::{Capacity, percentiles};
use crate::groups::state_name;
use crate::output::{bytes_for_people, escaped, in_groups, in_short, millis_for_people, noun, span_for_people};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table};
use std::time::Duration;

/// Lines above the table.
const HEAD: u16 = 5;

/// Draws the model. Without `colour` only bold and reversed text stand out.
pub(crate) fn render(model: &mut TopModel, frame: &mut Frame<'_>, colour: bool) {
    let rows = [Constraint::Length(HEAD), Constraint::Fill(1), Constraint::Length(1)];
    let [head, table, foot] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Paragraph::new(head_lines(model, colour)), head);
    render_table(model, frame, table, colour);
    frame.render_widget(Paragraph::new(foot_line(model)), foot);
}

fn head_lines(model: &TopModel, colour: bool) -> Vec<Line<'static>> {
    let Some(TopSnapshot { broker, .. }) = &model.latest else {
        let trouble = model.trouble.as_deref().unwrap_or("asking the broker ..");
        return vec![Line::from(escaped(trouble).into_owned())];
    };
    let uptime = span_for_people(Duration::from_millis(broker.uptime_ms));
    let fsync = if broker.fsync.count == 0 { "none yet".to_owned() } else { percentiles(&broker.fsync) };
    let (used, budget) = (bytes_for_people(broker.memory_used), bytes_for_people(broker.memory_budget));
    let disk = broker.disk.as_ref().map_or_else(|| "unknown".to_owned(), |disk| Capacity::of(disk).in_words());
    let full = broker.disk.as_ref().is_some_and(|disk| Capacity::of(disk).is_full());
    let bold = Style::new().bold();
    let alarm = if colour { Style::new().fg(Color::Red).bold() } else { bold };
    let disk_style = if full { alarm } else { Style::new() };
    let mut title = vec![Span::styled(format!("broker {}", broker.node), bold)];
    if let Some(trouble) = &model.trouble {
        title.push(Span::styled(format!("  {}", escaped(trouble)), alarm)); // First, so that it fits on every screen.
    }
    let connections = format!("{} {}", broker.connections, noun(broker.connections, "connection"));
    title.push(Span::raw(format!("  up {uptime}  {connections}  memory {used} of {budget}")));
    vec![
        Line::from(title),
        Line::from(format!("in    {}", model.rate.incoming())),
        Line::from(format!("out   {}", model.rate.outgoing())),
        Line::from(format!("fsync {fsync}")),
        Line::from(vec![Span::raw("disk  "), Span::styled(disk, disk_style)]),
    ]
}

fn render_table(model: &mut TopModel, frame: &mut Frame<'_>, area: Rect, colour: bool) {
    let widths: &[u16] = match model.view {
        TopView::Topics => &[10, 6, 9, 10, 9, 10, 9, 10],
        TopView::Groups => &[16, 12, 8, 14, 12],
    };
    let shown = fitting(widths, area.width);
    let rows: Vec<Row<'static>> = match model.view {
        TopView::Topics => model.topics().into_iter().map(|topic| topic_row(topic, shown)).collect(),
        TopView::Groups => model.groups().into_iter().map(|group| group_row(group, shown, colour)).collect(),
    };
    let widths = widths.iter().take(shown).enumerate().map(|(at, width)| match at {
        0 => Constraint::Min(*width),
        _ => Constraint::Length(*width),
    });
    let mark = |at: usize, name: &str| match (at == model.sort, model.descending) {
        (false, _) => name.to_owned(),
        (true, false) => format!("{name}+"),
        (true, true) => format!("{name}-"),
    };
    let heads = model.view.columns().iter().take(shown).enumerate();
    let heads = heads.map(|(at, name)| if at == 0 { left(mark(at, name)) } else { right(mark(at, name)) });
    let table = Table::new(rows, widths)
        .header(Row::new(heads).style(Style::new().bold()))
        .row_highlight_style(Style::new().reversed());
    frame.render_stateful_widget(table, area, &mut model.rows);
}

/// The number of columns that fit. A cut-off number would be another number, so the last columns are dropped instead.
fn fitting(widths: &[u16], room: u16) -> usize {
    let ends = widths.iter().scan(0, |end, width| {
        *end += width + 1; // One space between columns.
        Some(*end - 1)
    });
    ends.take_while(|end| *end <= room).count().max(1)
}

fn topic_row(topic: &TopicLine, columns: usize) -> Row<'static> {
    let cells = [
        left(topic.name.to_string()),
        right(in_short(topic.partitions)),
        right(in_short(topic.records)),
        right(bytes_for_people(topic.bytes)),
        right(in_short(topic.rate.records_in)),
        right(bytes_for_people(topic.rate.bytes_in)),
        right(in_short(topic.rate.records_out)),
        right(bytes_for_people(topic.rate.bytes_out)),
    ];
    Row::new(cells.into_iter().take(columns))
}

/// A larger lag is highlighted.
const LAG_TO_SEE_MS: u64 = 10_000;

fn group_row(group: &GroupLine, columns: usize, colour: bool) -> Row<'static> {
    let behind = group.lag_ms.map(millis_for_people).unwrap_or_default();
    let cells = [
        left(escaped(&group.name).into_owned()),
        right(state_name(group.state).to_owned()),
        right(in_groups(group.members)),
        right(in_groups(group.lag)),
        right(behind),
    ];
    let row = Row::new(cells.into_iter().take(columns));
    let late = group.lag_ms.is_none_or(|millis| LAG_TO_SEE_MS < millis);
    if colour && late { row.style(Style::new().fg(Color::Yellow)) } else { row }
}

fn left(text: String) -> Cell<'static> {
    Cell::from(text)
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Text::from(text).alignment(Alignment::Right))
}

fn foot_line(model: &TopModel) -> Line<'static> {
    if model.filtering {
        return Line::from(format!("filter: {}_   enter applies it, esc clears it", escaped(&model.filter)));
    }
    let filter = match model.filter.as_str() {
        "" => String::new(),
        filter => format!("  (filter: {})", escaped(filter)),
    };
    Line::from(format!("q quit  tab topics/groups  s/S sort  r reverse  / filter  up/down move{filter}"))
}
