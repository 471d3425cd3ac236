//! A list of values in a format, made record by record, so that it can be sent as it is made.

use super::{EncodeError, Format, csv, form, msgpack, text, typed, yaml};
use crate::error::{Answer, Code, Failure};
use harper_store::TableSchema;
use std::sync::Arc;

/// Columns that the records of a list may have beyond those that are declared: each is a comma in every row.
const OTHER_COLUMNS_MAX: usize = 1000;

/// The columns of a CSV list.
#[derive(Clone, Debug)]
pub(crate) enum Columns {
    /// Exactly these.
    Selected(Vec<String>),
    /// These, then others of the records that are pushed before the first [`List::take`].
    Declared(Vec<String>),
}

/// A list under way.
pub(crate) struct List {
    format: Format,
    schema: Arc<TableSchema>,
    /// What has been written and not been taken.
    out: Vec<u8>,
    count: u32,
    /// CSV: the columns, once they are known; until then the rows wait.
    columns: csv::Columns,
    /// Whether the columns are as they were given.
    is_selected: bool,
    is_begun: bool,
    waiting: Vec<Box<[u8]>>,
}

impl List {
    /// An empty list; only CSV needs to know its columns.
    #[must_use]
    pub(crate) fn new(format: Format, schema: Arc<TableSchema>, columns: Option<Columns>) -> Self {
        let (is_selected, columns) = match columns {
            Some(Columns::Selected(names)) => (true, names),
            Some(Columns::Declared(names)) => (false, names),
            None => (false, Vec::new()),
        };
        let (out, waiting, columns) = (Vec::new(), Vec::new(), csv::Columns::new(columns));
        Self { format, schema, out, count: 0, columns, is_selected, is_begun: false, waiting }
    }

    /// Appends a value, which is JSON text; when it is a record, or a part of one, `is_record` gives its members the
    /// types of the schema.
    ///
    /// # Errors
    /// 500 when the text is not JSON.
    pub(crate) fn push(&mut self, is_record: bool, value: &[u8]) -> Answer<()> {
        let encoded = self.append(is_record, value);
        self.count += 1;
        encoded.map_err(|error| Failure::internal("a record could not be written", &error))
    }

    fn append(&mut self, is_record: bool, value: &[u8]) -> Result<(), EncodeError> {
        let is_first = self.count == 0;
        let out = &mut self.out;
        let schema = is_record.then_some(&*self.schema);
        match self.format {
            Format::Json => {
                out.push(if is_first { b'[' } else { b',' });
                out.extend_from_slice(value);
            }
            Format::NdJson => {
                out.extend_from_slice(value);
                out.push(b'\n');
            }
            Format::Cbor => {
                if is_first {
                    // an array of indefinite length, RFC 8949 §3.2.2
                    out.push(0x9f);
                }
                super::cbor::push(typed::value(schema, value)?, out)?;
            }
            Format::MsgPack => msgpack::push(&typed::value(schema, value)?, out)?,
            Format::Yaml => yaml::push_item(&typed::value(schema, value)?, out)?,
            Format::Text => {
                text::push(value, out);
                out.push(b'\n');
            }
            Format::Csv if self.is_begun => {
                csv::push_row(&self.columns, value, out)?;
            }
            Format::Csv => self.waiting.push(value.into()),
            Format::Form => {
                if !is_first {
                    out.push(b'&');
                }
                form::push(value, out)?;
            }
        }
        Ok(())
    }

    /// Bytes that are held until the list is whole: MessagePack begins with the number of items.
    #[must_use]
    pub(crate) fn held_bytes(&self) -> usize {
        if self.format == Format::MsgPack { self.out.len() } else { 0 }
    }

    /// What can be sent now; `is_last` ends the list. Nothing comes before the first value.
    ///
    /// # Errors
    /// 400 for a table with too many columns; 500 when a waiting row is not JSON.
    pub(crate) fn take(&mut self, is_last: bool) -> Answer<Vec<u8>> {
        if self.format == Format::Csv && !self.is_begun && (is_last || !self.waiting.is_empty()) {
            self.begin_table()?;
        }
        if is_last {
            return Ok(self.end());
        }
        Ok(if self.format == Format::MsgPack { Vec::new() } else { std::mem::take(&mut self.out) })
    }

