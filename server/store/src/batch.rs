//! One operation applied inside the write transaction: from an operation and a precondition to a
//! record, its index entries and its place in the change log.
//!
//! Everything that can be refused is refused before the first write.

use std::borrow::Cow;
use std::ops::Bound;

use bytes::Bytes;
use heed::RwTxn;

use crate::body::Prepared;
use crate::collector::Collector;
use crate::encode::{self, TAG_NUMBER};
use crate::entry::Entry;
use crate::env::Handle;
use crate::error::Error;
use crate::expiry;
use crate::hlc;
use crate::json::{self, Members};
use crate::key::{INT_MAX, INTEGER_MAX, Key, KeyValue};
use crate::layout::{self, Layout};
use crate::ledger::Ledger;
use crate::log;
use crate::merge::merge;
use crate::observer::{Event, Interest, Operation};
use crate::record::{self, HEADER_BYTES, Meta, Record};
use crate::schema::Kind;
use crate::table::{Table, TableState};
use crate::writer::{Message, Op, Outcome};

/// Applies operations; keeps its buffers from one to the next.
pub(crate) struct Applier {
    log: Handle,
    /// What is to be told.
    pub(crate) collector: Collector,
    /// The stored value as it was.
    old: Vec<u8>,
    /// The value to store.
    new: Vec<u8>,
}

/// How a body becomes a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Replace,
    Merge,
}

/// What indexes take their values from.
struct Indexed<'a> {
    body: &'a [u8],
    /// What [`TableState::evaluate`] made of it.
    made: &'a [Option<Vec<u8>>],
}

/// One write as the log and the observer are told of it.
struct Write<'a> {
    operation: Operation,
    key: &'a Key,
    meta: &'a Meta,
    body: Body<'a>,
    extra: &'a Bytes,
}

/// What was written.
#[derive(Clone, Copy)]
enum Body<'a> {
    None,
    /// A record, which can be read where it is stored until the next write.
    Stored(&'a [u8]),
    Message(&'a Bytes),
}

impl Write<'_> {
    /// The entry for the log, with the record's body only if it is to be kept there.
    fn entry(&self, keeps_body: bool) -> Entry<'_> {
        let Write { operation, key, meta, body, extra } = self;
        let body = match body {
            Body::Message(body) => Some(&***body),
            Body::Stored(body) if keeps_body => Some(*body),
            Body::Stored(_) | Body::None => None,
        };
        Entry {
            sequence: meta.sequence,
            version: meta.version,
            origin: meta.origin,
            operation: *operation,
            key: key.as_bytes(),
            body,
            is_content: body.is_some() && meta.is_content(),
            expires_ms: body.map_or(0, |_| meta.expires_ms),
            // a record that is read for its body has this beside it
            extra: if body.is_none() && *operation == Operation::Put { &[] } else { extra },
        }
    }

    fn event(&self, table: &Table) -> Event {
        let Write { operation, key, meta, body, extra } = *self;
        Event {
            table: table.identity(),
            sequence: meta.sequence,
            version: meta.version,
            origin: meta.origin,
            operation,
            key: key.clone(),
            body: match body {
                Body::None => None,
                Body::Stored(body) => Some(Bytes::copy_from_slice(body)),
                Body::Message(body) => Some(body.clone()),
            },
            is_content: meta.is_content(),
            expires_ms: meta.expires_ms,
            extra: extra.clone(),
        }
    }
}

impl Applier {
    pub(crate) fn new(log: Handle, collector: Collector) -> Applier {
        Applier { log, collector, old: Vec::new(), new: Vec::new() }
    }

