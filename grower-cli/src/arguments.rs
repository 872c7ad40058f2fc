//! The command line as a whole: the options of every command, and one command.

use crate::commands::CliCommand;
use crate::options::GlobalOptions;
use crate::output::escaped;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser};

/// The command line of the Grower log broker
///
/// Talks to a running broker (--broker), or starts one inside this process on a data directory (--embedded).
#[derive(Debug, Parser)]
#[command(name = "grower-cli", version, max_term_width = 110)]
#[command(after_help = "Examples:
  grower-cli demo                                      the log at work, nothing else needed
  grower-cli topic create events:3                     a topic with 3 partitions
  grower-cli produce events big.log                    one record a line
  grower-cli consume events --until-end                the lines again
  grower-cli --embedded ./data consume events          the same without a daemon

Exit status: 0 done, 1 failed (standard error says why and what to do), 2 wrong usage.")]
pub struct Arguments {
    /// Where the broker is and how to print.
    #[command(flatten)]
    pub options: GlobalOptions,
    /// The command to run.
    #[command(subcommand)]
    pub command: CliCommand,
}

impl Arguments {
    /// Reads the command line and the environment. The error is the text to print instead of running a command: help, a
    /// version, or wrong usage.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches()?;
        let mut arguments = Self::from_arg_matches(&matches)?;
        let source = matches.value_source("broker");
        if let Err(fault) = arguments.options.check_broker(source == Some(ValueSource::EnvVariable)) {
            let broker = escaped(&arguments.options.broker);
            let text = format!("invalid value '{broker}' for '--broker <HOST:PORT[,...]>': {fault}");
            return Err(Self::command().error(ErrorKind::ValueValidation, text));
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consume_takes_every_position_and_refuses_other_words_with_the_forms_that_work() {
        let parse = |from| Arguments::try_parse_from(["grower-cli", "consume", "events", "--from", from]);
        for (from, parsed) in [
            ("beginning", "from: Some(Beginning)"),
            ("end", "from: Some(End)"),
            ("committed", "from: Some(Committed)"),
            ("offset:17", "from: Some(Offset(Offset(17)))"),
            ("time:-5m", "from: Some(Time(Ago(300s)))"),
        ] {
            let command = format!("{:?}", parse(from).unwrap().command);
            assert!(command.starts_with("Consume(") && command.contains(parsed), "{command}");
        }
        let refused = parse("start").unwrap_err().to_string();
        assert!(refused.contains("write beginning, end, committed, offset:N, time:RFC3339 or time:-5m"), "{refused}");
    }
}
