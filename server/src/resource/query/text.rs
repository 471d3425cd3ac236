//! The query language of URLs: conditions, groups and functions.
//!
//! ```text
//! query     = [ term *( ( "&" | "|" ) term ) ]        one kind of joint between the conditions of a level; functions are
//!                                                     joined with "&"; empty terms between "&" are skipped
//! term      = group | function | condition | bound
//! group     = "(" query ")" | "[" query "]"
//! function  = ( "select" | "sort" | "limit" | "explain" ) "(" arguments ")"     at the outermost level
//! condition = name [ "[]" ] operator word
//! bound     = [ "=" ] ( "lt" | "le" | "gt" | "ge" ) "=" word     the second bound of the condition before it
//! operator  = "=" | "==" | "===" | "!=" | "!==" | "<" | "<=" | ">" | ">=" | "=" comparator "="
//! ```
//!
//! `%3C` and `%3E` are operators, too, since clients encode `<` and `>`. Any other encoded letter is a letter.

use super::condition::{self, comparator};
use super::{Parsed, functions};
use crate::error::{Answer, Code, Failure};
use crate::resource::model::Scope;
use harper_store::{Comparator, Filter};
use percent_encoding::percent_decode_str;

/// Nesting of groups.
const DEPTH_MAX: usize = 16;
/// Conditions of one query.
pub(super) const CONDITIONS_MAX: usize = 256;

/// Operators by their symbol, the longer before those that they begin with; and whether the value is taken as it
/// stands.
const SYMBOLS: [(&str, Comparator, bool); 13] = [
    ("===", Comparator::Equal, true),
    ("!==", Comparator::NotEqual, true),
    ("==", Comparator::Equal, false),
    ("!=", Comparator::NotEqual, false),
    ("<=", Comparator::LessEqual, false),
    (">=", Comparator::GreaterEqual, false),
    ("%3c=", Comparator::LessEqual, false),
    ("%3e=", Comparator::GreaterEqual, false),
    ("<", Comparator::Less, false),
    (">", Comparator::Greater, false),
    ("%3c", Comparator::Less, false),
    ("%3e", Comparator::Greater, false),
    ("=", Comparator::Equal, true),
];

/// Parses what follows `?`.
///
/// # Errors
/// 400 naming the mistake and its position, counted in characters from 1; 403 for what may not be read.
pub(super) fn parse(scope: &Scope<'_>, text: &str) -> Answer<Parsed> {
    let (conditions, seen, parsed) = (0, Vec::new(), Parsed::default());
    let mut parser = Parser { scope, text, at: 0, conditions, seen, parsed };
    let filter = parser.expression(0)?;
    if parser.at < text.len() {
        return Err(parser.mistake("a closing bracket without its opening one"));
    }
    parser.parsed.query.filter = filter;
    Ok(parser.parsed)
}

struct Parser<'a> {
    scope: &'a Scope<'a>,
    text: &'a str,
    at: usize,
    conditions: usize,
    /// Functions that were called.
    seen: Vec<String>,
    parsed: Parsed,
}

/// How terms of one level are joined.
#[derive(Clone, Copy, PartialEq)]
enum Joint {
    And,
    Or,
}

/// The condition before a term, which a second bound belongs to.
struct Previous {
    name: String,
    comparator: Comparator,
}

impl<'a> Parser<'a> {
    /// Terms joined by `&` or by `|` up to the end of the text or of the group.
    fn expression(&mut self, depth: usize) -> Answer<Option<Filter>> {
        if depth > DEPTH_MAX {
            return Err(self.mistake(&format!("groups are nested deeper than {DEPTH_MAX}")));
        }
        let (mut filters, mut previous) = (Vec::new(), None);
        let (mut joint, mut between) = (None, None);
        let mut is_after_function = false;
        while !self.at_end() {
            if self.rest().starts_with('&') {
                self.joint(&mut between)?;
                continue;
            }
            let (conditions, functions) = (filters.len(), self.seen.len());
            self.term(depth, &mut previous, &mut filters)?;
            let is_function = self.seen.len() > functions;
            if let Some((next, at)) = between.take() {
                let adds_none = filters.len() == conditions;
                if next == Joint::Or && (adds_none || is_after_function) {
                    let what =
                        "select, sort, limit, explain and second bounds are joined with &, not |";
                    return Err(self.mistake_at(what, at));
                }
                // a function is none of the conditions that the joint is between
                if !is_function && conditions > 0 {
                    self.agree(&mut joint, next, at)?;
                }
            }
            is_after_function = is_function;
            if !self.at_end() {
                self.joint(&mut between)?;
                if matches!(between, Some((Joint::Or, _))) && self.at_end() {
                    return Err(self.mistake("| is not followed by a condition"));
                }
            }
        }
        Ok(match (filters.len(), joint) {
            (0 | 1, _) => filters.pop(),
            (_, Some(Joint::Or)) => Some(Filter::Or(filters)),
            _ => Some(Filter::And(filters)),
        })
    }

