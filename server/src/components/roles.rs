//! `roles`: files that declare the roles an application needs, made or brought up to date when it is loaded.

use super::{Application, problem_at};
use crate::auth::permission::{self, Permission};
use crate::auth::users::SUPER_USER;
use harper_config::{Node, Place, Problem, Severity};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A role as a file declares it.
#[derive(Debug)]
pub(crate) struct RoleDefinition {
    /// The name.
    pub name: String,
    /// What it allows, as it is written.
    pub node: Node,
    permission: Permission,
    file: PathBuf,
    place: Place,
}

impl RoleDefinition {
    /// Where it is declared.
    #[must_use]
    pub(crate) fn origin(&self) -> String {
        format!("{}:{}:{}", self.file.display(), self.place.line, self.place.column)
    }

    fn problem(&self, severity: Severity, message: String) -> Problem {
        problem_at(severity, &self.file, self.place, &self.name, message)
    }
}

/// Reads the roles of one file: `<role>: {super_user, <database>: {<table>: {read, …}}}`, or the same below `permission`.
pub(super) fn parse(file: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<RoleDefinition> {
    let root = match harper_config::parse(text) {
        Ok(root @ Node::Map(..)) => root,
        Ok(other) => {
            let message = "expected a mapping of roles";
            problems.push(problem_at(Severity::Error, file, other.place(), "", message));
            return Vec::new();
        }
        Err((place, sentence)) => {
            problems.push(problem_at(Severity::Error, file, place, "", sentence));
            return Vec::new();
        }
    };
    let roles = root.members().iter();
    roles.filter_map(|(name, place, node)| role(file, name, *place, node, problems)).collect()
}

fn role(
    file: &Path,
    name: &str,
    place: Place,
    node: &Node,
    problems: &mut Vec<Problem>,
) -> Option<RoleDefinition> {
    if name.is_empty() || name == SUPER_USER {
        let message = "a role of this name cannot be declared";
        problems.push(problem_at(Severity::Error, file, place, name, message));
        return None;
    }
    let node = node.get("permission").unwrap_or(node);
    match permission::parse(name, node) {
        Ok(parsed) => Some(RoleDefinition {
            name: name.to_owned(),
            node: node.clone(),
            permission: parsed.permission,
            file: file.to_owned(),
            place,
        }),
        Err(mistakes) => {
            let all = mistakes.into_iter();
            problems.extend(all.map(|mistake| {
                problem_at(Severity::Error, file, mistake.place, name, mistake.message)
            }));
            None
        }
    }
}

/// One role declared twice must be the same both times; a table or an attribute that nobody defines is a warning.
pub(super) fn conflicts(applications: &[Application], problems: &mut Vec<Problem>) {
    let mut by_name: HashMap<&str, &RoleDefinition> = HashMap::new();
    for role in applications.iter().flat_map(|application| &application.roles) {
        let first = *by_name.entry(&role.name).or_insert(role);
        if first.permission != role.permission {
            let message = format!("role {} is declared otherwise at {}", role.name, first.origin());
            problems.push(role.problem(Severity::Error, message));
        }
        for (database, table, attributes) in role.permission.named() {
            problems.extend(undefined(applications, role, (database, table), &attributes));
        }
    }
}

fn undefined(
    applications: &[Application],
    role: &RoleDefinition,
    (database, table): (&str, &str),
    attributes: &[&str],
) -> Option<Problem> {
    let mut tables = applications.iter().flat_map(|application| &application.tables);
    let found =
        tables.find(|known| (&*known.schema.database, &*known.schema.name) == (database, table));
    let message = match found {
        None => format!("{database}.{table}: no application defines this table"),
        Some(known) if known.schema.sealed => {
            let unknown = attributes.iter().find(|name| known.schema.attribute(name).is_none())?;
            format!("{database}.{table}: there is no attribute {unknown}")
        }
        Some(_) => return None,
    };
    Some(role.problem(Severity::Warning, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<RoleDefinition>, Vec<String>) {
        let mut problems = Vec::new();
        let roles = parse(Path::new("roles.yaml"), text, &mut problems);
        (roles, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn roles_are_read_with_and_without_permission_around_them() {
        let (roles, problems) = read(
            "reader:\n  super_user: false\n  data:\n    Dog:\n      read: true\n\
             chef:\n  permission:\n    super_user: true\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(),
            ["reader", "chef"]
        );
        assert!(roles[0].permission.table("data", "Dog").is_some());
        assert!(roles[1].permission.super_user);
    }

    #[test]
    fn mistakes_have_line_and_column() {
        for (text, expected) in [
            (
                "a:\n  data:\n    Dog:\n      read: 1\n",
                "error: roles.yaml:4:7: a: data.Dog.read: expected true or false",
            ),
            (
                "super_user: {}\n",
                "error: roles.yaml:1:1: super_user: a role of this name cannot be declared",
            ),
            ("- a\n", "error: roles.yaml:1:1: expected a mapping of roles"),
        ] {
            let (_, problems) = read(text);
            assert_eq!(problems, [expected], "{text}");
        }
        assert_eq!(read("a: [").1.len(), 1);
    }
}
