//! Subscribing to a table: who may, to which of its records, and what is shown of each event. The same for every protocol.

use super::failure::store_failure;
use super::guard;
use super::query::{self, Parsed};
use super::read;
use super::select::{Reading, RelatedLimits, Selection};
use super::table::{TableResource, Target};
use crate::auth::Identity;
use crate::auth::access::View;
use crate::auth::authority::Authority;
use crate::auth::permission::Right;
use crate::error::{Answer, Code, Failure};
use crate::hub::{Filter, Lens, Overflow, Pattern, Start, Wanted, Watch};
use crate::metrics::WorkerMetrics;
use crate::services::Services;
use harper_store::{Database, Event, Key, Matcher, Meta, Operation, Query, Record, TableSchema};
use percent_encoding::percent_decode_str;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

/// Records that a subscription with conditions remembers as told; with more, it takes every record for told.
const TOLD_MAX: usize = 65_536;

/// What is asked of a subscription.
pub(crate) struct Asked<'a> {
    /// Which records.
    pub filter: Filter,
    /// Conditions and a selection, as the query of a URL.
    pub query: &'a str,
    /// From where on.
    pub start: Start,
}

impl TableResource {
    /// The records that a target names for a subscription; none for a target that has none.
    ///
    /// # Errors
    /// 400 for what is no key.
    pub(crate) fn watched(
        &self,
        services: &Services,
        target: &Target<'_>,
    ) -> Answer<Option<Filter>> {
        Ok(match target {
            Target::Record(id) => {
                let key = Key::from_path(&self.schema, id);
                Some(Filter::Key(key.map_err(|error| store_failure(&services.metrics, error))?))
            }
            Target::Collection => Some(Filter::All),
            Target::Prefix(folder) => Some(Filter::Pattern(Pattern::below(folder))),
            Target::Description | Target::Property(..) => None,
        })
    }

    /// What [`Local::subscribe`](crate::hub::Local::subscribe) takes, with the tag 0; messages that find no room are lost.
    ///
    /// # Errors
    /// 401 or 403 for who may not read the table; 400 or 403 for the query, naming the mistake.
    pub(crate) fn watch(
        &self,
        services: &Services,
        identity: &Identity,
        asked: Asked<'_>,
    ) -> Answer<Watch> {
        let Asked { filter, query: text, start } = asked;
        let access = identity.access(&self.schema);
        if !access.allows(Right::Read) {
            return Err(guard::refused(identity));
        }
        let scope = self.model.scope(self.entity, identity);
        let parsed = query::parse(&scope, text)?;
        check(&parsed, &filter)?;
        let Parsed { query, select, .. } = parsed;
        let select = select.map_or_else(|| self.plain(|| scope), |select| Ok(Some(select)))?;
        let prefix = Some(filter.common_prefix()).filter(|prefix| !prefix.is_empty());
        let query = read::within(services, Parsed { query, ..Parsed::default() }, prefix)?.query;
        if matches!(start, Start::Current) && filter == Filter::All {
            // what cannot be searched is refused before anything is answered
            let plan = self.table.query(query.clone());
            plan.map_err(|error| store_failure(&services.metrics, error))?;
        }
        let look = self.look(services, identity, select, &query, start)?;
        Ok(Watch {
            tag: 0,
            table: self.table.clone(),
            database: Arc::clone(&self.database),
            filter,
            lens: Rc::new(look),
            start,
            query,
            overflow: Overflow::Drop,
        })
    }

