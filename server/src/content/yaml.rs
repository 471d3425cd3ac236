//! YAML 1.2 (RFC 9512), the part of it that JSON has.

use super::body::{DEPTH_MAX, Limits, invalid, too_deep};
use super::typed::Typed;
use super::{EncodeError, json};
use crate::error::{Answer, Failure};
use granit_parser::{Event, Options, Parser, ScalarStyle, StrInput, Tag};
use std::collections::HashMap;
use std::ops::Range;

/// Nodes of a body that may have a name of their own.
const ANCHORS_MAX: usize = 10_000;

/// Appends a value as one document without a marker.
pub(super) fn push(value: &Typed<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    Ok(serde_yaml::to_writer(out, value)?)
}

/// Appends a value as one item of a block sequence; items after one another are a list.
pub(super) fn push_item(value: &Typed<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    Ok(serde_yaml::to_writer(out, &[value])?)
}

/// A YAML body as JSON text.
///
/// # Errors
/// 400 with what is wrong and its line; 413 beyond `limits`.
pub(super) fn to_json(limits: Limits, body: &[u8]) -> Answer<Vec<u8>> {
    let text = std::str::from_utf8(body).map_err(|error| {
        invalid(format!("The body is not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let mut options = Options::default();
    options.set_emit_comments(false);
    let parser = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader {
        parser,
        limits,
        out: Vec::with_capacity(body.len()),
        anchors: HashMap::new(),
        line: 1,
    };
    let mut documents = 0;
    loop {
        match reader.next()? {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) if documents > 0 => {
                return Err(reader.wrong("a second document begins"));
            }
            Event::DocumentStart(..) => documents += 1,
            node => reader.node(node, 0)?,
        }
    }
    if documents == 0 {
        reader.out.extend_from_slice(b"null");
    }
    limits.check(reader.out.len())?;
    Ok(reader.out)
}

/// Writes nodes as JSON while it reads them, so that no more than the text is held.
struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    limits: Limits,
    out: Vec<u8>,
    /// Where the text of each node is that an alias may stand for.
    anchors: HashMap<usize, Range<usize>>,
    line: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Answer<Event<'t>> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok(event)
            }
            Some(Err(error)) => Err(invalid(format!("The body is not valid YAML: {error}"))),
            None => Ok(Event::StreamEnd),
        }
    }

    fn wrong(&self, what: &str) -> Box<Failure> {
        invalid(format!("The body is not valid YAML: {what} at line {}", self.line))
    }

    fn node(&mut self, event: Event<'t>, depth: usize) -> Answer<()> {
        self.limits.check(self.out.len())?;
        let start = self.out.len();
        let anchor = event.anchor_id();
        match event {
            Event::Scalar(text, style, _, tag) => self.scalar(&text, style, tag.as_deref())?,
            Event::SequenceStart(_, _, tag) => {
                self.check_tag(tag.as_deref(), "seq")?;
                self.items(depth)?;
            }
            Event::MappingStart(_, _, tag) => {
                self.check_tag(tag.as_deref(), "map")?;
                self.members(depth)?;
            }
            Event::Alias(anchor) => {
                let Some(place) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.wrong("an alias stands for what it is in"));
                };
                self.limits.check(self.out.len() + place.len())?;
                self.out.extend_from_within(place);
            }
            _ => return Err(self.wrong("a value is missing")),
        }
        if let Some(anchor) = anchor {
            if self.anchors.len() == ANCHORS_MAX {
                return Err(self.wrong(&format!("there are more than {ANCHORS_MAX} anchors")));
            }
            self.anchors.insert(anchor, start..self.out.len());
        }
        Ok(())
    }

    fn items(&mut self, depth: usize) -> Answer<()> {
        if depth == DEPTH_MAX {
            return Err(too_deep());
        }
        self.out.push(b'[');
        let mut is_first = true;
        loop {
            let event = self.next()?;
            if event == Event::SequenceEnd {
                break;
            }
            if !std::mem::take(&mut is_first) {
                self.out.push(b',');
            }
            self.node(event, depth + 1)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn members(&mut self, depth: usize) -> Answer<()> {
        if depth == DEPTH_MAX {
            return Err(too_deep());
        }
        self.out.push(b'{');
        let mut is_first = true;
        loop {
            let event = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            if !std::mem::take(&mut is_first) {
                self.out.push(b',');
            }
            let Event::Scalar(name, ..) = event else {
                return Err(self.wrong("a member's name is not plain text"));
            };
            json::push_string(&name, &mut self.out);
            self.out.push(b':');
            let value = self.next()?;
            self.node(value, depth + 1)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Answer<()> {
        // a tag of `!` alone says that it is text (YAML 1.2.2 §6.9.1)
        let is_text =
            tag.is_some_and(|tag| tag.original() == "!" || tag.is_yaml_core_schema_tag("str"));
        let plain = match tag {
            _ if is_text => Plain::Text,
            None if style == ScalarStyle::Plain => Plain::of(text),
            None => Plain::Text,
            Some(tag) => {
                let plain = Plain::of(text);
                let is_known = ["null", "bool", "int", "float"]
                    .into_iter()
                    .any(|name| tag.is_yaml_core_schema_tag(name));
                if !is_known || matches!(plain, Plain::Text) {
                    return Err(self.wrong(&format!("{text:?} is no value of its tag")));
                }
                plain
            }
        };
        match plain {
            Plain::Null => self.out.extend_from_slice(b"null"),
            Plain::Bool(value) => self.out.extend_from_slice(value.to_string().as_bytes()),
            Plain::Number(number) => self.out.extend_from_slice(number.as_bytes()),
            Plain::NotFinite => {
                return Err(self.wrong(&format!("{text} is a number that JSON does not have")));
            }
            Plain::Text => json::push_string(text, &mut self.out),
        }
        Ok(())
    }

    fn check_tag(&self, tag: Option<&Tag>, name: &str) -> Answer<()> {
        match tag.filter(|tag| !tag.is_yaml_core_schema_tag(name)) {
            Some(tag) => Err(self.wrong(&format!("the tag {} is not known here", tag.original()))),
            None => Ok(()),
        }
    }
}

/// What a scalar without quotes is, by the core schema (YAML 1.2.2 §10.3.2).
#[derive(Debug, PartialEq)]
enum Plain {
    Null,
    Bool(bool),
    /// As JSON writes it, with all its digits.
    Number(String),
    /// Infinity, or none.
    NotFinite,
    Text,
}

impl Plain {
    fn of(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            ".nan" | ".NaN" | ".NAN" => return Self::NotFinite,
            _ => {}
        }
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
            return Self::NotFinite;
        }
        number(text.starts_with('-'), unsigned).map_or(Self::Text, Self::Number)
    }
}

/// A number of the core schema as JSON. One that begins with a zero too many is text, as in `007`.
fn number(is_negative: bool, text: &str) -> Option<String> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix).filter(|digits| !digits.starts_with('+')) {
            return u128::from_str_radix(digits, radix).ok().map(|number| number.to_string());
        }
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !whole.is_empty() || fraction.is_some_and(|digits| !digits.is_empty());
    let has_zeros = whole.len() > 1 && whole.starts_with('0');
    if !has_digits || has_zeros || !is_digits(whole) || !fraction.is_none_or(is_digits) {
        return None;
    }
    let mut json = String::from(if is_negative { "-" } else { "" });
    json.push_str(if whole.is_empty() { "0" } else { whole });
    if let Some(fraction) = fraction {
        json.push('.');
        json.push_str(if fraction.is_empty() { "0" } else { fraction });
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits.is_empty() || !is_digits(digits) {
            return None;
        }
        json.push('e');
        json.push_str(exponent);
    }
    Some(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::typed;
    use crate::error::Code;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { parts_max: 1, json_bytes_max: 2000 };

    fn message(text: &str) -> String {
        to_json(LIMITS, text.as_bytes()).unwrap_err().message.into_owned()
    }

    #[test]
    fn values_survive_the_round_trip() {
        for json in [
            r#"{"id":"1","yes":"yes","no":false,"n":-7,"f":1.5,"text":"a: b\n- c","list":[1,[2],{}]}"#,
            r#"{"a":null,"empty":"","number":"007","date":"2026-01-02"}"#,
            r#"{"infinite":".inf","null":"null","tilde":"~","hex":"0x1F","e":"1e5","bool":"True"}"#,
        ] {
            let mut out = Vec::new();
            push(&typed::value(None, json.as_bytes()).unwrap(), &mut out).unwrap();
            assert_eq!(String::from_utf8(to_json(LIMITS, &out).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn big_integers_survive_the_round_trip() {
        for digits in ["123456789012345678901234567890", "-123456789012345678901234567890"] {
            let mut out = Vec::new();
            push(&Typed::Array(vec![Typed::Big(digits)]), &mut out).unwrap();
            assert_eq!(to_json(LIMITS, &out).unwrap(), format!("[{digits}]").as_bytes());
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{},", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
        }
        assert_eq!(to_json(LIMITS, text.as_bytes()).unwrap_err().code, Code::BodyTooLarge);
        assert!(message("a: [1\nb: 2").contains("line"));
    }

    #[test]
    fn plain_scalars_are_what_the_core_schema_says() {
        let number = |text: &str| Plain::Number(text.to_owned());
        for (text, plain) in [
            ("", Plain::Null),
            ("~", Plain::Null),
            ("TRUE", Plain::Bool(true)),
            ("yes", Plain::Text),
            ("-7", number("-7")),
            ("+7", number("7")),
            ("0", number("0")),
            ("007", Plain::Text),
            ("0x1F", number("31")),
            ("0o17", number("15")),
            ("0x", Plain::Text),
            ("1.50", number("1.50")),
            ("-.5", number("-0.5")),
            ("1.", number("1.0")),
            ("1e+9", number("1e+9")),
            (".5e-3", number("0.5e-3")),
            (".", Plain::Text),
            ("-", Plain::Text),
            ("e5", Plain::Text),
            ("1e", Plain::Text),
            ("1_000", Plain::Text),
            ("1.2.3", Plain::Text),
            ("2026-01-02", Plain::Text),
            ("-.inf", Plain::NotFinite),
            (".NaN", Plain::NotFinite),
            (
                "123456789012345678901234567890123456789012345",
                number("123456789012345678901234567890123456789012345"),
            ),
        ] {
            assert_eq!(Plain::of(text), plain, "{text}");
            if let Plain::Number(json) = Plain::of(text) {
                assert!(serde_json::from_str::<f64>(&json).is_ok(), "{text}: {json}");
            }
        }
    }

    #[test]
    fn nodes_are_written_as_json() {
        for (yaml, json) in [
            ("", "null"),
            ("# nothing\n", "null"),
            ("a: 1\nb:\n- x\n- {c: 2, d: }\n", r#"{"a":1,"b":["x",{"c":2,"d":null}]}"#),
            ("a: &x [1]\nb: *x\n", r#"{"a":[1],"b":[1]}"#),
            ("a: '1'\nb: |\n  two\n  lines\n", r#"{"a":"1","b":"two\nlines\n"}"#),
            (
                "a: !!str 1\nb: !!int '2'\nc: ! 3\nd: !!seq []\n",
                r#"{"a":"1","b":2,"c":"3","d":[]}"#,
            ),
            ("1: a\ntrue: b\n", r#"{"1":"a","true":"b"}"#),
            ("- 1\n-\n- two # three\n", r#"[1,null,"two"]"#),
            ("---\n{}\n...\n", "{}"),
            ("\u{feff}a: 1\n", r#"{"a":1}"#),
        ] {
            let read = to_json(LIMITS, yaml.as_bytes()).map_err(|failure| failure.message);
            assert_eq!(
                read.map(|json| String::from_utf8(json).unwrap()),
                Ok(json.into()),
                "{yaml}"
            );
        }
    }

    #[test]
    fn what_json_does_not_have_is_refused_with_its_line() {
        for (yaml, part) in [
            ("a: 1\nb: .inf\n", ".inf is a number that JSON does not have at line 2"),
            ("a: [-.INF]\n", "JSON does not have"),
            ("a: .nan\n", "JSON does not have"),
            ("? [a]\n: 1\n", "name is not plain text"),
            ("a: !x 1\n", "no value of its tag"),
            ("a: !!int x\n", "no value of its tag"),
            ("a: !x [1]\n", "the tag !x is not known"),
            ("a: &a [*a]\n", "stands for what it is in"),
            ("a: *b\n", "not valid YAML"),
            ("a: 1\n---\nb: 2\n", "second document"),
            ("a: 1\na: [\n", "line"),
        ] {
            let message = message(yaml);
            assert!(message.contains(part), "{yaml}: {message}");
        }
        let deep = ["[".repeat(100), "]".repeat(100)].concat();
        assert!(message(&deep).contains("deeper than 64"));
        let anchors: String = (0..=ANCHORS_MAX).map(|at| format!("- &a{at}\n")).collect();
        let limits = Limits { parts_max: 1, json_bytes_max: 1 << 20 };
        let refused = to_json(limits, anchors.as_bytes()).unwrap_err();
        assert!(refused.message.contains("more than 10000 anchors"), "{}", refused.message);
    }

    proptest! {
        #[test]
        fn any_text_is_json_or_refused(text in "[-?:,&*!|>'\"%\\[\\]{}#a0. \n]{0,40}") {
            if let Ok(json) = to_json(LIMITS, text.as_bytes()) {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
            }
        }
    }
}