    pub(crate) fn apply(
        &mut self,
        txn: &mut RwTxn<'_>,
        ledger: &mut Ledger,
        op: &Op,
    ) -> Result<Outcome, Error> {
        match op {
            Op::Put { table, key, body, when } => {
                let old = self.load(txn, table, key)?;
                when.check(old.as_ref())?;
                self.write(txn, ledger, table, key, body, old, Mode::Replace)
            }
            Op::Insert { table, key, body } => {
                let key = match key.clone().or_else(|| body.key()) {
                    Some(key) => key,
                    None => new_key(txn, ledger, table)?,
                };
                let old = self.load(txn, table, &key)?;
                if old.is_some() {
                    return Err(Error::Exists);
                }
                self.write(txn, ledger, table, &key, body, None, Mode::Replace)
            }
            Op::Patch { table, key, body, when } => {
                let old = self.load(txn, table, key)?;
                when.check(old.as_ref())?;
                self.write(txn, ledger, table, key, body, old, Mode::Merge)
            }
            Op::Delete { table, key, when, extra } => {
                let old = self.load(txn, table, key)?;
                when.check(old.as_ref())?;
                if old.is_none() && extra.is_empty() {
                    return Ok(outcome(key, Meta::default(), None));
                }
                self.remove(txn, ledger, table, key, old, extra)
            }
            Op::Message { table, key, message } => self.message(txn, ledger, table, key, message),
            Op::Expire { table, key } => self.expire(txn, ledger, table, key),
        }
    }

    /// Copies the stored value, since writing may move it, and says what is known of the record:
    /// nothing if its time has passed.
    fn load(&mut self, txn: &RwTxn<'_>, table: &Table, key: &Key) -> Result<Option<Meta>, Error> {
        self.old.clear();
        let Some(value) = table.records().get(txn, key.as_bytes())? else { return Ok(None) };
        self.old.extend_from_slice(value);
        Ok(Some(record::read(value)?.meta).filter(|meta| !meta.has_expired()))
    }

    /// When the stored value expires or expired; 0: never, or there is none.
    fn old_expires_ms(&self) -> Result<u64, Error> {
        if self.old.is_empty() {
            return Ok(0);
        }
        record::read(&self.old).map(|record| record.meta.expires_ms)
    }

