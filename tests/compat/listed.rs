//! The rows as they stand in `COMPAT.md`.

use crate::{Ours, Row, access, compression, content, http, install, mqtt, query, resources, rest};
use std::fmt::Write;
use std::path::Path;

/// Every section, in the order of the observations.
const SECTIONS: [(&str, &[Row]); 12] = [
    ("Install, start and defaults", install::ROWS),
    ("REST on a table", rest::ROWS),
    ("Query language", query::ROWS),
    ("Content types", content::ROWS),
    ("Compression", compression::ROWS),
    ("Resources, middleware, files", resources::ROWS),
    ("Who may do what", access::ROWS),
    ("HTTP", http::ROWS),
    ("WebSocket and Server-Sent Events", resources::REAL_TIME),
    ("MQTT", mqtt::ROWS),
    ("Operations API", resources::OPERATIONS),
    ("Prometheus", resources::PROMETHEUS),
];

const BEGIN: &str = "<!-- rows: written by the tests in tests/compat -->\n";
const END: &str = "<!-- end of rows -->";

#[test]
fn compat_lists_every_row_that_differs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../COMPAT.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("COMPAT.md has a place for the rows");
    let (listed, after) = rest.split_once(END).expect("the place for the rows ends");
    let rows = rows();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{rows}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(listed, rows, "run this test with UPDATE_GOLDEN=1");
}

fn rows() -> String {
    let mut text = String::new();
    for (title, rows) in SECTIONS {
        let count = |is: fn(&Ours) -> bool| rows.iter().filter(|row| is(&row.ours)).count();
        let same = count(|ours| matches!(ours, Ours::Same(_)));
        let later = count(|ours| matches!(ours, Ours::Later(_)));
        writeln!(
            text,
            "\n### {title}\n\n{} rows observed: {same} the same, {} differ on purpose, {later} not here yet.\n",
            rows.len(),
            rows.len() - same - later
        )
        .unwrap();
        if same == rows.len() {
            continue;
        }
        text.push_str("| what | Harper | here, and why |\n|---|---|---|\n");
        for row in rows {
            let what = row.what.replace('|', "\\|");
            match row.ours {
                Ours::Same(_) => {}
                Ours::Differs(harper, why, _) => {
                    writeln!(text, "| {what} | {harper} | {why} |").unwrap()
                }
                Ours::Later(until) => {
                    writeln!(text, "| {what} | yes | not yet: {until} |").unwrap()
                }
            }
        }
    }
    text.push('\n');
    text
}

#[test]
fn no_row_stands_twice() {
    let mut seen = std::collections::HashSet::new();
    for (title, rows) in SECTIONS {
        for row in rows {
            assert!(seen.insert((title, row.what)), "{title}: {}", row.what);
        }
    }
}