    fn look(
        &self,
        services: &Services,
        identity: &Identity,
        select: Option<Selection>,
        query: &Query,
        start: Start,
    ) -> Answer<Look> {
        let matcher = query.filter.as_ref().map(|filter| Matcher::new(&self.table, filter));
        let matcher = matcher.transpose();
        let matcher = matcher.map_err(|error| store_failure(&services.metrics, error))?;
        let view = identity.access(&self.schema).view(&self.schema);
        let tag = select.as_ref().map_or(Some(""), Selection::tag);
        Ok(Look {
            tag: tag.map(|tag| format!("{}{tag}", view.tag())),
            asker: identity.clone(),
            authority: Arc::clone(&services.credentials.authority),
            metrics: Arc::clone(&services.metrics),
            related: RelatedLimits::of(&services.config.query),
            schema: Arc::clone(&self.schema),
            database: Arc::clone(&self.database),
            view,
            select,
            // who goes on from somewhere knows records that were never told here
            told: RefCell::new((start == Start::Current).then(HashSet::new)),
            matcher,
        })
    }
}

/// Takes `startTime` and `previousCount` out of a query, where they are no attributes of the table.
pub(super) fn place(schema: &TableSchema, query: &str) -> Answer<(Option<Start>, String)> {
    let (mut start, mut rest) = (None, Vec::new());
    for part in query.split('&') {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if schema.attribute(name).is_some() {
            rest.push(part);
            continue;
        }
        let value = percent_decode_str(value).decode_utf8_lossy();
        match name {
            "startTime" => start = Some(Start::Since(time(&value)?)),
            "previousCount" => start = Some(Start::Last(count(&value)?)),
            _ => rest.push(part),
        }
    }
    Ok((start, rest.join("&")))
}

/// A time in milliseconds since 1970, which may have a fraction.
fn time(text: &str) -> Answer<u64> {
    let number = text.parse::<f64>().ok().filter(|number| *number >= 0.0 && number.is_finite());
    number.map(|number| number as u64).ok_or_else(|| {
        let sentence =
            format!("startTime={text}: give milliseconds since 1970, such as an event's localTime");
        Failure::new(Code::InvalidQuery, sentence)
    })
}

fn count(text: &str) -> Answer<usize> {
    text.parse().map_err(|_| {
        let sentence = format!("previousCount={text}: give a whole number");
        Failure::new(Code::InvalidQuery, sentence)
    })
}

/// A subscription has no order and no end, and a record has no conditions.
fn check(parsed: &Parsed, filter: &Filter) -> Answer<()> {
    let Parsed { query, explains, .. } = parsed;
    let sentence =
        if *explains || !query.sort.is_empty() || query.limit.is_some() || query.offset > 0 {
            "A subscription has conditions and select( ), but no sort( ), limit( ) or explain( )"
        } else if query.filter.is_some() && matches!(filter, Filter::Key(_)) {
            "On a record only select( ) has a meaning; conditions belong on the collection"
        } else {
            return Ok(());
        };
    Err(Failure::new(Code::InvalidQuery, sentence))
}

/// How one asker looks at the events of a table.
struct Look {
    asker: Identity,
    authority: Arc<Authority>,
    metrics: Arc<WorkerMetrics>,
    related: RelatedLimits,
    schema: Arc<TableSchema>,
    database: Arc<Database>,
    view: View,
    select: Option<Selection>,
    tag: Option<String>,
    matcher: Option<Matcher>,
    /// Hashes of the keys of records that were told and meet the conditions; none when that could be any record.
    told: RefCell<Option<HashSet<u64>>>,
}

impl Look {
    fn holds(&self, matcher: &Matcher, body: &[u8]) -> bool {
        let held = self.database.read().and_then(|txn| matcher.holds(&txn, body));
        held.unwrap_or_else(|error| {
            tracing::error!(%error, "a subscription's conditions cannot be tested");
            false
        })
    }

    /// Notes that a record was told.
    fn remember(&self, key: &Key) {
        let mut told = self.told.borrow_mut();
        if let Some(keys) = told.as_mut() {
            keys.insert(hash(key));
            if keys.len() > TOLD_MAX {
                *told = None;
            }
        }
    }

    /// Whether a record may have been told before.
    fn forget(&self, key: &Key) -> bool {
        self.told.borrow_mut().as_mut().is_none_or(|keys| keys.remove(&hash(key)))
    }

