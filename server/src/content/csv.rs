//! Comma-separated values (RFC 4180), with a header. Objects and arrays are JSON text; an absent value and null are
//! an empty cell.

use super::body::{Limits, Shape, invalid};
use super::{EncodeError, cell, json};
use crate::error::Answer;
use harper_store::TableSchema;
use std::collections::HashMap;

/// The column of a value that is no record.
const VALUE: &str = "value";
const LINE_END: &[u8] = b"\r\n";

/// The columns of a table, in their order.
#[derive(Default)]
pub(super) struct Columns {
    names: Vec<String>,
    /// Where each name is, so that a row is placed in one pass over it.
    places: HashMap<String, usize>,
}

impl Columns {
    /// Columns with these names; one that is given twice is there twice, and has its cells at the first.
    pub(super) fn new(names: Vec<String>) -> Self {
        let mut places = HashMap::with_capacity(names.len());
        for (place, name) in names.iter().enumerate() {
            places.entry(name.clone()).or_insert(place);
        }
        Self { names, places }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Adds the names that a row has and the columns lack; a row that is no record is a value.
    pub(super) fn add(&mut self, row: &[u8]) -> Result<(), EncodeError> {
        if row.first() == Some(&b'{') {
            for (name, _) in json::members(row)? {
                if !self.places.contains_key(&*name) {
                    self.push(name.into_owned());
                }
            }
        } else if self.names.is_empty() {
            self.push(VALUE.to_owned());
        }
        Ok(())
    }

    fn push(&mut self, name: String) {
        self.places.insert(name.clone(), self.names.len());
        self.names.push(name);
    }
}

/// Appends a value as a whole table: a record as a header and a row, anything else as a column of values.
pub(super) fn push_table(text: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut columns = Columns::default();
    columns.add(text)?;
    push_header(&columns, out);
    match text.first() {
        Some(b'[') => json::items(text)?
            .iter()
            .try_for_each(|item| push_row(&columns, item.get().as_bytes(), out)),
        _ => push_row(&columns, text, out),
    }
}

/// Appends the line of names.
pub(super) fn push_header(columns: &Columns, out: &mut Vec<u8>) {
    for (index, column) in columns.names.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_quoted(column, out);
    }
    out.extend_from_slice(LINE_END);
}

/// Appends a record, or an array of cells, or a single value, as a line.
pub(super) fn push_row(
    columns: &Columns,
    row: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match row.first() {
        Some(b'{') => push_record(columns, row, out)?,
        Some(b'[') => {
            for (index, item) in json::items(row)?.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_cell(item.get(), out);
            }
        }
        _ => push_cell(std::str::from_utf8(row)?, out),
    }
    out.extend_from_slice(LINE_END);
    Ok(())
}

fn push_record(columns: &Columns, row: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut cells = vec![None; columns.len()];
    for (name, value) in json::members(row)? {
        if let Some(cell) = columns.places.get(&*name).and_then(|place| cells.get_mut(*place)) {
            cell.get_or_insert(value.get());
        }
    }
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_cell(cell.unwrap_or("null"), out);
    }
    Ok(())
}

fn push_cell(value: &str, out: &mut Vec<u8>) {
    match value.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<String>(value) {
            Ok(text) => push_quoted(&text, out),
            Err(_) => push_quoted(value, out),
        },
        Some(b'{' | b'[') => push_quoted(value, out),
        _ if value == "null" => {}
        _ => out.extend_from_slice(value.as_bytes()),
    }
}

fn push_quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for (index, part) in text.split('"').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'"');
}

