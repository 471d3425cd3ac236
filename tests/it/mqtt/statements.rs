//! The normative statements of both standards, and the tests that show them: `statements/`. A statement that is not there,
//! or a test that is not, fails.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Sections, the last statement of each, and numbers that the standard leaves out.
type Sections = &'static [(&'static str, u32, &'static [u32])];

const V5: Sections = &[
    ("1.5.4", 3, &[]),
    ("1.5.5", 1, &[]),
    ("1.5.7", 1, &[]),
    ("2.1.3", 1, &[]),
    ("2.2.1", 6, &[1]),
    ("2.2.2", 1, &[]),
    ("3.1.0", 2, &[]),
    ("3.1.2", 30, &[]),
    ("3.1.3", 12, &[]),
    ("3.1.4", 6, &[]),
    ("3.2.0", 2, &[]),
    ("3.2.2", 22, &[]),
    ("3.3.1", 13, &[]),
    ("3.3.2", 20, &[]),
    ("3.3.4", 10, &[]),
    ("3.4.2", 3, &[]),
    ("3.5.2", 3, &[]),
    ("3.6.1", 1, &[]),
    ("3.6.2", 3, &[]),
    ("3.7.2", 3, &[]),
    ("3.8.1", 1, &[]),
    ("3.8.3", 5, &[]),
    ("3.8.4", 8, &[]),
    ("3.9.2", 2, &[]),
    ("3.9.3", 2, &[]),
    ("3.10.1", 1, &[]),
    ("3.10.3", 2, &[]),
    ("3.10.4", 6, &[]),
    ("3.11.2", 2, &[]),
    ("3.11.3", 2, &[]),
    ("3.12.4", 1, &[]),
    ("3.14.0", 1, &[]),
    ("3.14.1", 1, &[]),
    ("3.14.2", 4, &[]),
    ("3.14.4", 3, &[]),
    ("3.15.1", 1, &[]),
    ("3.15.2", 3, &[]),
    ("4.1.0", 2, &[]),
    ("4.2.0", 1, &[]),
    ("4.3.1", 1, &[]),
    ("4.3.2", 5, &[]),
    ("4.3.3", 13, &[]),
    ("4.4.0", 2, &[]),
    ("4.5.0", 2, &[]),
    ("4.6.0", 6, &[]),
    ("4.7.0", 1, &[]),
    ("4.7.1", 2, &[]),
    ("4.7.2", 1, &[]),
    ("4.7.3", 4, &[]),
    ("4.8.2", 6, &[]),
    ("4.9.0", 3, &[]),
    ("4.12.0", 7, &[]),
    ("4.12.1", 2, &[]),
    ("4.13.1", 1, &[]),
    ("4.13.2", 1, &[]),
    ("6.0.0", 4, &[]),
];

const V311: Sections = &[
    ("1.5.3", 3, &[]),
    ("2.2.2", 2, &[]),
    ("2.3.1", 7, &[]),
    ("3.1.0", 2, &[]),
    ("3.1.2", 24, &[]),
    ("3.1.3", 11, &[]),
    ("3.1.4", 5, &[]),
    ("3.2.0", 1, &[]),
    ("3.2.2", 6, &[]),
    ("3.3.1", 12, &[]),
    ("3.3.2", 3, &[]),
    ("3.3.4", 1, &[]),
    ("3.3.5", 2, &[]),
    ("3.6.1", 1, &[]),
    ("3.8.1", 1, &[]),
    ("3.8.3", 4, &[]),
    ("3.8.4", 6, &[]),
    ("3.9.3", 2, &[]),
    ("3.10.1", 1, &[]),
    ("3.10.3", 2, &[]),
    ("3.10.4", 6, &[]),
    ("3.12.4", 1, &[]),
    ("3.14.1", 1, &[]),
    ("3.14.4", 3, &[]),
    ("4.1.0", 2, &[]),
    ("4.3.1", 1, &[]),
    ("4.3.2", 2, &[]),
    ("4.3.3", 2, &[]),
    ("4.4.0", 1, &[]),
    ("4.5.0", 2, &[]),
    ("4.6.0", 6, &[]),
    ("4.7.1", 3, &[]),
    ("4.7.2", 1, &[]),
    ("4.7.3", 4, &[]),
    ("4.8.0", 2, &[]),
    ("6.0.0", 4, &[]),
    ("7.0.0", 2, &[]),
    ("7.1.1", 1, &[]),
    ("7.1.2", 1, &[]),
];

