//! Asks for confirmation before data is lost.

use super::{Stderr, Stdin};
use std::io::{self, BufRead, BufReader, IsTerminal, Write};

/// Asks on the terminal. Without a terminal the answer is yes: scripts are not asked.
pub(crate) fn confirmed(question: &str) -> io::Result<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(true);
    }
    write!(Stderr, "{question} [y/N] ")?;
    let mut answer = String::new();
    BufReader::new(Stdin).read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        assert!(["y\n", "Y", " yes \n", "YES\n"].into_iter().all(is_yes));
        assert!(!["", "\n", "n\n", "yep\n", "да\n"].into_iter().any(is_yes));
    }
}
