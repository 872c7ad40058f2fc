//! Tables for people: aligned columns, no lines, nothing that a terminal could take for a command.

use super::escaped;
use std::io::{self, Write};

/// A table under construction.
pub(crate) struct Table(comfy_table::Table);

impl Table {
    /// With these headings.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_header(headings);
        Self(table)
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.add_row(cells.map(|cell| escaped(&cell).into_owned()));
    }

    /// Prints it.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        self.0.lines().try_for_each(|line| writeln!(out, "{}", line.trim()))
    }
}

/// A number of bytes as people read it: `1.5 KiB`.
pub(crate) fn bytes_for_people(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// A number as people read it: `1,234,567`.
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

/// The same in nine letters at most: `12.3 M`.
pub(crate) fn in_short(number: u64) -> String {
    const MILLION: u64 = 1_000_000;
    match number {
        0..10_000_000 => in_groups(number),
        10_000_000..10_000_000_000 => format!("{:.1} M", number as f64 / MILLION as f64),
        _ => format!("{:.1} G", number as f64 / (1_000 * MILLION) as f64),
    }
}

/// `record` after 1, else `records`.
pub(crate) fn noun(number: u64, one: &str) -> String {
    format!("{one}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(
            [9_999_999, 12_340_000, 9_999_900_000, 12_340_000_000].map(in_short),
            ["9,999,999", "12.3 M", "9999.9 M", "12.3 G"]
        );
        assert_eq!([0, 7, 999, 1_000, 1_234_567].map(in_groups), ["0", "7", "999", "1,000", "1,234,567"]);
    }
}
