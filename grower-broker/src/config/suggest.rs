//! Telling somebody who mistyped what they probably meant.

/// Edits between what was typed and a name, up to which the name is worth proposing.
const EDITS_MAX: usize = 4;

/// The name that is most like what was typed, if one is.
pub(super) fn nearest(typed: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let (edits, name) = names.map(|name| (edits(typed, name), name)).min()?;
    (edits <= EDITS_MAX).then_some(name)
}

/// What a stranger sent may be long: enough of it to recognise.
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

/// How many letters must be put in, taken out or changed to turn one text into the other.
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
