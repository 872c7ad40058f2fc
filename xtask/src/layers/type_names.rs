//! One type name means one type in the whole workspace, tests apart.

use super::source::SourceFile;
use std::collections::BTreeMap;

/// Names that mean several types on purpose, and why.
const EXCEPTIONS: &[(&str, &str)] =
    &[("Record", "the client's record has a topic, the protocol's is one of a batch: users and codec name both so")];

/// One line for each name that means several types without being listed.
pub(super) fn check(sources: &[SourceFile]) -> Vec<String> {
    let mut defined: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources {
        for name in types_in(&source.code) {
            defined.entry(name).or_default().push(format!("{}/src/{}", source.crate_name, source.path));
        }
    }
    let is_listed = |name: &&str| EXCEPTIONS.iter().any(|(known, _)| known == name);
    let several = defined.iter().filter(|(name, files)| 1 < files.len() && !is_listed(name));
    several.map(|(name, files)| format!("type {name} is defined in {}", files.join(", "))).collect()
}

/// The types that a file defines; those that belong to a trait are not its own.
fn types_in(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
        let keyword = words.next()?;
        let is_type = matches!(keyword, "struct" | "enum" | "trait") || (keyword == "type" && !line.starts_with(' '));
        let name = words.next().filter(|_| is_type)?;
        Some(name.split(|character: char| !character.is_alphanumeric()).next().unwrap_or(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_two_types_is_reported_with_both_files() {
        let sources = [
            SourceFile::new("a", "x.rs", "pub(crate) struct Twice;\nstruct Once<T>(T);\n"),
            SourceFile::new("b", "y.rs", "enum Twice {}\nimpl T for U {\n    type Once = u8;\n}\n"),
        ];
        assert_eq!(check(&sources), ["type Twice is defined in a/src/x.rs, b/src/y.rs"]);
    }
}
