//! Chooses the damage whose loss an operator's ranges accept: a pure decision.

use super::{AcceptedLoss, Damage};
use grower_protocol::ids::Offset;
use std::ops::Range;

/// Why the loss of a range cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Nothing there is damaged.
    #[error("nothing in {}..{} is damaged, and sound records are never given up", range.start, range.end)]
    Sound {
        /// The range asked for.
        range: Range<Offset>,
    },
    /// The damage is wider than the range.
    #[error("offsets {}..{} are damaged as a whole: give up all of them", damaged.start, damaged.end)]
    Partial {
        /// All of the damage.
        damaged: Range<Offset>,
    },
    /// More of the same file is damaged.
    #[error("the same file is damaged at offsets {}..{} too, and is rewritten as a whole: give that up as well", damaged.start, damaged.end)]
    Together {
        /// The other damage.
        damaged: Range<Offset>,
    },
}

/// Chooses the damage that lies within `ranges`. A range may be wider than its damage, never narrower. A range whose
/// damage is an accepted loss already changes nothing.
pub(super) fn choose(
    damaged: &[Damage],
    accepted: &[AcceptedLoss],
    ranges: &[Range<Offset>],
) -> Result<Vec<Damage>, RangeError> {
    for range in ranges {
        let touched: Vec<_> = damaged.iter().filter(|damage| overlap(&damage.offsets, range)).collect();
        if let Some(partial) = touched.iter().find(|damage| !within(&damage.offsets, range)) {
            return Err(RangeError::Partial { damaged: partial.offsets.clone() });
        }
        if touched.is_empty() && !accepted.iter().any(|loss| overlap(&loss.offsets, range)) {
            return Err(RangeError::Sound { range: range.clone() });
        }
    }
    let is_chosen = |damage: &&Damage| ranges.iter().any(|range| within(&damage.offsets, range));
    let chosen: Vec<Damage> = damaged.iter().filter(is_chosen).cloned().collect();
    let in_the_same_file = |damage: &&Damage| chosen.iter().any(|chosen| chosen.path == damage.path);
    match damaged.iter().filter(in_the_same_file).find(|damage| !is_chosen(damage)) {
        Some(other) => Err(RangeError::Together { damaged: other.offsets.clone() }),
        None => Ok(chosen),
    }
}

fn overlap(a: &Range<Offset>, b: &Range<Offset>) -> bool {
    a.start < b.end && b.start < a.end
}

fn within(inner: &Range<Offset>, outer: &Range<Offset>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

#[cfg(test)]
mod tests {
    use super::*;
    use grower_protocol::ids::Timestamp;

    fn range(start: u64, end: u64) -> Range<Offset> {
        Offset::new(start)..Offset::new(end)
    }

    /// Damage at 3..5 and 8..9 of one file, and at 20..30 of another; 40..50 is an accepted loss.
    fn chosen(ranges: &[(u64, u64)]) -> Result<Vec<u64>, String> {
        let damage = |path: &str, start, end| Damage {
            path: path.into(),
            bytes: 0..1,
            offsets: range(start, end),
            reason: String::new(),
        };
        let damaged = [damage("a", 3, 5), damage("a", 8, 9), damage("b", 20, 30)];
        let before = AcceptedLoss {
            offsets: range(40, 50),
            at: Timestamp::default(),
            by: String::new(),
            reason: String::new(),
            kept: String::new(),
            bytes: 0,
            crc: 0,
        };
        let ranges: Vec<_> = ranges.iter().map(|(start, end)| range(*start, *end)).collect();
        let chosen = choose(&damaged, &[before], &ranges).map_err(|error| error.to_string())?;
        Ok(chosen.iter().map(|damage| damage.offsets.start.value()).collect())
    }

    #[test]
    fn exactly_the_damage_within_a_range_becomes_an_accepted_loss() {
        assert_eq!(chosen(&[(20, 30)]), Ok(vec![20]));
        assert_eq!(chosen(&[(3, 5), (8, 9)]), Ok(vec![3, 8]));
        assert_eq!(chosen(&[(0, 100)]), Ok(vec![3, 8, 20]), "a range may be wider than the damage");
        assert_eq!(chosen(&[(40, 50)]), Ok(vec![]), "accepted before");
        assert_eq!(chosen(&[]), Ok(vec![]));
    }

    #[test]
    fn a_range_that_is_sound_too_narrow_or_not_all_of_its_file_is_refused() {
        insta::assert_snapshot!(chosen(&[(5, 8)]).unwrap_err(), @"nothing in 5..8 is damaged, and sound records are never given up");
        insta::assert_snapshot!(chosen(&[(20, 29)]).unwrap_err(), @"offsets 20..30 are damaged as a whole: give up all of them");
        insta::assert_snapshot!(chosen(&[(3, 5)]).unwrap_err(), @"the same file is damaged at offsets 8..9 too, and is rewritten as a whole: give that up as well");
    }
}