    fn begin_table(&mut self) -> Answer<()> {
        let rows = std::mem::take(&mut self.waiting);
        let damaged = |error| Failure::internal("a record could not be written", &error);
        let columns_max = self.columns.len() + OTHER_COLUMNS_MAX;
        for row in rows.iter().filter(|_| !self.is_selected) {
            self.columns.add(row).map_err(damaged)?;
            if self.columns.len() > columns_max {
                let sentence = format!(
                    "The records have more than {OTHER_COLUMNS_MAX} attributes that are not declared, each a \
                     column of CSV: name some with select( ), or ask for another type"
                );
                return Err(Failure::new(Code::InvalidQuery, sentence));
            }
        }
        csv::push_header(&self.columns, &mut self.out);
        self.is_begun = true;
        let mut rows = rows.iter();
        rows.try_for_each(|row| csv::push_row(&self.columns, row, &mut self.out)).map_err(damaged)
    }

    fn end(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.out);
        let is_empty = self.count == 0;
        match self.format {
            Format::Json if is_empty => out.extend_from_slice(b"[]"),
            Format::Json => out.push(b']'),
            Format::Cbor if is_empty => out.extend_from_slice(&[0x9f, 0xff]),
            Format::Cbor => out.push(0xff),
            Format::MsgPack => {
                let mut whole = msgpack::array_head(self.count);
                whole.append(&mut out);
                out = whole;
            }
            Format::Yaml if is_empty => out.extend_from_slice(b"[]\n"),
            Format::Yaml | Format::NdJson | Format::Text | Format::Csv | Format::Form => {}
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harper_store::{Attribute, Kind};

    fn schema() -> Arc<TableSchema> {
        Arc::new(TableSchema::new(
            "data",
            "T",
            vec![Attribute::new("id", Kind::Id), Attribute::new("n", Kind::Int)],
        ))
    }

    /// The list in two parts, the first of which is taken after `first` values.
    fn list(format: Format, values: &[&str], first: usize) -> (Vec<u8>, Vec<u8>) {
        let declared = Columns::Declared(vec!["id".into(), "n".into()]);
        let mut list = List::new(format, schema(), Some(declared));
        for value in &values[..first] {
            list.push(true, value.as_bytes()).unwrap();
        }
        let begin = list.take(false).unwrap();
        for value in &values[first..] {
            list.push(true, value.as_bytes()).unwrap();
        }
        (begin, list.take(true).unwrap())
    }

    #[test]
    fn a_list_is_the_same_in_one_part_and_in_two() {
        let values = [r#"{"id":"a","n":1}"#, r#"{"id":"b"}"#, r#"{"id":"c","n":-3}"#];
        let cases: [(Format, &[u8]); 7] = [
            (Format::Json, br#"[{"id":"a","n":1},{"id":"b"},{"id":"c","n":-3}]"#),
            (Format::NdJson, b"{\"id\":\"a\",\"n\":1}\n{\"id\":\"b\"}\n{\"id\":\"c\",\"n\":-3}\n"),
            (
                Format::Cbor,
                b"\x9f\xa2\x62id\x61a\x61n\x01\xa1\x62id\x61b\xa2\x62id\x61c\x61n\x22\xff",
            ),
            (
                Format::MsgPack,
                b"\x93\x82\xa2id\xa1a\xa1n\x01\x81\xa2id\xa1b\x82\xa2id\xa1c\xa1n\xfd",
            ),
            (Format::Yaml, b"- id: a\n  n: 1\n- id: b\n- id: c\n  n: -3\n"),
            (Format::Csv, b"\"id\",\"n\"\r\n\"a\",1\r\n\"b\",\r\n\"c\",-3\r\n"),
            (Format::Form, b"id=a&n=1&id=b&id=c&n=-3"),
        ];
        for (format, expected) in cases {
            for first in 0..=3 {
                let (begin, end) = list(format, &values, first);
                assert_eq!(first == 0 || format == Format::MsgPack, begin.is_empty());
                assert_eq!([begin, end].concat(), expected, "{format:?} {first}");
            }
        }
    }

    #[test]
    fn an_empty_list_is_a_list() {
        let empty = |format| list(format, &[], 0).1;
        assert_eq!(empty(Format::Json), b"[]");
        assert_eq!(empty(Format::Cbor), b"\x9f\xff");
        assert_eq!(empty(Format::MsgPack), b"\x90");
        assert_eq!(empty(Format::Yaml), b"[]\n");
        assert_eq!(empty(Format::Csv), b"\"id\",\"n\"\r\n");
        assert_eq!(empty(Format::NdJson), b"");
    }

    #[test]
    fn others_of_the_first_rows_are_columns_too() {
        let values = [r#"{"id":"a","x":"1"}"#, r#"{"id":"b","n":2,"y":{"z":1}}"#];
        let (begin, end) = list(Format::Csv, &values, 2);
        let expected =
            "\"id\",\"n\",\"x\",\"y\"\r\n\"a\",,\"1\",\r\n\"b\",2,,\"{\"\"z\"\":1}\"\r\n";
        assert_eq!(String::from_utf8([begin, end].concat()).unwrap(), expected);
    }
}
