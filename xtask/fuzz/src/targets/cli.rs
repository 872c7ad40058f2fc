//! The command line: positions, times, templates, topics with partitions, configs, sizes.

use crate::Target;
use clap::Parser;
use grower_cli::Arguments;

pub(super) const ARGUMENTS: Target = Target {
    name: "arguments",
    about: "the arguments of grower-cli, one a line: accepted, or refused as wrong usage",
    run,
    seeds,
    allocates: 16 << 20,
};

/// More arguments reach no other code, and clap is slow with each.
const ARGUMENTS_MAX: usize = 24;

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let arguments = std::iter::once("grower-cli").chain(text.lines().take(ARGUMENTS_MAX));
    if let Err(refused) = Arguments::try_parse_from(arguments) {
        assert!(!refused.to_string().is_empty(), "a refusal says something");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "consume t --from time:2026-11-21T08:30:00Z --format %t/%p@%o\\x1f%h\\n --limit 3",
        "consume a b --group g --from offset:12 --partition 1 --until-end",
        "group reset g --topic t --to time:-1h30m",
        "topic create a:3 b --config retention.ms=5d --if-not-exists",
        "produce t file --header k=v --compression zstd --acks leader --linger 5 --batch-bytes 64KiB",
        "log verify dir --output json --timeout 2m",
    ]
    .map(|line| line.split(' ').collect::<Vec<_>>().join("\n").into_bytes())
    .to_vec()
}
