//! The texts of a configuration: the file, the environment, the command line. Here is all reading that the
//! configuration crate does not do.

use super::{Failed, Options};
use crate::app::Credentials;
use harper_config::{Loaded, Problem, Severity, Sources, find_by_env, load};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Which command reads the configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// `run`, `check`, `config effective`
    Run,
    /// `dev`
    Dev,
}

/// Defaults that `dev` changes: a person at a keyboard needs no password on their own machine.
const DEV_DEFAULTS: &[(&str, &str)] =
    &[("authentication.authorizeLocal", "true"), ("logging.level", "info")];

/// Keys given on the command line, as `(name, value)`.
pub(super) type Keys = Vec<(String, String)>;

/// Takes `--HTTP_PORT 9926` and `--HTTP_PORT=9926` out of the arguments; the rest is for the parser of options.
pub(super) fn split(arguments: Vec<String>) -> (Vec<OsString>, Keys) {
    let (mut rest, mut keys) = (Vec::new(), Keys::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let body = argument.strip_prefix("--").unwrap_or_default();
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let is_key =
            name.chars().any(|letter| letter.is_ascii_uppercase()) && find_by_env(name).is_some();
        match value.or_else(|| if is_key { arguments.next() } else { None }) {
            Some(value) if is_key => keys.push((name.to_owned(), value)),
            _ => rest.push(argument.into()),
        }
    }
    (rest, keys)
}

/// A configuration that was read, and what else the command needs.
pub(super) struct Settings {
    /// What came of reading.
    pub(super) loaded: Loaded,
    /// The application named on the command line.
    pub(super) app: Option<PathBuf>,
    /// Where the configuration file is, or would be.
    pub(super) path: PathBuf,
    /// Its text; none when there is no file.
    pub(super) text: Option<String>,
}

/// Reads the configuration for a command.
pub(super) fn read(options: &Options, command: Command, keys: Keys) -> Result<Settings, Failed> {
    let app = application(options, command)?;
    let mut cli = keys;
    for pair in &options.set {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Failed::Usage(format!("--set {pair}: expected KEY=VALUE")));
        };
        cli.push((name.to_owned(), value.to_owned()));
    }
    if let Some(root) = &options.root {
        cli.push(("rootPath".to_owned(), root.display().to_string()));
    }
    let dev_root = app
        .as_ref()
        .filter(|_| command == Command::Dev)
        .map(|app| app.join(".harper").display().to_string());
    let mut defaults = if command == Command::Dev { DEV_DEFAULTS.to_vec() } else { Vec::new() };
    defaults.extend(dev_root.as_deref().map(|root| ("rootPath", root)));
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let (default_json, set_json) =
        (variable("HARPER_DEFAULT_CONFIG"), variable("HARPER_SET_CONFIG"));
    let mut sources = Sources {
        defaults: &defaults,
        default_json: default_json.as_deref(),
        file: None,
        env: environment(),
        cli,
        set_json: set_json.as_deref(),
    };
    let (path, text) = file(options, &sources)?;
    let name = path.display().to_string();
    sources.file = text.as_deref().map(|text| (name.as_str(), text));
    let loaded = load(&sources);
    Ok(Settings { loaded, app, path, text })
}

/// The environment; a variable that is not UTF-8 can name no key or hold no value of one.
fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

fn application(options: &Options, command: Command) -> Result<Option<PathBuf>, Failed> {
    let default = (command == Command::Dev).then(|| PathBuf::from("."));
    let Some(app) = options.app.clone().or(default) else { return Ok(None) };
    let app =
        app.canonicalize().map_err(|error| Failed::Usage(format!("{}: {error}", app.display())))?;
    Ok(Some(app))
}

/// The file's path and text: `--config`, else `HDB_CONFIG`, else the one in the root if it is there.
fn file(options: &Options, sources: &Sources<'_>) -> Result<(PathBuf, Option<String>), Failed> {
    let named = options.config.clone().or_else(|| {
        std::env::var_os("HDB_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
    });
    let path = match &named {
        Some(path) => path.clone(),
        None => {
            let root = load(sources).effective.into_iter().find(|item| item.key.name == "rootPath");
            let root =
                root.and_then(|item| item.value.as_str().map(PathBuf::from)).unwrap_or_default();
            at_home(&root).join("harperdb-config.yaml")
        }
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((path, Some(text))),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok((path, None))
        }
        Err(error) => Err(Failed::Usage(format!("{}: {error}", path.display()))),
    }
}

/// The path with a leading `~` as the home directory.
pub(super) fn at_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path.to_owned(),
    }
}

/// The folders of the applications to serve. They can be told even when other keys are wrong.
pub(super) fn folders(loaded: &Loaded, app: Option<&PathBuf>) -> Result<Vec<PathBuf>, Failed> {
    if let Some(app) = app {
        return Ok(vec![app.clone()]);
    }
    let path = |name: &str| {
        let item = loaded.effective.iter().find(|item| item.key.name == name)?;
        item.value.as_str().map(|text| at_home(Path::new(text)))
    };
    let in_root = || path("rootPath").unwrap_or_default().join("components");
    let root = path("componentsRoot").unwrap_or_else(in_root);
    crate::components::folders(&root)
        .map_err(|error| Failed::Error(format!("{}: {error}", root.display())))
}

/// The administrator from `HDB_ADMIN_USERNAME` and `HDB_ADMIN_PASSWORD`, or from the files that
/// `HDB_ADMIN_USERNAME_FILE` and `HDB_ADMIN_PASSWORD_FILE` name.
pub(super) fn credentials() -> Result<Credentials, Failed> {
    Ok(Credentials {
        username: secret("HDB_ADMIN_USERNAME")?,
        password: secret("HDB_ADMIN_PASSWORD")?,
    })
}

fn secret(name: &str) -> Result<Option<String>, Failed> {
    if let Some(path) = std::env::var_os(format!("{name}_FILE")).filter(|path| !path.is_empty()) {
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failed::Usage(format!("{name}_FILE: {}: {error}", Path::new(&path).display()))
        })?;
        return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    let Some(text) = std::env::var_os(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    text.into_string().map(Some).map_err(|_| Failed::Usage(format!("{name} is not UTF-8")))
}

/// All problems as text, and whether one of them is an error.
pub(super) fn report(problems: &[Problem]) -> (String, bool) {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    (lines.join("\n"), problems.iter().any(|problem| problem.severity == Severity::Error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_upper_case_are_taken_out_of_the_arguments() {
        let arguments = [
            "harper-server",
            "run",
            "--HTTP_PORT",
            "1",
            "app",
            "--THREADS_COUNT=2",
            "--set",
            "a=b",
            "--NOSUCH_KEY",
        ];
        let (rest, keys) = split(arguments.into_iter().map(str::to_owned).collect());
        assert_eq!(rest, ["harper-server", "run", "app", "--set", "a=b", "--NOSUCH_KEY"]);
        assert_eq!(keys, [("HTTP_PORT".into(), "1".into()), ("THREADS_COUNT".into(), "2".into())]);
    }
}
