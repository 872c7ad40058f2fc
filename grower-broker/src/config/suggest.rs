//! Suggestions for mistyped names.

/// The most edits between a typed text and a suggested name.
const EDITS_MAX: usize = 4;

/// The name that is most similar to the typed text, if any is.
pub(super) fn nearest(typed: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let (edits, name) = names.map(|name| (edits(typed, name), name)).min()?;
    (edits <= EDITS_MAX).then_some(name)
}

/// Shortens a text of any length to a recognisable part.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 64;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

/// Shows ` (did you mean x?)`, or nothing.
pub(super) struct Hint<'a>(pub(super) &'a Option<&'static str>);

impl std::fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |nearest| write!(f, " (did you mean {nearest}?)"))
    }
}

/// The edit distance: letters to insert, delete or change.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in to.chars().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
