//! JSON read without building values.
//!
//! Text from outside is parsed by serde_json and written out compact, once. What is compact and
//! stored is trusted, so the scanners here only look for where a member ends; on damaged bytes they
//! stop early and never panic.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::Invalid;

/// Levels of arrays and objects in a body, the outermost included.
pub(crate) const DEPTH_MAX: usize = 64;

/// Members that a body may have: each takes many times the room of its text while it is looked at.
pub(crate) const MEMBERS_MAX: usize = 100_000;

/// Characters of a value that are shown in a message.
const SHOWN_CHARS_MAX: usize = 60;

/// The members of one object, as written, at most `MAX`; of repeated names the last value counts.
pub(crate) struct Object<'a, const MAX: usize = { usize::MAX }>(pub(crate) Vec<Member<'a>>);

impl<'de, const MAX: usize> Deserialize<'de> for Object<'de, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<const MAX: usize>;
        impl<'de, const MAX: usize> Visitor<'de> for Members<MAX> {
            type Value = Object<'de, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    if members.len() == MAX {
                        return Err(de::Error::custom("too many members"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members::<MAX>)
    }
}

/// A member's name, borrowed when it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// One member of an object: its name, and its value as the text that was written.
pub type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// The members of a JSON object in the order written, such as those of a record's body.
///
/// # Errors
/// The text is not one JSON object.
pub fn members(object: &[u8]) -> Result<Vec<Member<'_>>, serde_json::Error> {
    serde_json::from_slice::<Object<'_>>(object).map(|Object(members)| members)
}

/// Parses a body that must be one object.
pub(crate) fn object(body: &[u8]) -> Result<Object<'_, MEMBERS_MAX>, Invalid> {
    let text = std::str::from_utf8(body).map_err(|_| Invalid::NotUtf8)?;
    let found = match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') => return serde_json::from_str(text).map_err(|error| syntax(&error)),
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    };
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Err(Invalid::NotAnObject { found }),
        Err(error) => Err(syntax(&error)),
    }
}

fn syntax(error: &serde_json::Error) -> Invalid {
    // the text itself is JSON
    if error.is_data() {
        return Invalid::TooManyMembers { max: MEMBERS_MAX };
    }
    let (line, column) = (error.line(), error.column());
    let mut message = error.to_string();
    if let Some(end) = message.find(&format!(" at line {line} column {column}")) {
        message.truncate(end);
    }
    Invalid::Syntax { message, line, column }
}

/// Appends a parsed value without the white space around its tokens.
///
/// # Errors
/// [`Invalid::TooDeep`] beyond [`DEPTH_MAX`], counting from `depth`; [`Invalid::Syntax`] for an
/// escaped surrogate without its other half, which stands for no character;
/// [`Invalid::NumberRange`] for a number that others could not read (RFC 8259 §6).
pub(crate) fn push_compact(out: &mut Vec<u8>, text: &str, depth: usize) -> Result<(), Invalid> {
    let bytes = text.as_bytes();
    let (mut at, mut copied, mut depth) = (0, 0, depth);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = skip_string(bytes, at);
                check_surrogates(&bytes[at..end])?;
                at = end;
                continue;
            }
            b'-' | b'0'..=b'9' => {
                let end = skip_number(bytes, at);
                check_number(&text[at..end])?;
                at = end;
                continue;
            }
            b'{' | b'[' if depth >= DEPTH_MAX => return Err(Invalid::TooDeep { max: DEPTH_MAX }),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b' ' | b'\t' | b'\n' | b'\r' => {
                out.extend_from_slice(&bytes[copied..at]);
                copied = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    out.extend_from_slice(&bytes[copied..]);
    Ok(())
}

/// Digits that every double has.
const DOUBLE_DIGITS: usize = f64::MAX_10_EXP as usize;

fn check_number(number: &str) -> Result<(), Invalid> {
    // without an exponent it takes that many digits to be too large
    let suspect = number.len() > DOUBLE_DIGITS || number.contains(['e', 'E']);
    if suspect && !number.parse().is_ok_and(f64::is_finite) {
        return Err(Invalid::NumberRange { number: shortened(number).to_owned() });
    }
    Ok(())
}

fn check_surrogates(string: &[u8]) -> Result<(), Invalid> {
    let suspect = string.contains(&b'\\') && string.windows(2).any(|pair| pair == b"\\u");
    if suspect && serde_json::from_slice::<String>(string).is_err() {
        let message = format!(
            "the string {} has half of a surrogate pair",
            shortened(&String::from_utf8_lossy(string))
        );
        return Err(Invalid::Syntax { message, line: 1, column: 1 });
    }
    Ok(())
}