    /// Takes a `&` or `|` between two terms.
    fn joint(&mut self, between: &mut Option<(Joint, usize)>) -> Answer<()> {
        let next = match self.rest().as_bytes().first() {
            Some(b'&') => Joint::And,
            Some(b'|') => Joint::Or,
            _ => return Err(self.mistake("& or | is missing between two conditions")),
        };
        let mut before = between.map(|(joint, _)| joint);
        self.agree(&mut before, next, self.at)?;
        between.get_or_insert((next, self.at));
        self.at += 1;
        Ok(())
    }

    /// The joints of one level may not be mixed.
    fn agree(&self, joint: &mut Option<Joint>, next: Joint, at: usize) -> Answer<()> {
        if *joint.get_or_insert(next) == next {
            return Ok(());
        }
        Err(self.mistake_at("& and | are mixed at one level; group them with ( )", at))
    }

    fn term(
        &mut self,
        depth: usize,
        previous: &mut Option<Previous>,
        filters: &mut Vec<Filter>,
    ) -> Answer<()> {
        let before = previous.take();
        if let Some(open @ ('(' | '[')) = self.rest().chars().next() {
            self.at += 1;
            filters.push(self.group(depth, open)?);
            return Ok(());
        }
        let start = self.at;
        let name = self.name();
        if self.rest().starts_with('(') {
            return self.function(&name, depth, start);
        }
        self.conditions += 1;
        if self.conditions > CONDITIONS_MAX {
            return Err(self.mistake(&format!("more than {CONDITIONS_MAX} conditions")));
        }
        let (symbol, is_strict) = self.operator(&name)?;
        let word = self.word();
        match (self.bound(&name, symbol, is_strict, before), filters.last_mut()) {
            (Some((name, bound)), Some(last)) => {
                let second = self.condition(&name, bound, false, word, start)?;
                condition::narrow(last, second);
            }
            _ => {
                filters.push(self.condition(&name, symbol, is_strict, word, start)?);
                *previous = Some(Previous { name, comparator: symbol });
            }
        }
        Ok(())
    }

    /// The attribute and comparator of `lt=6` or `=lt=6` after a bound from the other side.
    fn bound(
        &self,
        name: &str,
        symbol: Comparator,
        is_strict: bool,
        before: Option<Previous>,
    ) -> Option<(String, Comparator)> {
        use Comparator::{Greater, GreaterEqual, Less, LessEqual};
        let Previous { name: attribute, comparator: first } = before?;
        let bound = if name.is_empty() {
            symbol
        } else {
            let is_attribute = self.scope.entity.schema.attribute(name).is_some();
            comparator(name)
                .filter(|_| is_strict && symbol == Comparator::Equal && !is_attribute)?
        };
        let is_other_side = matches!(
            (first, bound),
            (Greater | GreaterEqual, Less | LessEqual) | (Less | LessEqual, Greater | GreaterEqual)
        );
        is_other_side.then_some((attribute, bound))
    }

    fn condition(
        &self,
        name: &str,
        comparator: Comparator,
        is_strict: bool,
        word: &str,
        start: usize,
    ) -> Answer<Filter> {
        let reached = self.scope.reach(name).map_err(|failure| self.placed(failure, start))?;
        let (comparator, value) = condition::of_word(&reached, comparator, is_strict, word)
            .map_err(|failure| self.placed(failure, self.at - word.len()))?;
        Ok(condition::compare(reached, comparator, value))
    }

