//! Harper's query language: what follows `?` in a URL → conditions, order, range and selected attributes.
//!
//! Nothing that cannot be understood is dropped: every mistake is a 400 that names the place.

use super::select::Select;
use crate::error::{Answer, Code, Failure};
use harper_store::{Comparator, Filter, Kind, Query, Sort, TableSchema, Value};
use percent_encoding::percent_decode_str;
use std::collections::HashSet;

/// Nesting of groups.
const DEPTH_MAX: usize = 16;
/// Conditions of one query.
const CONDITIONS_MAX: usize = 256;

/// A parsed query string.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// What to find, in which order, how much of it.
    pub query: Query,
    /// Which attributes to return; none means the whole record.
    pub select: Option<Select>,
}

/// Parses a query string against the attributes of a table.
///
/// # Errors
/// 400 naming the mistake and its position, counted in characters from 1.
pub(crate) fn parse(schema: &TableSchema, text: &str) -> Answer<Parsed> {
    let mut parser = Parser {
        schema,
        text,
        at: 0,
        conditions: 0,
        functions: Vec::new(),
        parsed: Parsed::default(),
    };
    let filter = parser.expression(0)?;
    if parser.at < text.len() {
        return Err(parser.mistake("a closing bracket without its opening one"));
    }
    parser.parsed.query.filter = filter;
    Ok(parser.parsed)
}

struct Parser<'a> {
    schema: &'a TableSchema,
    text: &'a str,
    at: usize,
    conditions: usize,
    functions: Vec<String>,
    parsed: Parsed,
}

/// How terms of one level are joined.
#[derive(Clone, Copy, PartialEq)]
enum Join {
    And,
    Or,
}

impl<'a> Parser<'a> {
    /// Terms joined by `&` or by `|` up to the end of the text or of the group.
    fn expression(&mut self, depth: usize) -> Answer<Option<Filter>> {
        if depth > DEPTH_MAX {
            return Err(self.mistake(&format!("groups are nested deeper than {DEPTH_MAX}")));
        }
        let (mut filters, mut join, mut terms) = (Vec::new(), None, 0);
        while !self.at_end() {
            if self.rest().starts_with('&') {
                self.join(&mut join)?;
                continue;
            }
            filters.extend(self.term(depth, filters.last())?);
            terms += 1;
            if !self.at_end() {
                self.join(&mut join)?;
                if join == Some(Join::Or) && self.at_end() {
                    return Err(self.mistake("| is not followed by a condition"));
                }
            }
        }
        if join == Some(Join::Or) && terms != filters.len() {
            return Err(self.mistake("select, sort and limit are joined with &, not |"));
        }
        Ok(match (filters.len(), join) {
            (0 | 1, _) => filters.pop(),
            (_, Some(Join::Or)) => Some(Filter::Or(filters)),
            _ => Some(Filter::And(filters)),
        })
    }

    /// Takes the `&` or `|` between two terms; they may not be mixed.
    fn join(&mut self, join: &mut Option<Join>) -> Answer<()> {
        let Some(next) = self.take_join() else {
            return Err(self.mistake("& or | is missing between two conditions"));
        };
        if join.is_some_and(|join| join != next) {
            return Err(self.mistake("& and | are mixed at one level; group them with ( )"));
        }
        *join = Some(next);
        Ok(())
    }

    fn term(&mut self, depth: usize, previous: Option<&Filter>) -> Answer<Option<Filter>> {
        if let Some(open) = self.take_any(&['(', '[']) {
            return self.group(depth, open).map(Some);
        }
        let start = self.at;
        let name = self.name();
        if self.rest().starts_with('(') {
            self.function(&name, depth, start)?;
            return Ok(None);
        }
        self.condition(name, start, previous).map(Some)
    }

    fn group(&mut self, depth: usize, open: char) -> Answer<Filter> {
        let filter = self.expression(depth + 1)?;
        let close = if open == '(' { ')' } else { ']' };
        if self.take_any(&[close]).is_none() {
            return Err(self.mistake(&format!("{open} is not closed by {close}")));
        }
        filter.ok_or_else(|| self.mistake("a group is empty"))
    }

