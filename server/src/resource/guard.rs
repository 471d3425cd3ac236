//! Where permissions are enforced: who may ask at all, what is left out of a record, and what a body may write; what
//! a query may look at, `model` says. The decisions are those of `auth::access`.

use crate::auth::access::{Access, View};
use crate::auth::permission::Right;
use crate::auth::{self, Identity};
use crate::content::json;
use crate::error::{Answer, Code, Failure};
use harper_store::{Precondition, Prepared, TableSchema};
use http::{Method, header};
use std::borrow::Cow;

/// The rights that the methods of a resource need; one of them is enough to be let in.
fn needed(method: &Method) -> &'static [Right] {
    match method.as_str() {
        "GET" | "HEAD" | "QUERY" => &[Right::Read],
        "POST" => &[Right::Insert],
        "PUT" | "PATCH" => &[Right::Insert, Right::Update],
        "DELETE" => &[Right::Delete],
        // a method that there is not: the caller learns that only with some right
        _ => &[Right::Read, Right::Insert, Right::Update, Right::Delete],
    }
}

/// Lets a request in to a table; anybody may ask for the methods there are.
///
/// # Errors
/// 401 when nobody has logged in, 403 when the user has no such right.
pub(crate) fn admit(identity: &Identity, method: &Method, schema: &TableSchema) -> Answer<Access> {
    let access = identity.access(schema);
    let is_allowed = needed(method).iter().any(|right| access.allows(*right));
    if is_allowed || *method == Method::OPTIONS {
        return Ok(access);
    }
    Err(refused(identity))
}

/// What somebody without the right to a resource is told.
#[must_use]
pub(crate) fn refused(identity: &Identity) -> Box<Failure> {
    match identity {
        Identity::Anonymous => Failure::new(Code::LoginRequired, "Must login")
            .with(header::WWW_AUTHENTICATE, auth::BASIC),
        Identity::User(_) => forbidden("Unauthorized access to resource"),
    }
}

fn forbidden(sentence: impl Into<Cow<'static, str>>) -> Box<Failure> {
    Failure::new(Code::Forbidden, sentence)
}

/// Refuses an attribute that is not shown.
///
/// # Errors
/// 403 naming it.
pub(crate) fn check_seen(view: &View, name: &str) -> Answer<()> {
    if view.sees(name) {
        return Ok(());
    }
    Err(forbidden(format!("Unauthorized access to attribute {name}")))
}

/// The record as it is shown: the stored bytes where nothing is left out.
///
/// # Errors
/// 500 when the stored text is damaged.
pub(crate) fn shown<'a>(view: &View, record: &'a [u8]) -> Answer<Cow<'a, [u8]>> {
    if matches!(view, View::Whole) {
        return Ok(Cow::Borrowed(record));
    }
    let shown = cut(view, record);
    shown.map(Cow::Owned).map_err(|e| Failure::internal("a stored record cannot be read", &e))
}

/// What is shown of bytes that are an object; none of any others.
#[must_use]
pub(crate) fn object(view: &View, bytes: &[u8]) -> Option<Vec<u8>> {
    cut(view, bytes).ok()
}

/// An object without the members that are not shown.
fn cut(view: &View, object: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let members = json::members(object)?;
    let mut out = Vec::with_capacity(object.len());
    out.push(b'{');
    for (name, value) in members.iter().filter(|(name, _)| view.shows_stored(name)) {
        if out.len() > 1 {
            out.push(b',');
        }
        json::push_string(name, &mut out);
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
    }
    out.push(b'}');
    Ok(out)
}

/// How a body may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Whether there is a record or not.
    Always,
    /// Only where there is none.
    IfAbsent,
    /// Only where there is one.
    IfPresent,
}