    fn old_body(&self) -> Result<Option<&[u8]>, Error> {
        if self.old.is_empty() {
            return Ok(None);
        }
        record::read(&self.old).map(|Record { body, .. }| Some(body))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one operation, used once")]
    fn write(
        &mut self,
        txn: &mut RwTxn<'_>,
        ledger: &mut Ledger,
        table: &Table,
        key: &Key,
        body: &Prepared,
        old: Option<Meta>,
        mode: Mode,
    ) -> Result<Outcome, Error> {
        let state = table.state();
        let rest = match mode {
            Mode::Replace if !body.partial => without_own(&state.layout, &body.rest),
            Mode::Replace => Cow::Owned(merge(&state.schema, &state.layout, None, body)?),
            Mode::Merge => {
                // an expired record is merged with no more than one that was never there
                let stored = if old.is_some() { self.old_body()? } else { None };
                Cow::Owned(merge(&state.schema, &state.layout, stored, body)?)
            }
        };
        // Not the version's time: that stays ahead for good once the clock was.
        let updated_ms = hlc::now_ms();
        let created_ms = body.created_ms.or(old.map(|meta| meta.created_ms));
        let mut meta = Meta {
            created_ms: created_ms.unwrap_or(updated_ms),
            updated_ms,
            expires_ms: expiry::time(&state, &rest, body, updated_ms),
            flags: match mode {
                Mode::Replace => body.flags,
                Mode::Merge => old.map_or(0, |meta| meta.flags),
            },
            ..Meta::default()
        };
        let mut new = std::mem::take(&mut self.new);
        new.clear();
        new.resize(HEADER_BYTES, 0);
        state.layout.push_body(&mut new, key, &rest, &meta);
        let made = state.evaluate(&new[HEADER_BYTES..])?;
        new.extend_from_slice(&body.extra);
        meta.version = ledger.version();
        meta.sequence = ledger.sequence(txn, table.id())?;
        meta.write(&mut new, body.extra_bytes());
        let stored = self.store(txn, ledger, table, &state, key, (&new, &made), &body.extra);
        self.new = new;
        stored?;
        Ok(outcome(key, meta, old))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one operation, used once")]
    fn store(
        &mut self,
        txn: &mut RwTxn<'_>,
        ledger: &mut Ledger,
        table: &Table,
        state: &TableState,
        key: &Key,
        (value, made): (&[u8], &[Option<Vec<u8>>]),
        extra: &Bytes,
    ) -> Result<(), Error> {
        let Record { meta, body, extra: _ } = record::read(value)?;
        self.update_indexes(txn, state, key, Some(Indexed { body, made }))?;
        self.update_expiry(txn, state, key, meta.expires_ms)?;
        table.records().put(txn, key.as_bytes(), value)?;
        let body = Body::Stored(body);
        let write = Write { operation: Operation::Put, key, meta: &meta, body, extra };
        self.log(txn, ledger, table, &write)
    }

    /// Appends to the log, and keeps for the observer what it wants.
    fn log(
        &mut self,
        txn: &mut RwTxn<'_>,
        ledger: &mut Ledger,
        table: &Table,
        write: &Write<'_>,
    ) -> Result<(), Error> {
        let interest = self.collector.interest(table.id());
        let entry = write.entry(interest == Interest::Durable);
        ledger.appended(log::append(txn, self.log, table.id(), &entry)?);
        self.collector.keep(interest, || write.event(table));
        Ok(())
    }

    fn message(
        &mut self,
        txn: &mut RwTxn<'_>,
        ledger: &mut Ledger,
        table: &Table,
        key: &Key,
        message: &Message,
    ) -> Result<Outcome, Error> {
        let Message { body, extra, expires_ms } = message;
        let meta = Meta {
            version: ledger.version(),
            updated_ms: hlc::now_ms(),
            expires_ms: *expires_ms,
            sequence: ledger.sequence(txn, table.id())?,
            ..Meta::default()
        };
        let body = Body::Message(body);
        let write = Write { operation: Operation::Message, key, meta: &meta, body, extra };
        self.log(txn, ledger, table, &write)?;
        Ok(outcome(key, meta, None))
    }

    fn expire(
        &mut self,
        txn: &mut RwTxn<'_>,
        ledger: &mut Ledger,
        table: &Table,
        key: &Key,
    ) -> Result<Outcome, Error> {
        let lives = self.load(txn, table, key)?.is_some();
        if lives || self.old.is_empty() {
            return Ok(outcome(key, Meta::default(), None));
        }
        let expired = record::read(&self.old)?.meta;
        self.remove(txn, ledger, table, key, Some(expired), &Bytes::new())
    }

    /// Removes the record that was loaded, if there was one, and tells of it.
    fn remove(
        &mut self,
        txn: &mut RwTxn<'_>,
        ledger: &mut Ledger,
        table: &Table,
        key: &Key,
        previous: Option<Meta>,
        extra: &Bytes,
    ) -> Result<Outcome, Error> {
        let version = ledger.version();
        let meta = Meta {
            version,
            created_ms: previous.map_or(0, |previous| previous.created_ms),
            updated_ms: hlc::now_ms(),
            sequence: ledger.sequence(txn, table.id())?,
            ..Meta::default()
        };
        let state = table.state();
        self.update_indexes(txn, &state, key, None)?;
        self.update_expiry(txn, &state, key, 0)?;
        table.records().delete(txn, key.as_bytes())?;
        let body = Body::None;
        let write = Write { operation: Operation::Delete, key, meta: &meta, body, extra };
        self.log(txn, ledger, table, &write)?;
        Ok(outcome(key, meta, previous))
    }

    fn update_expiry(
        &self,
        txn: &mut RwTxn<'_>,
        state: &TableState,
        key: &Key,
        expires_ms: u64,
    ) -> Result<(), Error> {
        match state.expiry {
            Some(tree) => expiry::update(tree, txn, key, self.old_expires_ms()?, expires_ms),
            None => Ok(()),
        }
    }

    /// Brings the indexes from the old body to the new one.
    fn update_indexes(
        &self,
        txn: &mut RwTxn<'_>,
        state: &TableState,
        key: &Key,
        new: Option<Indexed<'_>>,
    ) -> Result<(), Error> {
        if state.indexes.is_empty() {
            return Ok(());
        }
        let (mut before, mut after) = (Vec::new(), Vec::new());
        json::extract(self.old_body()?.unwrap_or(b"{}"), &state.index_names, &mut before);
        let Indexed { body, made } = new.unwrap_or(Indexed { body: b"{}", made: &[] });
        json::extract(body, &state.index_names, &mut after);
        for (new, made) in after.iter_mut().zip(made) {
            *new = made.as_deref().or(*new);
        }
        for ((index, old), new) in state.indexes.iter().zip(before).zip(after) {
            index.follow(txn, key, [old, new])?;
        }
        Ok(())
    }
}

fn outcome(key: &Key, meta: Meta, old: Option<Meta>) -> Outcome {
    Outcome {
        key: key.clone(),
        meta,
        existed: old.is_some(),
        previous_version: old.map(|meta| meta.version),
    }
}

/// The members without any that are the store's own: there are some only if the table was given
/// another definition after the body was prepared.
fn without_own<'a>(layout: &Layout, rest: &'a [u8]) -> Cow<'a, [u8]> {
    if !Members::inside(rest).any(|(name, _)| layout.owns(name)) {
        return Cow::Borrowed(rest);
    }
    let mut out = Vec::with_capacity(rest.len());
    for (name, value) in Members::inside(rest).filter(|(name, _)| !layout.owns(name)) {
        if !out.is_empty() {
            out.push(b',');
        }
        layout::push_member(&mut out, name, value);
    }
    Cow::Owned(out)
}