/// Where tests are that are not beside this file.
const FILES: &[(&str, &str)] = &[
    ("codec", "server/mqtt/src/packet/tests/statements.rs"),
    ("packets", "server/mqtt/src/packet/tests.rs"),
    ("roundtrip", "server/mqtt/src/packet/tests/roundtrip.rs"),
    ("rules", "server/mqtt/src/session/tests/rules.rs"),
    ("topic", "server/mqtt/src/topic.rs"),
    ("auth", "server/src/mqtt/authenticate/tests.rs"),
    ("over", "tests/it/web_socket/carried.rs"),
];

/// The tests of each file that was asked for.
#[derive(Default)]
struct Tests(BTreeMap<String, HashSet<String>>);

impl Tests {
    /// Whether there is such a test.
    fn has(&mut self, test: &str) -> bool {
        let Some((file, name)) = test.split_once("::") else { return false };
        let known = self.0.entry(file.to_owned()).or_insert_with_key(|file| read(file));
        known.contains(name)
    }
}

/// The names of a file's tests.
fn read(file: &str) -> HashSet<String> {
    let elsewhere =
        FILES.iter().find(|(name, _)| *name == file).map(|(_, path)| (*path).to_owned());
    let path = elsewhere.unwrap_or_else(|| format!("tests/it/mqtt/{file}.rs"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join(&path)).unwrap_or_else(|_| panic!("no {path}"));
    let tests = text.split("#[test]").skip(1);
    let name = |test: &str| test.split_once("fn ")?.1.split('(').next().map(str::to_owned);
    tests.filter_map(name).collect()
}

/// What is wrong with a table.
fn mistakes(table: &str, sections: Sections) -> Vec<String> {
    let mut expected: Vec<String> = Vec::new();
    for (section, last, left_out) in sections {
        let numbers = (1..=*last).filter(|number| !left_out.contains(number));
        expected.extend(numbers.map(|number| format!("{section}-{number}")));
    }
    let (mut found, mut wrong, mut tests) = (Vec::new(), Vec::new(), Tests::default());
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let (statement, rest) = line.split_once(' ').unwrap_or((line, ""));
        found.push(statement.to_owned());
        let rest = rest.trim();
        let binds_another = rest.starts_with("client") || rest.starts_with("nobody: ");
        let named: Vec<&str> = rest.split_whitespace().filter(|word| word.contains("::")).collect();
        if named.is_empty() && !binds_another {
            wrong.push(format!("{statement}: no test"));
        }
        let missing = named.into_iter().filter(|test| !tests.has(test));
        wrong.extend(missing.map(|test| format!("{statement}: there is no test {test}")));
    }
    wrong.extend(
        expected.iter().filter(|one| !found.contains(one)).map(|one| format!("{one} is missing")),
    );
    wrong.extend(
        found.iter().filter(|one| !expected.contains(one)).map(|one| format!("{one} is unknown")),
    );
    let mut seen = HashSet::new();
    wrong.extend(
        found.iter().filter(|one| !seen.insert(*one)).map(|one| format!("{one} is there twice")),
    );
    wrong
}

#[test]
fn every_statement_of_mqtt_5_has_its_tests() {
    assert_eq!(mistakes(include_str!("statements/v5.txt"), V5), Vec::<String>::new());
}

#[test]
fn every_statement_of_mqtt_3_1_1_has_its_tests() {
    assert_eq!(mistakes(include_str!("statements/v311.txt"), V311), Vec::<String>::new());
}

#[test]
fn what_is_wrong_with_a_table_is_found() {
    let table = "4.1.0-2 session::nothing\n4.1.0-2 client\n9.9.9-9 client\n4.2.0-1";
    let sections: Sections = &[("4.1.0", 2, &[]), ("4.2.0", 1, &[])];
    let expected = [
        "4.1.0-2: there is no test session::nothing",
        "4.2.0-1: no test",
        "4.1.0-1 is missing",
        "9.9.9-9 is unknown",
        "4.1.0-2 is there twice",
    ];
    assert_eq!(mistakes(table, sections), expected);
}