/// A CSV body, which begins with a header, as JSON text: an array of the rows, or the one row that is asked for. Empty
/// cells are left out.
///
/// # Errors
/// 400 with the line; 413 when the JSON would be larger than `limits` allow.
pub(super) fn to_json(
    schema: &TableSchema,
    shape: Shape,
    limits: Limits,
    body: &[u8],
) -> Answer<Vec<u8>> {
    let wrong = |error: csv::Error| invalid(format!("The body is not valid CSV: {error}"));
    let mut reader = csv::Reader::from_reader(body);
    let names = reader.headers().map_err(wrong)?.clone();
    let columns: Vec<_> = names.iter().map(|name| (name, cell::kind_of(schema, name))).collect();
    let mut out = vec![b'['];
    let mut rows = 0;
    for row in reader.records() {
        if rows > 0 {
            out.push(b',');
        }
        rows += 1;
        let row = row.map_err(wrong)?;
        let cells = columns.iter().zip(&row).filter(|(_, text)| !text.is_empty());
        json::push_all(cells, (b'{', b'}'), &mut out, |((name, kind), text), out| {
            json::push_string(name, out);
            out.push(b':');
            cell::push(kind, text, out);
            Ok(())
        })?;
        limits.check(out.len())?;
    }
    out.push(b']');
    match shape {
        Shape::Many => Ok(out),
        Shape::One if rows == 1 => Ok(out[1..out.len() - 1].to_vec()),
        Shape::One => Err(invalid(format!("One record is expected, and the body has {rows} rows"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harper_store::{Attribute, Kind};

    fn schema() -> TableSchema {
        TableSchema::new(
            "data",
            "T",
            vec![
                Attribute::new("id", Kind::Id),
                Attribute::new("n", Kind::Int),
                Attribute::new("text", Kind::String),
            ],
        )
    }

    const LIMITS: Limits = Limits { parts_max: 10, json_bytes_max: 1000 };

    fn read(body: &str) -> Result<String, String> {
        to_json(&schema(), Shape::Many, LIMITS, body.as_bytes())
            .map(|json| String::from_utf8(json).unwrap())
            .map_err(|failure| failure.message.into_owned())
    }

    #[test]
    fn rows_are_typed_by_the_schema() {
        assert_eq!(
            read("\u{feff}id,n,text,other\r\n1,5,\"a \"\"b\"\"\nc\",{}\r\n2,,7,\r\n").unwrap(),
            r#"[{"id":"1","n":5,"text":"a \"b\"\nc","other":{}},{"id":"2","text":"7"}]"#
        );
        assert_eq!(read("id,n\n").unwrap(), "[]");
        assert!(read("id,n\n1\n").unwrap_err().contains("line: 2"));
        let long = format!("{}\n{}", "x".repeat(900), "1\n".repeat(9));
        assert!(read(&long).unwrap_err().contains("more than 1000 bytes"));
    }

    #[test]
    fn a_record_needs_one_row() {
        let one = |body: &[u8]| to_json(&schema(), Shape::One, LIMITS, body);
        assert_eq!(one(b"n\n5\n").unwrap(), br#"{"n":5}"#);
        assert!(one(b"n\n5\n6\n").unwrap_err().message.contains("2 rows"));
    }

    #[test]
    fn a_wide_table_takes_a_time_that_grows_with_its_size() {
        let members: Vec<_> = (0..200_000).map(|at| format!("\"member{at}\":{at}")).collect();
        let record = format!("{{{}}}", members.join(","));
        let begun = std::time::Instant::now();
        let mut out = Vec::new();
        push_table(record.as_bytes(), &mut out).unwrap();
        assert!(out.ends_with(b",199998,199999\r\n"));
        // looking each name up among all the others took minutes
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn any_value_is_a_table() {
        let table = |text: &str| {
            let mut out = Vec::new();
            push_table(text.as_bytes(), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            table(r#"{"a":"x \"y\"","b":null,"c":[1]}"#),
            "\"a\",\"b\",\"c\"\r\n\"x \"\"y\"\"\",,\"[1]\"\r\n"
        );
        assert_eq!(table("true"), "\"value\"\r\ntrue\r\n");
        assert_eq!(table(r#"["a","b"]"#), "\"value\"\r\n\"a\"\r\n\"b\"\r\n");
    }
}
