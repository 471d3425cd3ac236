//! `check` and `config effective`.

use super::sources::{self, Command, Keys};
use super::{Failed, Options, say};
use crate::{components, tls};
use std::fmt::Write;

/// Prints every problem of the configuration and of the applications.
pub(super) fn check(options: &Options, keys: Keys) -> Result<(), Failed> {
    let settings = sources::read(options, Command::Run, keys)?;
    let folders = sources::folders(&settings.loaded, settings.app.as_ref())?;
    let (applications, found) = components::load_all(&folders);
    let mut problems = settings.loaded.problems;
    problems.extend(found);
    if let Some(config) = &settings.loaded.config {
        problems.extend(tls::check(config, &sources::at_home(&config.root_path)));
    }
    let (report, failed) = sources::report(&problems);
    if failed {
        return Err(Failed::Usage(report));
    }
    let (count, warnings) = (applications.len(), problems.len());
    let report = if report.is_empty() { report } else { report + "\n" };
    say(&format!("{report}ok: {count} application(s), {warnings} warning(s)\n"))
}

/// Prints every key's value and where it comes from.
pub(super) fn effective(options: &Options, keys: Keys) -> Result<(), Failed> {
    let settings = sources::read(options, Command::Run, keys)?;
    let (report, failed) = sources::report(&settings.loaded.problems);
    if failed {
        return Err(Failed::Usage(report));
    }
    let mut text = String::new();
    for item in &settings.loaded.effective {
        // writing to a string cannot fail
        let _ = writeln!(text, "{}: {} # {}", item.key.name, item.shown(), item.origin);
    }
    say(&text)
}
