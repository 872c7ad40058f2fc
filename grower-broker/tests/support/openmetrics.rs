//! A parser of OpenMetrics text that accepts only what the standard allows.

use std::collections::{BTreeMap, BTreeSet};

/// Families by name.
pub(crate) type Exposition = BTreeMap<String, Family>;

/// All samples of one metric.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    unit: String,
    pub(crate) samples: Vec<Sample>,
}

/// One line.
#[derive(Debug)]
pub(crate) struct Sample {
    name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Family {
    /// The value of the one sample that has these labels.
    pub(crate) fn value(&self, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &&Sample| labels.iter().all(|(k, v)| sample.labels.get(*k).is_some_and(|is| is == v));
        let mut found = self
            .samples
            .iter()
            .filter(has)
            .filter(|sample| self.kind != "histogram" || sample.name.ends_with("_count"));
        let value = found.next()?.value;
        assert!(found.next().is_none(), "more than one sample with {labels:?}");
        Some(value)
    }

    /// The names of its samples in dashboards and alerts.
    pub(crate) fn sample_names(&self, family: &str) -> Vec<String> {
        suffixes(&self.kind).iter().map(|suffix| format!("{family}{suffix}")).collect()
    }
}

/// Reads a whole answer.
pub(crate) fn parse(text: &str) -> Exposition {
    let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF and a newline");
    let mut families = Exposition::new();
    let mut current = String::new();
    for line in body.lines() {
        match line.strip_prefix("# ") {
            Some(about) => describe(&mut families, &mut current, about),
            None => families.get_mut(&current).expect("a description comes first").samples.push(sample(line)),
        }
    }
    families.iter().for_each(|(name, family)| check(name, family));
    families
}

fn describe(families: &mut Exposition, current: &mut String, about: &str) {
    let mut words = about.splitn(3, ' ');
    let (what, name) = (words.next().unwrap(), words.next().expect("a name"));
    let text = words.next().expect("a text").to_owned();
    if name != current {
        assert!(is_name(name), "{name:?} is no name");
        assert!(families.insert(name.to_owned(), Family::default()).is_none(), "{name} comes twice");
        name.clone_into(current);
    }
    let family = families.get_mut(name).unwrap();
    assert!(family.samples.is_empty(), "{name} is described after its samples");
    let field = match what {
        "HELP" => &mut family.help,
        "TYPE" => &mut family.kind,
        "UNIT" => &mut family.unit,
        other => panic!("{other} is no description"),
    };
    assert!(std::mem::replace(field, text).is_empty(), "{name} has two lines of {what}");
}

fn sample(line: &str) -> Sample {
    let name_end = line.find(['{', ' ']).expect("a sample has a value");
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, value, after) = label(rest);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{label} comes twice in {line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').expect("a space before the value");
    let value = value.parse().unwrap_or_else(|_| panic!("{value:?} is no number in {line}"));
    Sample { name: name.to_owned(), labels, value }
}

/// A label, its value without escapes, and what follows it.
fn label(text: &str) -> (&str, String, &str) {
    let (name, quoted) = text.split_once("=\"").expect("a label has a quoted value");
    assert!(is_name(name), "{name:?} is no label");
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (name, value, &quoted[at + 1..]),
            '\\' => match letters.next().map(|(_, escaped)| escaped) {
                Some('n') => value.push('\n'),
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                other => panic!("{other:?} is not escaped like that"),
            },
            plain => value.push(plain),
        }
    }
    panic!("{text} has no end");
}

fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "gauge" => &[""],
        "counter" => &["_total"],
        "info" => &["_info"],
        "histogram" => &["_bucket", "_sum", "_count"],
        other => panic!("{other} is no kind of metric that is used here"),
    }
}

fn check(name: &str, family: &Family) {
    assert!(!family.help.is_empty() && !family.help.ends_with("..."), "{name} says nothing of itself");
    assert!(family.unit.is_empty() || name.ends_with(&format!("_{}", family.unit)), "{name} hides its unit");
    let allowed = family.sample_names(name);
    let mut seen = BTreeSet::new();
    for sample in &family.samples {
        assert!(allowed.contains(&sample.name), "{} in {name}", sample.name);
        assert!(seen.insert((&sample.name, &sample.labels)), "{sample:?} comes twice");
        assert!(family.kind == "gauge" || 0.0 <= sample.value, "{sample:?} counts backwards");
        assert!(sample.value.is_finite(), "{sample:?}");
    }
    if family.kind == "histogram" {
        check_histogram(family);
    }
}

fn check_histogram(family: &Family) {
    let mut buckets: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in family.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le").expect("a bucket has a bound").parse().expect("a bound is a number");
        buckets.entry(labels).or_default().push((bound, sample.value));
    }
    for (labels, buckets) in buckets {
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{labels:?}: {buckets:?}");
        let counted = family.samples.iter().find(|s| s.name.ends_with("_count") && s.labels == labels);
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, counted.expect("a count").value)), "{labels:?}");
        assert!(family.samples.iter().any(|s| s.name.ends_with("_sum") && s.labels == labels), "{labels:?} has no sum");
    }
}
