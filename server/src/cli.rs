//! The command line: what to do, with which configuration, and the exit code of it.

mod certificates;
mod check;
mod reload;
mod serve;
mod sources;

use clap::{Args, Parser, Subcommand};
use sources::Command;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code for a wrong command line or configuration (`EX_USAGE` of sysexits.h), so that an orchestrator shows
/// something else than for a crash.
const USAGE: u8 = 64;

/// Serves Harper applications: tables, REST and files over one HTTP stack on every core.
#[derive(Parser)]
#[command(
    name = "harper-server",
    version,
    after_help = "Any configuration key can be given as --KEY VALUE in upper case, such as --HTTP_PORT 9926."
)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve an application, or every folder below componentsRoot
    Run(Options),
    /// Serve an application for a person at a keyboard: loopback only, data below the application's .harper/, reload on change
    Dev(Options),
    /// Check the configuration and the applications, and print every problem
    Check(Options),
    /// Make the self-signed certificate below the root anew; a running server takes it by itself
    RenewCerts(Options),
    /// Print documentation, schema or effective values of the configuration
    Config {
        #[command(subcommand)]
        what: ConfigVerb,
    },
}

#[derive(Subcommand)]
enum ConfigVerb {
    /// The reference of all keys as Markdown
    Docs,
    /// The JSON Schema of the configuration file
    Schema,
    /// Every value and where it comes from
    Effective(Options),
}

/// Options of every command that reads a configuration.
#[derive(Args, Default)]
struct Options {
    /// Application folder
    app: Option<PathBuf>,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Root directory
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Set a configuration key
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// How a command ended badly.
enum Failed {
    /// The user's input is wrong.
    Usage(String),
    /// Everything else.
    Error(String),
}

/// Runs the command of the process's command line. The only place that decides exit codes.
#[must_use]
pub fn main() -> ExitCode {
    let (arguments, keys) = sources::split(
        std::env::args_os().map(|text| text.to_string_lossy().into_owned()).collect(),
    );
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // the terminal is gone when this fails
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let done = match cli.command {
        Verb::Run(options) => serve::run(&options, Command::Run, keys),
        Verb::Dev(options) => serve::run(&options, Command::Dev, keys),
        Verb::Check(options) => check::check(&options, keys),
        Verb::RenewCerts(options) => certificates::renew(&options, keys),
        Verb::Config { what: ConfigVerb::Docs } => say(&harper_config::markdown()),
        Verb::Config { what: ConfigVerb::Schema } => {
            say(&format!("{:#}\n", harper_config::json_schema()))
        }
        Verb::Config { what: ConfigVerb::Effective(options) } => check::effective(&options, keys),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Usage(message)) => complain(&message, USAGE),
        Err(Failed::Error(message)) => complain(&message, 1),
    }
}

/// Prints to standard output; a reader that has gone away (`| head`) is no error.
fn say(text: &str) -> Result<(), Failed> {
    use std::io::{ErrorKind, Write};
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failed::Error(error.to_string()))
        }
        _ => Ok(()),
    }
}

#[allow(clippy::print_stderr, reason = "this is where a command tells its user what went wrong")]
fn complain(message: &str, code: u8) -> ExitCode {
    if !message.is_empty() {
        eprintln!("{}", message.trim_end());
    }
    ExitCode::from(code)
}