impl Leave {
    /// The condition under which the write is carried out, given what the client asks for.
    ///
    /// # Errors
    /// 403 when the two cannot both be kept.
    pub(crate) fn when(self, asked: Precondition) -> Answer<Precondition> {
        use Precondition::{Absent, All, None, Present, UnmodifiedSince, VersionIn};
        match (self, asked) {
            (Self::Always, asked) => Ok(asked),
            (Self::IfAbsent, None | Absent) => Ok(Absent),
            (Self::IfPresent, None | Present) => Ok(Present),
            (Self::IfPresent, asked @ VersionIn(_)) => Ok(asked),
            (Self::IfPresent, asked @ UnmodifiedSince(_)) => Ok(All(vec![Present, asked])),
            _ => Err(forbidden("Unauthorized access to resource")),
        }
    }

    /// A failed condition that was ours and not the client's is a matter of permission.
    #[must_use]
    pub(crate) fn explained(self, asked: &Precondition, failure: Box<Failure>) -> Box<Failure> {
        let is_ours = *asked == Precondition::None && failure.code == Code::PreconditionFailed;
        match self {
            Self::IfAbsent if is_ours => forbidden("The role may make records but not change them"),
            Self::IfPresent if is_ours => {
                forbidden("The role may change records but not make them")
            }
            _ => failure,
        }
    }
}

/// Decides on a body that replaces (PUT) or changes (PATCH) a record. Replacing takes away what the body leaves out,
/// and so needs the right to change every attribute.
///
/// # Errors
/// 403 naming the attribute that may not be written.
pub(crate) fn change(
    access: &Access,
    schema: &TableSchema,
    body: &Prepared,
    replaces: bool,
) -> Answer<Leave> {
    if matches!(access, Access::Everything) {
        return Ok(Leave::Always);
    }
    let insert = check_body(access, Right::Insert, schema, body);
    let mut update = check_body(access, Right::Update, schema, body);
    if replaces && update.is_ok() && !access.covers_all(Right::Update, schema) {
        let sentence = "PUT replaces a whole record, and the role may not change all of its attributes; use PATCH";
        update = Err(forbidden(sentence));
    }
    match (insert, update) {
        (Ok(()), Ok(())) => Ok(Leave::Always),
        (Ok(()), Err(_)) => Ok(Leave::IfAbsent),
        (Err(_), Ok(())) => Ok(Leave::IfPresent),
        (Err(_), Err(failure)) => Err(failure),
    }
}

/// Decides on a body that makes a record.
///
/// # Errors
/// 403 naming the attribute that may not be written.
pub(crate) fn insert(access: &Access, schema: &TableSchema, body: &Prepared) -> Answer<()> {
    check_body(access, Right::Insert, schema, body)
}

fn check_body(access: &Access, right: Right, schema: &TableSchema, body: &Prepared) -> Answer<()> {
    if matches!(access, Access::Everything) {
        return Ok(());
    }
    if !access.allows(right) {
        return Err(forbidden("Unauthorized access to resource"));
    }
    match body.names(schema).find(|name| !access.covers(right, schema, name)) {
        Some(name) => Err(forbidden(format!("Unauthorized access to attribute {name}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_of_ours_joins_the_one_that_was_asked_for() {
        use Precondition::{Absent, None, Present, VersionIn, VersionNotIn};
        let when = |leave: Leave, asked| leave.when(asked).ok();
        assert_eq!(when(Leave::Always, VersionNotIn(vec![1])), Some(VersionNotIn(vec![1])));
        assert_eq!(when(Leave::IfAbsent, None), Some(Absent));
        assert_eq!(when(Leave::IfAbsent, Present), Option::None);
        assert_eq!(when(Leave::IfPresent, None), Some(Present));
        assert_eq!(when(Leave::IfPresent, VersionIn(vec![7])), Some(VersionIn(vec![7])));
        assert_eq!(when(Leave::IfPresent, Absent), Option::None);
        assert_eq!(when(Leave::IfPresent, VersionNotIn(vec![7])), Option::None);
        let failed = || Failure::new(Code::PreconditionFailed, "x");
        assert_eq!(Leave::IfAbsent.explained(&None, failed()).code, Code::Forbidden);
        assert_eq!(Leave::IfAbsent.explained(&Absent, failed()).code, Code::PreconditionFailed);
        assert_eq!(Leave::Always.explained(&None, failed()).code, Code::PreconditionFailed);
    }
}
