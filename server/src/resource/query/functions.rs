//! The functions of a query: `select( )`, `sort( )`, `limit( )` and `explain( )`.

use super::Parsed;
use crate::error::{Answer, Code, Failure};
use crate::resource::model::{Reached, Scope};
use crate::resource::select::{Asked, Form, Selection};
use harper_store::Sort;
use percent_encoding::percent_decode_str;

/// Names in one `select( )`.
const NAMES_MAX: usize = 256;
/// Selections within selections.
const DEPTH_MAX: usize = 8;

/// A mistake, and where in the arguments it is if that can be told.
type Mistake = (Option<usize>, Box<Failure>);

/// Carries out one function; `raw` are its arguments as the URL has them.
///
/// # Errors
/// 400 for a function or arguments that make no sense; 403 for what may not be read.
pub(super) fn call(
    scope: &Scope<'_>,
    name: &str,
    raw: &str,
    parsed: &mut Parsed,
) -> Result<(), Mistake> {
    let text = percent_decode_str(raw).decode_utf8();
    let text =
        text.map_err(|_| (None, wrong(format!("the arguments of {name}( ) are not UTF-8"))))?;
    // places are told in what was sent
    let placed = |(at, failure): Mistake| (at.filter(|_| raw == text), failure);
    match name {
        "select" => {
            let asked = Names { text: &text, at: 0, count: 0 }.whole().map_err(placed)?;
            parsed.select = Some(Selection::new(scope, asked).map_err(|failure| (None, failure))?);
        }
        "sort" => parsed.query.sort = sort(scope, &text).map_err(placed)?,
        "limit" => limit(&text, parsed).map_err(|failure| (None, failure))?,
        "explain" if text.is_empty() => parsed.explains = true,
        "explain" => return Err((None, wrong("explain( ) has no arguments".to_owned()))),
        _ => return Err((None, wrong(format!("unknown function {name}( )")))),
    }
    Ok(())
}

fn wrong(sentence: String) -> Box<Failure> {
    Failure::new(Code::InvalidQuery, sentence)
}

fn sort(scope: &Scope<'_>, text: &str) -> Result<Vec<Sort>, Mistake> {
    let mut keys = Vec::new();
    let mut at = 0;
    for key in text.split(',') {
        let name = key.strip_prefix(['-', '+', ' ']).unwrap_or(key);
        if !key.is_empty() {
            let sort = sort_by(scope, name, key.starts_with('-'));
            keys.push(sort.map_err(|failure| (Some(at), failure))?);
        }
        at += key.len() + 1;
    }
    if keys.is_empty() {
        return Err((None, wrong("sort( ) names no attribute".to_owned())));
    }
    Ok(keys)
}

/// One key of an order.
///
/// # Errors
/// 400 for a name that leads nowhere; 403 for what may not be read.
pub(super) fn sort_by(scope: &Scope<'_>, name: &str, descending: bool) -> Answer<Sort> {
    let Reached { via, attribute } = scope.reach(name)?;
    Ok(Sort { via, attribute: attribute.name.clone(), descending })
}

fn limit(text: &str, parsed: &mut Parsed) -> Answer<()> {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let range = match text.split_once(',') {
        Some((start, end)) => number(start).zip(number(end)),
        None => number(text).map(|count| (0, count)),
    };
    let Some((start, end)) = range.filter(|(start, end)| start <= end) else {
        return Err(wrong(format!("limit({text}): expected limit(count) or limit(start,end)")));
    };
    parsed.query.offset = start;
    parsed.query.limit = Some(end - start);
    Ok(())
}

/// A name, and what is asked of what it stands for.
type Name = (String, Option<Asked>);

/// Reads `a,b,rel{c,d}`.
struct Names<'a> {
    text: &'a str,
    at: usize,
    count: usize,
}

impl Names<'_> {
    /// All of the text: one name alone is its bare value, several are objects, in `[ ]` they are arrays.
    fn whole(mut self) -> Result<Asked, Mistake> {
        let asked = match self.take('[') {
            true => {
                let (items, _) = self.items(0)?;
                self.close(']')?;
                Asked { form: Form::Arrays, items }
            }
            false => self.bare(0)?,
        };
        match self.rest().chars().next() {
            None => Ok(asked),
            Some(letter) => Err(self.mistake(format!("select( ): {letter} is not expected here"))),
        }
    }

    fn bare(&mut self, depth: usize) -> Result<Asked, Mistake> {
        let (items, has_comma) = self.items(depth)?;
        let form = if has_comma { Form::Objects } else { Form::Values };
        Ok(Asked { form, items })
    }

    /// Names up to a closing bracket or the end, and whether there was a comma.
    fn items(&mut self, depth: usize) -> Result<(Vec<Name>, bool), Mistake> {
        if depth > DEPTH_MAX {
            let sentence = format!("selections are nested deeper than {DEPTH_MAX}");
            return Err(self.mistake(sentence));
        }
        let (mut items, mut has_comma) = (Vec::new(), false);
        loop {
            let rest = self.rest();
            let end = rest.find([',', '{', '[', '(', '}', ']', ')']).unwrap_or(rest.len());
            let name = rest[..end].trim().to_owned();
            let start = self.at;
            self.at += end;
            let inner = self.inner(depth)?;
            if name.is_empty() && inner.is_some() {
                self.at = start;
                return Err(self.mistake("select( ): a name is missing".to_owned()));
            }
            if !name.is_empty() {
                self.count += 1;
                items.push((name, inner));
            }
            if self.count > NAMES_MAX {
                return Err(self.mistake(format!("select( ) has more than {NAMES_MAX} names")));
            }
            if !self.take(',') {
                break;
            }
            has_comma = true;
        }
        if items.is_empty() {
            return Err(self.mistake("select( ) names no attribute".to_owned()));
        }
        Ok((items, has_comma))
    }

    /// What is selected of the records or the object that a name stands for.
    fn inner(&mut self, depth: usize) -> Result<Option<Asked>, Mistake> {
        let (close, asked) = if self.take('{') {
            ('}', Asked { form: Form::Objects, items: self.items(depth + 1)?.0 })
        } else if self.take('[') {
            (']', Asked { form: Form::Arrays, items: self.items(depth + 1)?.0 })
        } else if self.take('(') {
            (')', self.bare(depth + 1)?)
        } else {
            return Ok(None);
        };
        self.close(close)?;
        Ok(Some(asked))
    }

    fn close(&mut self, bracket: char) -> Result<(), Mistake> {
        match self.take(bracket) {
            true => Ok(()),
            false => Err(self.mistake(format!("select( ): {bracket} is missing"))),
        }
    }

    fn take(&mut self, letter: char) -> bool {
        let found = self.rest().starts_with(letter);
        self.at += if found { letter.len_utf8() } else { 0 };
        found
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn mistake(&self, sentence: String) -> Mistake {
        (Some(self.at), wrong(sentence))
    }
}