    /// The asker as they are now; none for one who is gone, or has another password.
    fn asker_now(&self) -> Option<Identity> {
        let Identity::User(then) = &self.asker else { return None };
        self.authority.users.now(then).map(|now| Identity::User(Rc::new(now)))
    }
}

fn hash(key: &Key) -> u64 {
    let hash = blake3::hash(key.as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*first)
}

impl Lens for Look {
    fn wants(&self, event: &Event) -> Wanted {
        let Some(matcher) = &self.matcher else { return Wanted::Yes };
        match (event.operation, &event.body) {
            (Operation::Put, Some(body)) if self.holds(matcher, body) => {
                self.remember(&event.key);
                Wanted::Yes
            }
            (Operation::Put, _) if self.forget(&event.key) => Wanted::Gone,
            (Operation::Delete, _) if self.forget(&event.key) => Wanted::Yes,
            // a message has no attributes
            (Operation::Put | Operation::Delete | Operation::Message, _) => Wanted::No,
        }
    }

    fn may_go_on(&self) -> bool {
        let (Identity::User(then), Some(Identity::User(now))) = (&self.asker, self.asker_now())
        else {
            return false;
        };
        if now.role.permission == then.role.permission {
            return true;
        }
        // conditions and selections may look at what other rights decide
        let access = Identity::User(now).access(&self.schema);
        self.matcher.is_none()
            && self.select.is_none()
            && access.allows(Right::Read)
            && access.view(&self.schema).tag() == self.view.tag()
    }

    fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    fn is_plain(&self) -> bool {
        self.select.is_none() && matches!(self.view, View::Whole)
    }

    fn show(&self, event: &Event, out: &mut Vec<u8>) -> Answer<bool> {
        let Some(body) = &event.body else { return Ok(false) };
        match (&self.select, event.operation) {
            (Some(select), Operation::Put) => {
                let failed = |error| store_failure(&self.metrics, error);
                let txn = self.database.read().map_err(failed)?;
                let mut reading = Reading::new(&txn, &self.metrics, self.related);
                let (version, updated_ms) = (event.version, event.time_ms());
                let meta = Meta { version, updated_ms, ..Meta::default() };
                let record = Record { meta, body, extra: &event.extra };
                select.push(record, &mut reading, out)
            }
            // of a message that is no object it cannot be told what of it may be seen
            (_, Operation::Message) if matches!(self.view, View::Part { rights: Some(_), .. }) => {
                let object = guard::object(&self.view, body);
                out.extend_from_slice(object.as_deref().unwrap_or_default());
                Ok(object.is_some())
            }
            // its members are none that the table computes
            (_, Operation::Message) => {
                out.extend_from_slice(body);
                Ok(true)
            }
            _ => {
                out.extend_from_slice(&guard::shown(&self.view, body)?);
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harper_store::{Attribute, Kind};

    #[test]
    fn a_place_is_taken_out_of_the_query() {
        let schema = |names: &[&str]| {
            let attributes = names.iter().map(|name| Attribute::new(*name, Kind::Any));
            TableSchema::new("data", "T", attributes.collect())
        };
        let of = |query| place(&schema(&["id"]), query).unwrap();
        assert_eq!(of("a=1&select(b)"), (None, "a=1&select(b)".to_owned()));
        assert_eq!(of("startTime=12.75&a=1"), (Some(Start::Since(12)), "a=1".to_owned()));
        assert_eq!(of("a=1&previousCount=3"), (Some(Start::Last(3)), "a=1".to_owned()));
        let own = place(&schema(&["id", "startTime"]), "startTime=5").unwrap();
        assert_eq!(own, (None, "startTime=5".to_owned()));
        for wrong in ["startTime=now", "startTime=-1", "previousCount=x", "previousCount"] {
            assert_eq!(place(&schema(&["id"]), wrong).unwrap_err().code, Code::InvalidQuery);
        }
    }
}
