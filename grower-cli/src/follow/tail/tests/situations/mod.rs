//! The table of the module documentation, row by row, each with a running follower and with one that was killed before.

mod copied;
mod renamed;
mod replaced;
mod rewritten;

use super::log_folder::{LogFolder, followed, one};

/// A change to a file that was read, and the lines and warnings that follow.
struct Situation {
    name: &'static str,
    before: fn(&LogFolder),
    happens: fn(&LogFolder),
    sent: &'static str,
    /// Words of each warning, in their order.
    warned: &'static [&'static str],
    /// The outcome if no follower ran meanwhile, where it differs.
    after_crash: Option<(&'static str, &'static [&'static str])>,
}

/// The default of each row: one line was read, nothing happens, and there is no warning.
const SILENT: Situation =
    Situation { name: "", before: one, happens: |_| {}, sent: "", warned: &[], after_crash: None };

/// All situations.
fn situations() -> impl Iterator<Item = &'static Situation> {
    [renamed::SITUATIONS, copied::SITUATIONS, rewritten::SITUATIONS, replaced::SITUATIONS].into_iter().flatten()
}

#[test]
fn every_situation_of_the_table_is_handled_by_a_running_follower() {
    let handled = |situation: &Situation| {
        let (mut log_folder, mut tail) = followed(situation.before);
        (situation.happens)(&log_folder);
        difference(situation.name, log_folder.read(&mut tail), (situation.sent, situation.warned))
    };
    let differences: Vec<String> = situations().filter_map(handled).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_situation_of_the_table_is_handled_after_a_crash() {
    let handled = |situation: &Situation| {
        let (mut log_folder, tail) = followed(situation.before);
        log_folder.save(&tail);
        drop(tail);
        (situation.happens)(&log_folder);
        let mut tail = log_folder.resume();
        let expected = situation.after_crash.unwrap_or((situation.sent, situation.warned));
        let found = difference(situation.name, log_folder.read(&mut tail), expected);
        found.or_else(|| difference(situation.name, log_folder.read(&mut tail), ("", &[])))
    };
    let differences: Vec<String> = situations().filter_map(handled).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn difference(name: &str, found: (String, Vec<String>), expected: (&str, &[&str])) -> Option<String> {
    let are_expected = found.1.iter().zip(expected.1).all(|(warning, words)| warning.contains(words));
    let is_as_expected = found.0 == expected.0 && are_expected && found.1.len() == expected.1.len();
    (!is_as_expected).then(|| format!("{name}: {found:#?} in place of {expected:#?}"))
}
