//! Applications: a folder with `config.yaml`, which names the components that give it tables, files and data.
//!
//! Loading reads and checks everything and opens no database, so that `check` and `run` see the same problems.

mod computed;
mod data;
mod manifest;
mod relations;
mod roles;
mod schema;

pub(crate) use data::{DataFile, LoadError as LoadDataError, load as load_data};
pub(crate) use manifest::{FilesOptions, load};
pub(crate) use relations::Relation;
pub(crate) use roles::RoleDefinition;
pub(crate) use schema::TableDefinition;
#[cfg(any(test, fuzzing))]
pub(crate) use schema::parse as parse_schema;

use harper_config::{Place, Problem, Severity};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What an application declares.
#[derive(Debug, Default)]
pub(crate) struct Application {
    /// The folder's name.
    pub name: String,
    /// The version that its `package.json` names; else `0`.
    pub version: String,
    /// The folder.
    pub folder: PathBuf,
    /// Tables of its schemas.
    pub tables: Vec<TableDefinition>,
    /// Roles that it needs.
    pub roles: Vec<RoleDefinition>,
    /// Whether exported tables are served over REST.
    pub rest: bool,
    /// Whether reads of records tell the date of the last write.
    pub last_modified: bool,
    /// Whether its tables take WebSockets (`rest: {webSocket: …}`).
    pub web_socket: bool,
    /// Folders of files that are served.
    pub files: Vec<FilesOptions>,
    /// Files whose records are loaded at start.
    pub data: Vec<DataFile>,
}

/// Loads several applications and checks them against one another.
#[must_use]
pub(crate) fn load_all(folders: &[PathBuf]) -> (Vec<Application>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut applications: Vec<_> =
        folders.iter().map(|folder| load(folder, &mut problems)).collect();
    relations::resolve(&mut applications, &mut problems);
    conflicts(&applications, &mut problems);
    roles::conflicts(&applications, &mut problems);
    (applications, problems)
}

/// The application folders below `root`; none when there is no such folder.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn folders(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !root.exists() {
        return Ok(Vec::new());
    }
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let path = entry?.path();
        let is_hidden =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !is_hidden {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// One table defined twice must be the same both times, and a path belongs to one table.
fn conflicts(applications: &[Application], problems: &mut Vec<Problem>) {
    let mut by_name: HashMap<(&str, &str), &TableDefinition> = HashMap::new();
    let mut by_path: HashMap<&str, &TableDefinition> = HashMap::new();
    for table in applications.iter().flat_map(|application| &application.tables) {
        let name = (table.schema.database.as_str(), table.schema.name.as_str());
        let first = *by_name.entry(name).or_insert(table);
        if first.schema != table.schema || first.relations != table.relations {
            let message =
                format!("table {} is defined otherwise at {}", table.schema.name, first.origin());
            problems.push(table.problem(Severity::Error, message));
        }
        let Some(path) = &table.path else { continue };
        let taken = *by_path.entry(path).or_insert(table);
        if (&taken.schema.database, &taken.schema.name)
            != (&table.schema.database, &table.schema.name)
        {
            let message =
                format!("path /{path}/ is taken by {} at {}", taken.schema.name, taken.origin());
            problems.push(table.problem(Severity::Error, message));
        }
    }
}

/// A problem at a place in a file.
pub(crate) fn problem_at(
    severity: Severity,
    file: &Path,
    place: Place,
    key: &str,
    message: impl Into<String>,
) -> Problem {
    let origin = match place.line {
        0 => file.display().to_string(),
        line => format!("{}:{line}:{}", file.display(), place.column),
    };
    Problem { severity, key: key.to_owned(), origin, message: message.into(), hint: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(root: &Path, name: &str, schema: &str) -> PathBuf {
        let folder = root.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join("config.yaml"),
            "rest: true\ngraphqlSchema:\n  files: '*.graphql'\n",
        )
        .unwrap();
        std::fs::write(folder.join("schema.graphql"), schema).unwrap();
        folder
    }

    #[test]
    fn roles_are_checked_against_the_tables_and_against_one_another() {
        let root = tempfile::tempdir().unwrap();
        let dog = "type Dog @table @export @sealed { id: ID @primaryKey name: String }";
        let folders = [application(root.path(), "a", dog), application(root.path(), "b", dog)];
        for (folder, text) in folders.iter().zip([
            "reader: {data: {Dog: {read: true, attributes: {nam: {read: true}}}}, other: {Cat: {read: true}}}",
            "reader: {data: {Dog: {read: false}}}",
        ]) {
            std::fs::write(folder.join("config.yaml"), "graphqlSchema:\n  files: '*.graphql'\nroles:\n  files: roles.yaml\n").unwrap();
            std::fs::write(folder.join("roles.yaml"), text).unwrap();
        }
        let problems: Vec<_> = load_all(&folders).1.iter().map(ToString::to_string).collect();
        for part in ["no attribute nam", "other.Cat: no application", "declared otherwise at"] {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:?}");
        }
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn equal_definitions_merge_and_different_ones_are_refused_with_both_places() {
        let root = tempfile::tempdir().unwrap();
        let dog = "type Dog @table @export { id: ID @primaryKey name: String }";
        let same = [application(root.path(), "a", dog), application(root.path(), "b", dog)];
        assert_eq!(load_all(&same).1, []);
        let other = "type Dog @table @export { id: ID @primaryKey name: Int }";
        let cat = "type Cat @table @export(name: \"Dog\") { id: ID @primaryKey }";
        let clash = [
            same[0].clone(),
            application(root.path(), "c", other),
            application(root.path(), "d", cat),
        ];
        let problems: Vec<_> = load_all(&clash).1.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems[0].contains("c/schema.graphql:1:1")
                && problems[0].contains("a/schema.graphql:1:1")
        );
        assert!(problems[1].contains("path /Dog/ is taken"));
    }
}