/// A name as it stands between the quotes of a stored member.
pub(crate) fn escaped(name: &str) -> Box<[u8]> {
    let quoted = quoted(name).into_bytes();
    quoted[1..quoted.len() - 1].into()
}

/// The name that stands between the quotes of a stored member.
pub(crate) fn unescaped(name: &[u8]) -> Cow<'_, str> {
    let quoted = || [b"\"", name, b"\""].concat();
    match std::str::from_utf8(name) {
        Ok(plain) if !name.contains(&b'\\') => Cow::Borrowed(plain),
        _ => Cow::Owned(serde_json::from_slice(&quoted()).unwrap_or_default()),
    }
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A finite number as JSON.
pub(crate) fn number_text(number: f64) -> String {
    serde_json::Value::from(number).to_string()
}

/// The number that JSON text is, `None` if it is none.
pub(crate) fn number(raw: &[u8]) -> Option<f64> {
    if !matches!(raw.first()?, b'-' | b'0'..=b'9') {
        return None;
    }
    std::str::from_utf8(raw).ok()?.parse().ok()
}

/// The text of a JSON string, `None` if `raw` is none.
pub(crate) fn string(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        return serde_json::from_slice::<String>(raw).ok().map(Cow::Owned);
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

/// A value cut to what a message can show.
pub(crate) fn shortened(raw: &str) -> &str {
    raw.char_indices().nth(SHOWN_CHARS_MAX).map_or(raw, |(end, _)| &raw[..end])
}

/// Members of a compact object: name as between the quotes, and value.
pub(crate) struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Members<'a> {
    /// Members of a whole object.
    pub(crate) fn of(body: &'a [u8]) -> Members<'a> {
        Members::inside(body.strip_prefix(b"{").and_then(|b| b.strip_suffix(b"}")).unwrap_or(b""))
    }

    /// Members that stand without braces around them.
    pub(crate) fn inside(bytes: &'a [u8]) -> Members<'a> {
        Members { bytes, at: 0 }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let name_end = skip_string(self.bytes, self.at);
        let name = self.bytes.get(self.at + 1..name_end.checked_sub(1)?)?;
        let value_end = skip_value(self.bytes, name_end + 1);
        let value = self.bytes.get(name_end + 1..value_end)?;
        self.at = value_end + 1;
        Some((name, value))
    }
}

/// Elements of a compact array.
pub(crate) struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Elements<'a> {
    /// Elements of `raw`, none if it is no array.
    pub(crate) fn of(raw: &'a [u8]) -> Elements<'a> {
        let bytes = raw.strip_prefix(b"[").and_then(|b| b.strip_suffix(b"]")).unwrap_or(b"");
        Elements { bytes, at: 0 }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let end = skip_value(self.bytes, self.at);
        let element = self.bytes.get(self.at..end)?;
        self.at = end + 1;
        Some(element)
    }
}

/// Takes the values of several members out of a compact object in one pass.
pub(crate) fn extract<'a>(body: &'a [u8], names: &[Box<[u8]>], values: &mut Vec<Option<&'a [u8]>>) {
    values.clear();
    values.resize(names.len(), None);
    let mut missing = names.len();
    if missing == 0 {
        return;
    }
    for (name, value) in Members::of(body) {
        if let Some(at) = names.iter().position(|wanted| **wanted == *name) {
            values[at] = Some(value);
            missing -= 1;
            if missing == 0 {
                return;
            }
        }
    }
}

/// Position after the string that begins at `at`.
fn skip_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(step) =
        bytes.get(at..).and_then(|rest| rest.iter().position(|byte| matches!(byte, b'"' | b'\\')))
    {
        at += step + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

/// Position after the number that begins at `at`.
fn skip_number(bytes: &[u8], at: usize) -> usize {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    at + bytes[at..].iter().take_while(|byte| is_part(byte)).count()
}

/// Position after the value that begins at `at`.
fn skip_value(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => skip_string(bytes, at),
        Some(b'{' | b'[') => skip_nested(bytes, at),
        Some(_) => {
            let rest = bytes[at..].iter();
            let end = rest.clone().position(|byte| matches!(byte, b',' | b'}' | b']'));
            end.map_or(bytes.len(), |length| at + length)
        }
        None => bytes.len(),
    }
}

fn skip_nested(bytes: &[u8], at: usize) -> usize {
    let (mut at, mut depth) = (at, 0usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = skip_string(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return at + 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_keep_their_exact_text() {
        let object = br#"{"a":1.50,"b\u0041":{"c":[1, 2]},"n":123456789012345678901234567890}"#;
        let members = members(object).unwrap();
        let texts: Vec<_> =
            members.iter().map(|(name, value)| (name.as_ref(), value.get())).collect();
        assert_eq!(texts[..2], [("a", "1.50"), ("bA", r#"{"c":[1, 2]}"#)]);
        assert_eq!(texts[2], ("n", "123456789012345678901234567890"));
        assert!(super::members(b"[1]").is_err());
    }

    fn compact(text: &str) -> Result<String, Invalid> {
        let mut out = Vec::new();
        push_compact(&mut out, text, 0)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "\\PC{0,6}|[\"\\\\{}\\[\\],: \n]{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::hash_map("[a-c\"\\\\]{0,3}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn pretty_text_compacts_to_the_same_value(value in value()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&pretty).unwrap(), value.to_string());
        }

        #[test]
        fn scanners_find_what_serde_finds(value in value()) {
            let text = value.to_string();
            if let Some(object) = value.as_object() {
                let found: Vec<_> = Members::of(text.as_bytes()).collect();
                prop_assert_eq!(found.len(), object.len());
                for ((name, raw), (key, value)) in found.into_iter().zip(object) {
                    prop_assert_eq!(name, &*escaped(key));
                    let value = value.to_string();
                    prop_assert_eq!(raw, value.as_bytes());
                }
            }
            if let Some(array) = value.as_array() {
                let found: Vec<_> = Elements::of(text.as_bytes()).collect();
                let all: Vec<_> = array.iter().map(|value| value.to_string()).collect();
                prop_assert_eq!(found, all.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
            }
        }

        #[test]
        fn scanners_survive_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(Members::of(&bytes).count() <= bytes.len());
            prop_assert!(Elements::of(&bytes).count() <= bytes.len());
            prop_assert!(Members::inside(&bytes).count() <= bytes.len());
        }
    }

    #[test]
    fn syntax_errors_carry_their_position() {
        let error = object(b"{\"a\": 1,\n \"b\": }").err().unwrap();
        let Invalid::Syntax { message, line, column } = error else { panic!("{error}") };
        assert_eq!((message.as_str(), line, column), ("expected value", 2, 7));
        assert_eq!(object(b" [1]").err(), Some(Invalid::NotAnObject { found: "an array" }));
        assert_eq!(object(b"null").err(), Some(Invalid::NotAnObject { found: "null" }));
        assert_eq!(object(b"\xff").err(), Some(Invalid::NotUtf8));
        assert!(matches!(object(b"").err(), Some(Invalid::Syntax { .. })));
        assert!(matches!(object(b"{} x").err(), Some(Invalid::Syntax { .. })));
    }

    #[test]
    fn numbers_keep_their_text_unless_they_are_out_of_range() {
        let digits = "9".repeat(300);
        for number in ["1.50", "-0", "1e308", "1E-999", "[1 , 2e5 ]", digits.as_str()] {
            assert_eq!(compact(number).unwrap(), number.replace(' ', ""));
        }
        let long = "9".repeat(400);
        for number in ["1e999", "-1e999", "[0,1E+400 ]", "{\"a\":1e309}", long.as_str()] {
            assert!(matches!(compact(number), Err(Invalid::NumberRange { .. })), "{number}");
        }
        assert_eq!(compact("[ 1 ,\n2 ]").unwrap(), "[1,2]");
    }

    #[test]
    fn a_body_has_a_limit_of_members_and_a_stored_record_has_none() {
        let text = |count| format!("{{{}}}", vec!["\"a\":1"; count].join(","));
        assert!(object(text(MEMBERS_MAX).as_bytes()).is_ok());
        let large = text(MEMBERS_MAX + 1);
        let refused = object(large.as_bytes()).err();
        assert_eq!(refused, Some(Invalid::TooManyMembers { max: MEMBERS_MAX }));
        assert_eq!(members(large.as_bytes()).unwrap().len(), MEMBERS_MAX + 1);
    }

    #[test]
    fn depth_and_lone_surrogates_are_refused() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(compact(&deep(DEPTH_MAX)).is_ok());
        assert_eq!(compact(&deep(DEPTH_MAX + 1)), Err(Invalid::TooDeep { max: DEPTH_MAX }));
        assert!(matches!(compact(r#"["\ud800"]"#), Err(Invalid::Syntax { .. })));
        assert!(compact(r#"["\ud83d\ude00"]"#).is_ok());
    }
}
