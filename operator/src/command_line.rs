//! What the binary is called for.

use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::check::CheckInstall;
use crate::config::Config;

const CHECK_INSTALL: &str = "check-install";

/// What the binary is called for.
#[derive(Debug)]
pub enum Task {
    /// To be the operator.
    Operate(Box<Config>),
    /// To try an installation with a cluster of its own.
    CheckInstall(CheckInstall),
}

impl Task {
    /// From the process's arguments; a wrong one ends it with one clear line and exit code 2.
    #[must_use]
    pub fn parse() -> Self {
        Self::from_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
    }

    fn from_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let task = match matches.subcommand_matches(CHECK_INSTALL) {
            Some(matches) => CheckInstall::from_arg_matches(matches).map(Self::CheckInstall),
            None => Config::from_arg_matches(matches).map(|config| Self::Operate(Box::new(config))),
        };
        task.map_err(|error| error.format(&mut command()))
    }
}

fn command() -> clap::Command {
    Config::command()
        .subcommand(CheckInstall::command().name(CHECK_INSTALL))
        .subcommand_negates_reqs(true)
        .args_conflicts_with_subcommands(true)
}

#[cfg(test)]
mod tests;