    /// `name operator value`.
    fn condition(
        &mut self,
        name: String,
        start: usize,
        previous: Option<&Filter>,
    ) -> Answer<Filter> {
        self.conditions += 1;
        if self.conditions > CONDITIONS_MAX {
            return Err(self.mistake(&format!("more than {CONDITIONS_MAX} conditions")));
        }
        let (comparator, is_strict) = self.operator(&name)?;
        let word = self.word();
        let (attribute, comparator) = match second_bound(self.schema, &name, previous) {
            Some((attribute, bound)) if comparator == Comparator::Equal => (attribute, bound),
            _ => (name, comparator),
        };
        let kind = self.kind_of(&attribute, start)?;
        let (comparator, value) = self.value(&attribute, kind, comparator, is_strict, &word)?;
        Ok(Filter::Compare { attribute, comparator, value })
    }

    fn kind_of(&self, attribute: &str, start: usize) -> Answer<&'a Kind> {
        let found = self.schema.attributes.iter().find(|known| known.name == attribute);
        found.map(|known| &known.kind).ok_or_else(|| {
            let why = if attribute.is_empty() {
                "an attribute's name is missing".to_owned()
            } else if attribute.contains('.') {
                format!("{attribute}: conditions on related records are not supported yet")
            } else {
                format!("{attribute} is not a defined attribute")
            };
            self.mistake_at(&why, start)
        })
    }

    fn operator(&mut self, name: &str) -> Answer<(Comparator, bool)> {
        use Comparator::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        const SYMBOLS: [(&str, Comparator, bool); 11] = [
            ("===", Equal, true),
            ("!==", NotEqual, true),
            ("==", Equal, false),
            ("!=", NotEqual, false),
            ("<=", LessEqual, false),
            (">=", GreaterEqual, false),
            ("%3c=", LessEqual, false),
            ("%3e=", GreaterEqual, false),
            ("<", Less, false),
            (">", Greater, false),
            ("%3c", Less, false),
        ];
        if let Some(operator) = self.word_operator()? {
            return Ok((operator, false));
        }
        for (symbol, comparator, is_strict) in SYMBOLS {
            if self.take_symbol(symbol) {
                return Ok((comparator, is_strict));
            }
        }
        if self.take_symbol("%3e") {
            return Ok((Greater, false));
        }
        if self.take_symbol("=") {
            return Ok((Equal, true));
        }
        Err(self.mistake(&format!("{name} is not followed by an operator such as = or =gt=")))
    }

    /// `=xx=` with two letters.
    fn word_operator(&mut self) -> Answer<Option<Comparator>> {
        let bytes = self.rest().as_bytes();
        let is_word = bytes.len() >= 4
            && bytes[0] == b'='
            && bytes[1..3].iter().all(u8::is_ascii_lowercase)
            && bytes[3] == b'=';
        if !is_word {
            return Ok(None);
        }
        let word = &self.rest()[1..3];
        let Some(comparator) = comparator(word) else {
            return Err(self.mistake(&format!("Unknown query comparator \"{word}\"")));
        };
        self.at += 4;
        Ok(Some(comparator))
    }

    fn value(
        &self,
        attribute: &str,
        kind: &Kind,
        comparator: Comparator,
        is_strict: bool,
        word: &str,
    ) -> Answer<(Comparator, Value)> {
        use Comparator::{Contains, EndsWith, Equal, StartsWith};
        let text = percent_decode_str(word)
            .decode_utf8()
            .map_err(|_| self.mistake(&format!("the value of {attribute} is not UTF-8")))?;
        let by_kind = |kind: &Kind, text: &str| {
            Value::parse(kind, text).map_err(|_| {
                let sentence = format!(
                    "Invalid value for attribute {attribute}: \"{text}\", expecting {}",
                    kind_name(kind)
                );
                Failure::new(Code::InvalidQuery, sentence)
            })
        };
        if matches!(comparator, StartsWith | EndsWith | Contains) {
            return Ok((comparator, Value::String(text.into_owned())));
        }
        if is_strict {
            return Ok((comparator, by_kind(element(kind), &text)?));
        }
        if comparator == Equal && word.starts_with('*') {
            return Err(self.mistake("a leading * is not supported; use =ew= or =ct="));
        }
        if let Some(prefix) = text.strip_suffix('*').filter(|_| comparator == Equal) {
            return Ok((StartsWith, Value::String(prefix.to_owned())));
        }
        let value = match text.split_once(':') {
            _ if text == "null" => Value::Null,
            Some(("number", number)) => by_kind(&Kind::Float, number)?,
            Some(("boolean", word)) => by_kind(&Kind::Boolean, word)?,
            Some(("date", date)) => by_kind(&Kind::Date, date)?,
            Some(("string", word)) => Value::String(word.to_owned()),
            _ => by_kind(element(kind), &text)?,
        };
        Ok((comparator, value))
    }

    fn function(&mut self, name: &str, depth: usize, start: usize) -> Answer<()> {
        if depth > 0 {
            return Err(self.mistake_at(&format!("{name}( ) belongs outside of groups"), start));
        }
        let inner = self.arguments()?;
        if self.functions.contains(&name.to_owned()) {
            return Err(self.mistake_at(&format!("{name}( ) is given twice"), start));
        }
        self.functions.push(name.to_owned());
        match name {
            "select" => self.parsed.select = Some(self.select(inner)?),
            "sort" => self.parsed.query.sort = self.sort(inner)?,
            "limit" => self.limit(inner)?,
            _ => return Err(self.mistake_at(&format!("unknown function {name}( )"), start)),
        }
        Ok(())
    }

    /// The text between balanced brackets; the position moves past them.
    fn arguments(&mut self) -> Answer<&'a str> {
        let rest = self.rest();
        let mut depth = 0_usize;
        for (offset, letter) in rest.char_indices() {
            depth = match letter {
                '(' => depth + 1,
                ')' => depth - 1,
                _ => depth,
            };
            if depth == 0 {
                self.at += offset + 1;
                return Ok(&rest[1..offset]);
            }
        }
        Err(self.mistake("( is not closed by )"))
    }

    fn select(&self, inner: &str) -> Answer<Select> {
        let list = inner.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let names: Vec<_> = list.unwrap_or(inner).split(',').map(decode).collect();
        if let Some(odd) = names.iter().find(|name| name.contains(['(', '[', '{', '.'])) {
            return Err(
                self.mistake(&format!("select({odd}): nested selection is not supported yet"))
            );
        }
        let is_single = names.len() == 1;
        let mut names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return Err(self.mistake("select( ) names no attribute"));
        }
        if list.is_none() {
            // an object has each member once
            let mut seen = HashSet::new();
            names.retain(|name| seen.insert(name.clone()));
        }
        Ok(match list {
            Some(_) => Select::Arrays(names),
            None if is_single => Select::Values(names.into_iter().next().unwrap_or_default()),
            None => Select::Objects(names),
        })
    }

    fn sort(&self, inner: &str) -> Answer<Vec<Sort>> {
        let keys = inner.split(',').filter(|key| !key.is_empty()).map(|key| {
            let (descending, name) = match key.strip_prefix('-') {
                Some(name) => (true, name),
                None => (false, key.strip_prefix(['+', ' ']).unwrap_or(key)),
            };
            let attribute = decode(name);
            self.kind_of(&attribute, self.at)?;
            Ok(Sort { via: Vec::new(), attribute, descending })
        });
        let keys: Vec<_> = keys.collect::<Answer<_>>()?;
        if keys.is_empty() {
            return Err(self.mistake("sort( ) names no attribute"));
        }
        Ok(keys)
    }

    fn limit(&mut self, inner: &str) -> Answer<()> {
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let range = match inner.split_once(',') {
            Some((start, end)) => number(start).zip(number(end)),
            None => number(inner).map(|count| (0, count)),
        };
        let Some((start, end)) = range.filter(|(start, end)| start <= end) else {
            return Err(
                self.mistake(&format!("limit({inner}): expected limit(count) or limit(start,end)"))
            );
        };
        self.parsed.query.offset = start;
        self.parsed.query.limit = Some(end - start);
        Ok(())
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// At the end of the text, or of the group.
    fn at_end(&self) -> bool {
        self.rest().is_empty() || self.rest().starts_with([')', ']'])
    }

    fn take_any(&mut self, letters: &[char]) -> Option<char> {
        let letter = self.rest().chars().next().filter(|letter| letters.contains(letter))?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found =
            self.rest().get(..symbol.len()).is_some_and(|text| text.eq_ignore_ascii_case(symbol));
        if found {
            self.at += symbol.len();
        }
        found
    }

    fn take_join(&mut self) -> Option<Join> {
        if self.take_symbol("&") {
            Some(Join::And)
        } else {
            self.take_symbol("|").then_some(Join::Or)
        }
    }

    /// An attribute's name: up to an operator, a bracket or a join.
    fn name(&mut self) -> String {
        let rest = self.rest();
        let end = rest.char_indices().find(|(at, letter)| match letter {
            '=' | '!' | '<' | '>' | '&' | '|' | '(' | ')' | ']' => true,
            '[' => !rest[*at..].starts_with("[]"),
            '%' => rest.get(*at..at + 3).is_some_and(|code| {
                ["%3c", "%3e"].iter().any(|known| code.eq_ignore_ascii_case(known))
            }),
            _ => false,
        });
        let mut end = end.map_or(rest.len(), |(at, _)| at);
        if rest[end..].starts_with(']') && rest[..end].ends_with('[') {
            end += 1;
        }
        self.at += end;
        decode(rest[..end].strip_suffix("[]").unwrap_or(&rest[..end]))
    }

    /// A value: up to a join or the end of the group.
    fn word(&mut self) -> String {
        let rest = self.rest();
        let end = rest.find(['&', '|', ')', ']']).unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_owned()
    }

    fn mistake(&self, what: &str) -> Box<Failure> {
        self.mistake_at(what, self.at)
    }

    fn mistake_at(&self, what: &str, at: usize) -> Box<Failure> {
        let position = self.text.get(..at).map_or(0, |text| text.chars().count()) + 1;
        Failure::new(Code::InvalidQuery, format!("{what} (at position {position} of the query)"))
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn comparator(word: &str) -> Option<Comparator> {
    Some(match word {
        "eq" => Comparator::Equal,
        "ne" => Comparator::NotEqual,
        "lt" => Comparator::Less,
        "le" => Comparator::LessEqual,
        "gt" => Comparator::Greater,
        "ge" => Comparator::GreaterEqual,
        "sw" => Comparator::StartsWith,
        "ew" => Comparator::EndsWith,
        "ct" => Comparator::Contains,
        _ => return None,
    })
}

/// `age=gt=2&lt=6`: a second bound that leaves the attribute out.
fn second_bound(
    schema: &TableSchema,
    name: &str,
    previous: Option<&Filter>,
) -> Option<(String, Comparator)> {
    let bound = comparator(name).filter(|bound| {
        matches!(
            bound,
            Comparator::Less
                | Comparator::LessEqual
                | Comparator::Greater
                | Comparator::GreaterEqual
        )
    })?;
    let is_attribute = schema.attributes.iter().any(|known| known.name == name);
    match previous {
        Some(Filter::Compare { attribute, .. }) if !is_attribute => {
            Some((attribute.clone(), bound))
        }
        _ => None,
    }
}

/// A condition on an array is a condition on its elements.
fn element(kind: &Kind) -> &Kind {
    match kind {
        Kind::Array(element) => &element.kind,
        other => other,
    }
}

/// The type's name in a schema.
#[must_use]
pub(crate) fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Array(element) => format!("[{}]", kind_name(&element.kind)),
        Kind::Object(_) => "Object".to_owned(),
        Kind::Id => "ID".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harper_store::Attribute;

    fn schema() -> TableSchema {
        let attribute =
            |name: &str, kind: Kind| Attribute { indexed: true, ..Attribute::new(name, kind) };
        TableSchema::new(
            "data",
            "Dog",
            vec![
                attribute("id", Kind::Id),
                attribute("name", Kind::String),
                attribute("age", Kind::Int),
            ],
        )
    }

    fn ok(text: &str) -> Parsed {
        parse(&schema(), text).unwrap_or_else(|failure| panic!("{text}: {}", failure.message))
    }

    fn mistake(text: &str) -> String {
        let failure = parse(&schema(), text).unwrap_err();
        assert_eq!(failure.code, Code::InvalidQuery);
        failure.message.into_owned()
    }

    fn filter(text: &str) -> String {
        format!("{:?}", ok(text).query.filter.unwrap())
    }

    #[test]
    fn every_form_of_a_comparison_is_understood() {
        for (text, comparator, value) in [
            ("name=Rex*", "Equal", r#"String("Rex*")"#),
            ("name===a%20b", "Equal", r#"String("a b")"#),
            ("name==Re*", "StartsWith", r#"String("Re")"#),
            ("name==null", "Equal", "Null"),
            ("name[]=x", "Equal", r#"String("x")"#),
            ("age=5", "Equal", "Number(5.0)"),
            ("age!=5", "NotEqual", "Number(5.0)"),
            ("age=gt=5", "Greater", "Number(5.0)"),
            ("age>=5", "GreaterEqual", "Number(5.0)"),
            ("age%3C5", "Less", "Number(5.0)"),
            ("age%3E=5", "GreaterEqual", "Number(5.0)"),
            ("age==number:5", "Equal", "Number(5.0)"),
            ("name==string:5", "Equal", r#"String("5")"#),
            ("name=ct=a=b", "Contains", r#"String("a=b")"#),
            ("name=sw=Z%C3%BC", "StartsWith", r#"String("Zü")"#),
        ] {
            let found = filter(text);
            assert!(found.contains(&format!("comparator: {comparator},")), "{text}: {found}");
            assert!(found.contains(&format!("value: {value} ")), "{text}: {found}");
        }
    }

    #[test]
    fn groups_joins_and_second_bounds() {
        assert!(filter("name=a&(age=1|age=2)").starts_with("And([Compare"));
        assert!(filter("name=a|age=1|age=2").starts_with("Or(["));
        let range = filter("age=gt=2&lt=6");
        assert!(
            range.contains("Greater,") && range.contains(r#""age", comparator: Less,"#),
            "{range}"
        );
    }

    #[test]
    fn functions_set_range_order_and_selection() {
        let parsed = ok("age=gt=1&sort(-age,+name)&limit(5,15)&select(id,name)");
        assert_eq!((parsed.query.offset, parsed.query.limit), (5, Some(10)));
        let order: Vec<_> =
            parsed.query.sort.iter().map(|s| (s.attribute.as_str(), s.descending)).collect();
        assert_eq!(order, [("age", true), ("name", false)]);
        assert_eq!(parsed.select, Some(Select::Objects(vec!["id".into(), "name".into()])));
        assert_eq!(ok("select(name)").select, Some(Select::Values("name".into())));
        assert_eq!(ok("select(name,)").select, Some(Select::Objects(vec!["name".into()])));
        assert_eq!(
            ok("select([id,name])").select,
            Some(Select::Arrays(vec!["id".into(), "name".into()]))
        );
        assert_eq!(ok("limit(0)").query.limit, Some(0));
        assert_eq!(ok("&age=1&&limit(2)&").query.limit, Some(2));
        assert_eq!(ok("select(id,id)").select, Some(Select::Objects(vec!["id".into()])));
    }

    #[test]
    fn nothing_that_is_not_understood_is_dropped() {
        for (text, part) in [
            ("name==*x", "leading *"),
            ("nosuch=1", "nosuch is not a defined attribute"),
            ("age=zz=1", "Unknown query comparator \"zz\""),
            ("age=abc", "expecting Int"),
            ("limit(x)", "limit(x)"),
            ("limit(5,1)", "limit(5,1)"),
            ("(name=Rex", "not closed"),
            ("name=Rex)", "without its opening"),
            ("name=a&age=1|age=2", "mixed"),
            ("frob(1)", "unknown function frob"),
            ("name", "not followed by an operator"),
            ("=5", "name is missing"),
            ("owner.name=x", "not supported yet"),
            ("select(owner{name})", "not supported yet"),
            ("select()", "names no attribute"),
            ("sort(nosuch)", "not a defined attribute"),
            ("name=%ff", "not UTF-8"),
            ("limit(1)&limit(5)", "limit( ) is given twice"),
            ("name=x|()", "a group is empty"),
            ("(age=1)(age=2)", "missing between two conditions"),
            ("(age=1)name=a", "missing between two conditions"),
            ("age=1|", "not followed by a condition"),
            ("age=1|limit(5)", "joined with &"),
        ] {
            assert!(mistake(text).contains(part), "{text}: {}", mistake(text));
        }
        assert!(mistake("name=a&nosuch=1").contains("position 8"));
        assert!(mistake(&"(".repeat(40)).contains("nested"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in "[a-z=!<>&|()\\[\\]%0-9,*:.é]{0,40}") {
            let _ = parse(&schema(), &text);
        }
    }
}