/// A key for a record that came without one.
fn new_key(txn: &RwTxn<'_>, ledger: &mut Ledger, table: &Table) -> Result<Key, Error> {
    let schema = table.schema();
    if let Some(key) = Key::generate(&schema) {
        return Ok(key);
    }
    let greatest = greatest_integer(txn, table.records())?;
    let max = if schema.key_attribute().kind == Kind::Int { INT_MAX } else { INTEGER_MAX };
    match ledger.integer_key(txn, table.id(), greatest, max.unsigned_abs())? {
        Some(next) => Ok(Key::number(next as f64)),
        None => Err(Error::KeysExhausted { table: table.name().to_owned() }),
    }
}

/// The greatest number among the keys, rounded up; 0 if there is none above it.
fn greatest_integer(txn: &RwTxn<'_>, records: Handle) -> Result<u64, Error> {
    let mut end = Vec::new();
    encode::push_number(&mut end, f64::INFINITY);
    let range = (Bound::Included([TAG_NUMBER].as_slice()), Bound::Included(end.as_slice()));
    let Some(item) = records.rev_range(txn, &range)?.next() else { return Ok(0) };
    match Key::from_stored(item?.0).decode() {
        KeyValue::Integer(number) => Ok(u64::try_from(number).unwrap_or(0)),
        KeyValue::Float(number) => Ok(number.max(0.0).ceil() as u64),
        KeyValue::String(_) => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_became_the_stores_own_are_left_out() {
        let attribute = |name: &str, role| crate::schema::Attribute {
            role,
            ..crate::schema::Attribute::new(name, Kind::Any)
        };
        let layout = Layout::new(&crate::schema::TableSchema::new(
            "data",
            "T",
            vec![
                attribute("id", crate::schema::Role::Plain),
                attribute("at", crate::schema::Role::UpdatedTime),
            ],
        ));
        assert_eq!(&*without_own(&layout, br#""a":1,"at":2,"b":3"#), br#""a":1,"b":3"#);
        assert!(matches!(without_own(&layout, br#""a":1"#), Cow::Borrowed(_)));
    }
}
