//! The pages of the repository are true and plain: files they name exist, and their words are the field's.

use crate::workspace::root;
use std::path::{Path, PathBuf};

/// The README promises to be short.
const README_WORDS_MAX: usize = 900;
/// Words that plain sentences do without.
const AVOIDED_WORDS: [&str; 9] =
    ["somebody", "nobody", "everybody", "anew", "shall", "goes on", "so many", "beside", "besides"];
/// A sentence opens with its subject.
const AVOIDED_OPENINGS: [&str; 6] = ["Of ", "Who ", "Whose ", "What ", "Whoever ", "Whatever "];

/// A page for people.
struct Page {
    name: String,
    text: String,
    /// Where the paths it names may begin.
    bases: Vec<PathBuf>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let folder = path.parent().expect("a page has a folder");
        let bases = vec![root().to_owned(), folder.to_owned(), folder.join("src")];
        let name = path.strip_prefix(root()).expect("a page of the workspace").display().to_string();
        Self { name, text, bases }
    }

    /// The words in code font.
    fn quoted(&self) -> impl Iterator<Item = &str> {
        prose(&self.text).flat_map(|line| line.split('`').skip(1).step_by(2))
    }

    fn find(&self, path: &str) -> Option<PathBuf> {
        self.bases.iter().map(|base| base.join(path)).find(|path| path.exists())
    }
}

/// README, changelog, and the README and documentation of each crate.
fn pages() -> Vec<Page> {
    let mut found = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    for folder in list(root()).into_iter().filter(|folder| folder.join("Cargo.toml").is_file()) {
        found.extend(Some(folder.join("README.md")).filter(|page| page.is_file()));
        let documentation = folder.join("docs");
        found.extend(Some(documentation).filter(|folder| folder.is_dir()).iter().flat_map(|folder| list(folder)));
    }
    found.iter().map(|path| Page::read(path)).collect()
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// Paragraphs, list items and table cells, each in one piece.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in prose(text) {
        let begins = line.is_empty() || line.starts_with(['-', '|', '#']) || line.starts_with(char::is_numeric);
        if begins {
            blocks.push(String::new());
        }
        let block = blocks.last_mut().expect("there is a first block");
        block.push_str(line.trim_start_matches(|mark: char| " -|#.".contains(mark) || mark.is_numeric()));
        block.push(' ');
    }
    blocks.iter().flat_map(|block| block.split(" | ")).map(str::to_owned).collect()
}

fn names_a_file(word: &str) -> bool {
    let is_path = word.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-".contains(letter));
    let of_the_workspace = (word.starts_with("grower-") || word.starts_with("xtask/")) && word.contains('/');
    is_path && !word.starts_with('/') && (word.ends_with(".rs") || of_the_workspace)
}

fn names_a_test(word: &str) -> bool {
    let is_name = word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    is_name && 3 <= word.matches('_').count()
}

#[test]
fn every_file_that_a_page_names_exists() {
    let mut checked = 0;
    for page in pages().iter().filter(|page| page.name != "CHANGELOG.md") {
        for path in page.quoted().filter(|word| names_a_file(word)) {
            assert!(page.find(path).is_some(), "{} names {path}, which does not exist", page.name);
            checked += 1;
        }
    }
    assert!(60 < checked, "{checked}");
}

#[test]
fn every_test_that_falsifies_a_promise_exists() {
    let page = Page::read(&root().join("grower-broker/docs/promises.md"));
    let mut file = None;
    for word in page.quoted() {
        if names_a_file(word) {
            file = page.find(word);
        } else if names_a_test(word) {
            let path = file.as_ref().unwrap_or_else(|| panic!("{word} follows no file"));
            let source = std::fs::read_to_string(path).unwrap();
            assert!(source.contains(&format!("fn {word}(")), "{} has no test {word}", path.display());
        }
    }
}

#[test]
fn every_page_that_the_readme_links_exists() {
    let readme = Page::read(&root().join("README.md"));
    let links: Vec<&str> = readme.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(5 < links.len(), "{links:?}");
    for link in links {
        assert!(root().join(link).is_file(), "the README links {link}, which does not exist");
    }
}

#[test]
fn the_readme_is_short_and_ci_ends_with_its_test_command() {
    let readme = Page::read(&root().join("README.md"));
    let words = readme.text.split_whitespace().count();
    assert!(words < README_WORDS_MAX, "the README has {words} words");
    let command = readme.text.lines().find(|line| line.starts_with("cargo test")).expect("a test command");
    let command = command.split(" #").next().unwrap_or_default().trim_end();
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let last = ci.trim_end().lines().next_back().unwrap_or_default();
    assert!(last.split(" #").next().is_some_and(|last| last.ends_with(command)), "CI ends with {last:?}");
}

#[test]
fn the_changelog_has_its_three_kinds_of_entries() {
    let changelog = Page::read(&root().join("CHANGELOG.md")).text;
    let headings: Vec<&str> = changelog.lines().filter(|line| line.starts_with('#')).take(5).collect();
    assert_eq!(headings, ["# Changelog", "## Unreleased", "### Added", "### Changed", "### Fixed"]);
}

#[test]
fn pages_are_written_in_plain_words() {
    let mut found = Vec::new();
    for page in pages() {
        for block in blocks(&page.text) {
            let words: Vec<&str> = block.split_whitespace().collect();
            let plain = format!(" {} ", words.join(" ").replace([',', '.', ';', ':', ')'], " ").to_lowercase());
            let avoided = AVOIDED_WORDS.iter().filter(|word| plain.contains(&format!(" {word} ")));
            found.extend(avoided.map(|word| format!("{}: {word:?} in {block:?}", page.name)));
            let mut sentences = block.split(". ").map(str::trim_start);
            if let Some(opening) =
                sentences.find(|sentence| AVOIDED_OPENINGS.iter().any(|word| sentence.starts_with(word)))
            {
                found.push(format!("{}: {opening:?}", page.name));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