    fn group(&mut self, depth: usize, open: char) -> Answer<Filter> {
        let filter = self.expression(depth + 1)?;
        let close = if open == '(' { ')' } else { ']' };
        if !self.rest().starts_with(close) {
            return Err(self.mistake(&format!("{open} is not closed by {close}")));
        }
        self.at += 1;
        filter.ok_or_else(|| self.mistake("a group is empty"))
    }

    fn operator(&mut self, name: &str) -> Answer<(Comparator, bool)> {
        if let Some(comparator) = self.word_operator()? {
            return Ok((comparator, false));
        }
        for (symbol, comparator, is_strict) in SYMBOLS {
            if self.take(symbol) {
                return Ok((comparator, is_strict));
            }
        }
        Err(self.mistake(&format!("{name} is not followed by an operator such as = or =gt=")))
    }

    /// `=gt=`: at least two letters between equals signs are a comparator, or a mistake.
    fn word_operator(&mut self) -> Answer<Option<Comparator>> {
        let Some(rest) = self.rest().strip_prefix('=') else { return Ok(None) };
        let end = rest.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_');
        let word = &rest[..end.unwrap_or(rest.len())];
        if word.len() < 2 || !rest[word.len()..].starts_with('=') {
            return Ok(None);
        }
        let Some(comparator) = comparator(word) else {
            return Err(self.placed(condition::unknown(word), self.at));
        };
        self.at += word.len() + 2;
        Ok(Some(comparator))
    }

    fn function(&mut self, name: &str, depth: usize, start: usize) -> Answer<()> {
        if depth > 0 {
            return Err(self.mistake_at(&format!("{name}( ) belongs outside of groups"), start));
        }
        let (from, inner) = (self.at + 1, self.arguments()?);
        if self.seen.iter().any(|seen| seen == name) {
            return Err(self.mistake_at(&format!("{name}( ) is given twice"), start));
        }
        self.seen.push(name.to_owned());
        functions::call(self.scope, name, inner, &mut self.parsed)
            .map_err(|(offset, failure)| self.placed(failure, offset.map_or(start, |at| from + at)))
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

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// At the end of the text, or of the group.
    fn at_end(&self) -> bool {
        self.rest().is_empty() || self.rest().starts_with([')', ']'])
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found =
            self.rest().get(..symbol.len()).is_some_and(|text| text.eq_ignore_ascii_case(symbol));
        if found {
            self.at += symbol.len();
        }
        found
    }

    /// An attribute's name: up to an operator, a bracket or a joint. `[]` behind it means nothing.
    fn name(&mut self) -> String {
        let rest = self.rest();
        let is_sign = |at: usize| {
            let sign = rest.get(at..at + 3).unwrap_or_default();
            sign.eq_ignore_ascii_case("%3c") || sign.eq_ignore_ascii_case("%3e")
        };
        let end = rest.char_indices().find(|(at, letter)| match letter {
            '=' | '!' | '<' | '>' | '&' | '|' | '(' | ')' | ']' => true,
            '[' => !rest[*at..].starts_with("[]"),
            '%' => is_sign(*at),
            _ => false,
        });
        let mut end = end.map_or(rest.len(), |(at, _)| at);
        if rest[end..].starts_with(']') && rest[..end].ends_with('[') {
            end += 1;
        }
        self.at += end;
        let name = percent_decode_str(&rest[..end]).decode_utf8_lossy();
        name.strip_suffix("[]").unwrap_or(&name).to_owned()
    }

    /// A value: up to a joint or the end of the group.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(['&', '|', ')', ']']).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn mistake(&self, what: &str) -> Box<Failure> {
        self.mistake_at(what, self.at)
    }

    fn mistake_at(&self, what: &str, at: usize) -> Box<Failure> {
        self.placed(Failure::new(Code::InvalidQuery, what.to_owned()), at)
    }

    /// A mistake with its place.
    fn placed(&self, mut failure: Box<Failure>, at: usize) -> Box<Failure> {
        if failure.code == Code::InvalidQuery {
            let position = self.text.get(..at).map_or(0, |text| text.chars().count()) + 1;
            let message = format!("{} (at position {position} of the query)", failure.message);
            failure.message = message.into();
        }
        failure
    }
}
