//! Tables for people: aligned columns, no lines, no escape sequences.

use super::escaped;
use std::io::{self, Write};

/// A table of `N` columns under construction.
pub(crate) struct TextTable<const N: usize> {
    table: comfy_table::Table,
    /// For each row, the placeholders of long cells, with their text.
    long: Vec<Vec<(String, String)>>,
}

/// A cell with more characters does not widen its column: it shifts the rest of its own row only.
const CELL_MAX: usize = 40;

/// The first private-use character; text for people has none.
const STAND_IN: u32 = 0xe000;

impl<const N: usize> TextTable<N> {
    /// Creates a table with these headings.
    pub(crate) fn new(headings: [&str; N]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_header(headings);
        Self { table, long: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        let mut long = Vec::new();
        let mut letters = (STAND_IN..).filter_map(char::from_u32);
        let cells = cells.map(|cell| {
            let cell = escaped(&cell).into_owned();
            if cell.chars().count() <= CELL_MAX {
                return cell;
            }
            let stand_in: String = std::iter::repeat_n(letters.next().unwrap_or('?'), CELL_MAX).collect();
            long.push((stand_in.clone(), cell));
            stand_in
        });
        self.table.add_row(cells);
        self.long.push(long);
    }

    /// Prints the table.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let lines: Vec<String> = self.table.lines().collect();
        let headings = lines.len().saturating_sub(self.long.len()); // A row has one line, because newlines are escaped.
        for (at, line) in lines.into_iter().enumerate() {
            let long = at.checked_sub(headings).and_then(|row| self.long.get(row)).into_iter().flatten();
            let line = long.fold(line, |line, (stand_in, cell)| line.replacen(stand_in, cell, 1));
            writeln!(out, "{}", line.trim())?;
        }
        Ok(())
    }
}

/// Formats a number of bytes: `1.5 KiB`.
pub(crate) fn bytes_for_people(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// Formats a number: `1,234,567`.
pub(crate) fn in_groups(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at != 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a number in at most nine characters: `12.3 M`.
pub(crate) fn in_short(number: u64) -> String {
    const MILLION: u64 = 1_000_000;
    match number {
        0..10_000_000 => in_groups(number),
        10_000_000..10_000_000_000 => format!("{:.1} M", number as f64 / MILLION as f64),
        _ => format!("{:.1} G", number as f64 / (1_000 * MILLION) as f64),
    }
}

/// `1 record`, else `7 records`.
pub(crate) fn counted(number: impl TryInto<u64>, one: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {}", noun(number, one))
}

/// `record` after 1, else `records`.
pub(crate) fn noun(number: u64, one: &str) -> String {
    format!("{one}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_shifts_its_own_row_and_no_other() {
        let mut table = TextTable::new(["TOPIC", "PARTITIONS", "CONFIG"]);
        table.row(["short".to_owned(), "1".to_owned(), String::new()]);
        table.row(["n".repeat(100), "2".to_owned(), "c".repeat(100)]);
        table.row(["other".to_owned(), "3".to_owned(), "flush=os".to_owned()]);
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].len() < 80 && lines[3].len() < 80, "{out}");
        assert_eq!(lines[0].find("PARTITIONS"), lines[3].find('3'), "{out}");
        assert!(lines[2].starts_with(&"n".repeat(100)) && lines[2].ends_with(&"c".repeat(100)), "{out}");
    }

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(
            [9_999_999, 12_340_000, 9_999_900_000, 12_340_000_000].map(in_short),
            ["9,999,999", "12.3 M", "9999.9 M", "12.3 G"]
        );
        assert_eq!([0, 7, 999, 1_000, 1_234_567].map(in_groups), ["0", "7", "999", "1,000", "1,234,567"]);
    }
}
