//! Draws the model on a screen of any size.

use super::columns::{GROUP_COLUMNS, TOPIC_COLUMNS, TopColumn};
use super::model::{GroupLine, TopModel, TopSnapshot, TopView};
use crate::capacity::{Capacity, percentiles};
use crate::output::{bytes_for_people, escaped, noun, span_for_people};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table};
use std::time::Duration;

/// Lines above the table.
const HEAD: u16 = 5;

/// A larger lag is highlighted.
const LAG_TO_SEE_MS: u64 = 10_000;

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
        let last_error = model.last_error.as_deref().unwrap_or("asking the broker ..");
        return vec![Line::from(escaped(last_error).into_owned())];
    };
    let uptime = span_for_people(Duration::from_millis(broker.uptime_ms));
    let fsync = if broker.fsync.count == 0 { "none yet".to_owned() } else { percentiles(&broker.fsync) };
    let (used, budget) = (bytes_for_people(broker.memory_used), bytes_for_people(broker.memory_budget));
    let disk = broker.disk.as_ref().map_or_else(|| "unknown".to_owned(), |disk| Capacity::of(disk).describe());
    let full = broker.disk.as_ref().is_some_and(|disk| Capacity::of(disk).is_full());
    let bold = Style::new().bold();
    let alert = if colour { Style::new().fg(Color::Red).bold() } else { bold };
    let disk_style = if full { alert } else { Style::new() };
    let mut title = vec![Span::styled(format!("broker {}", broker.node), bold)];
    if let Some(last_error) = &model.last_error {
        title.push(Span::styled(format!("  {}", escaped(last_error)), alert)); // First, so that it fits on every screen.
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
    let is_late = |group: &GroupLine| group.lag_ms.is_none_or(|millis| LAG_TO_SEE_MS < millis);
    let late = if colour { Style::new().fg(Color::Yellow) } else { Style::new() };
    let group_style = |group: &GroupLine| if is_late(group) { late } else { Style::new() };
    let table = match model.view {
        TopView::Topics => table(model, TOPIC_COLUMNS, &model.topics(), area.width, |_| Style::new()),
        TopView::Groups => table(model, GROUP_COLUMNS, &model.groups(), area.width, group_style),
    };
    frame.render_stateful_widget(table, area, &mut model.rows);
}

fn table<L>(
    model: &TopModel,
    columns: &[TopColumn<L>],
    lines: &[&L],
    width: u16,
    style: impl Fn(&L) -> Style,
) -> Table<'static> {
    let columns = &columns[..fitting(columns, width)];
    let cells = |line: &L| aligned(columns.iter().map(|column| (column.text)(line)));
    let rows = lines.iter().map(|line| cells(line).style(style(line)));
    let widths = columns.iter().enumerate().map(|(at, column)| match at {
        0 => Constraint::Min(column.width),
        _ => Constraint::Length(column.width),
    });
    let heading = |(at, column): (usize, &TopColumn<L>)| match (at == model.sort, model.descending) {
        (false, _) => column.heading.to_owned(),
        (true, false) => format!("{}+", column.heading),
        (true, true) => format!("{}-", column.heading),
    };
    let headings = aligned(columns.iter().enumerate().map(heading));
    Table::new(rows, widths).header(headings.style(Style::new().bold())).row_highlight_style(Style::new().reversed())
}

/// A row of cells. The first one is a name, the others are numbers.
fn aligned(texts: impl Iterator<Item = String>) -> Row<'static> {
    Row::new(texts.enumerate().map(|(at, text)| if at == 0 { left(text) } else { right(text) }))
}

/// The number of columns that fit. A cut-off number would be another number, so the last columns are dropped instead.
fn fitting<L>(columns: &[TopColumn<L>], width: u16) -> usize {
    let ends = columns.iter().scan(0, |end, column| {
        *end += column.width + 1; // One space between columns.
        Some(*end - 1)
    });
    ends.take_while(|end| *end <= width).count().max(1)
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
