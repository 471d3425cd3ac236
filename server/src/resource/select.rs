//! Which attributes of a record are returned, and in which form; attributes may be related records.

use super::failure::store_failure;
use super::guard;
use super::model::Scope;
use crate::auth::access::View;
use crate::content::json;
use crate::error::{Answer, Code, Failure};
use crate::metrics::{Rejected, WorkerMetrics};
use harper_store::{Attribute, Computed, Element, Kind, ReadTxn, Record, Related, TableSchema};
use std::sync::Arc;

/// What is asked for: names, each with what is asked of the records or the object it stands for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The form of the answer.
    pub form: Form,
    /// The names; at least one.
    pub items: Vec<(String, Option<Self>)>,
}

/// How a selection is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `select(a)`: the bare value of one attribute.
    Values,
    /// `select(a,b)`: objects with these attributes; absent ones are left out.
    Objects,
    /// `select([a,b])`: arrays of these attributes; absent ones are null.
    Arrays,
    /// Without a selection: the record with its enumerable relationships and computed attributes.
    Whole,
}

/// A selection whose names are resolved.
pub(crate) struct Selection {
    form: Form,
    items: Vec<Item>,
    /// What is shown of a whole record.
    view: View,
    /// The types of what is returned as an object.
    pub schema: Arc<TableSchema>,
    tag: String,
}

struct Item {
    name: String,
    source: Source,
}

/// Where a value comes from.
enum Source {
    /// A member of the record, or what is selected of it.
    Member { name: String, inner: Option<Selection> },
    /// The records that the record is related to.
    Related { related: Related, is_many: bool, view: View, inner: Option<Selection> },
    /// Made from the record.
    Computed(Computed),
    /// When the record was last written.
    Updated,
    /// What the asker may not see looks as if it was not there.
    Hidden,
}

/// What selecting from records needs besides them.
pub(crate) struct Reading<'t> {
    /// The transaction in which related records are read.
    pub txn: &'t ReadTxn<'t>,
    /// Counters of the worker.
    pub metrics: &'t WorkerMetrics,
    /// What one record may bring with it.
    pub limits: RelatedLimits,
    /// Whether null was written where nothing is known of a computed value.
    pub lacks_value: bool,
    /// How many more related records it may.
    left: usize,
    /// Where what is written of the record begins.
    start: usize,
}

/// Limits of the related records that one record may bring with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelatedLimits {
    /// How many.
    pub records_max: usize,
    /// Bytes of the record's text with them.
    pub bytes_max: usize,
}

impl RelatedLimits {
    /// As they are configured.
    #[must_use]
    pub(crate) fn of(config: &harper_config::Query) -> Self {
        Self { records_max: config.related_records_max, bytes_max: config.held_bytes_max }
    }
}

/// A record, or an object within one, taken apart.
struct Parts<'m, 't> {
    members: Vec<harper_store::Member<'m>>,
    record: Option<Record<'t>>,
}

impl<'t> Reading<'t> {
    /// For the records of a transaction.
    #[must_use]
    pub(crate) fn new(
        txn: &'t ReadTxn<'t>,
        metrics: &'t WorkerMetrics,
        limits: RelatedLimits,
    ) -> Self {
        Self { txn, metrics, limits, lacks_value: false, left: limits.records_max, start: 0 }
    }

    /// Counts one related record; what is written of the main one would then end at `end`.
    fn count(&mut self, end: usize) -> Answer<()> {
        let bytes_max = self.limits.bytes_max;
        if end.saturating_sub(self.start) > bytes_max {
            self.metrics.rejected(Rejected::HeldBytes);
            let sentence = format!(
                "One record with the related ones that are asked for has more than {bytes_max} bytes: \
                 select( ) fewer attributes of them, or query the related table instead"
            );
            return Err(Failure::new(Code::InvalidQuery, sentence));
        }
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            return Ok(());
        }
        self.metrics.rejected(Rejected::RelatedRecords);
        let max = self.limits.records_max;
        let sentence = format!(
            "One record is related to more than {max} records that select( ) asks for: \
             query the related table instead"
        );
        Err(Failure::new(Code::InvalidQuery, sentence))
    }
}

impl Selection {
    /// Resolves names on a table.
    ///
    /// # Errors
    /// 400 for what cannot be selected from; 403 for related records that may not be read.
    pub(crate) fn new(scope: &Scope<'_>, asked: Asked) -> Answer<Self> {
        let mut mark = format!("{asked:?}");
        let mut attributes = Vec::new();
        let mut items: Vec<Item> = Vec::new();
        for (name, inner) in asked.items {
            // an object has each member once
            if asked.form == Form::Objects && items.iter().any(|item| item.name == name) {
                continue;
            }
            let (source, kind) = source(scope, &name, inner)?;
            if let Source::Computed(computed) = &source {
                mark.push_str(&format!("{computed:?}"));
            }
            attributes.push(Attribute::new(name.clone(), kind));
            items.push(Item { name, source });
        }
        Ok(Self::of(asked.form, items, attributes, &mark))
    }

    /// A record as plain reads have it; none when it is as it is stored.
    ///
    /// # Errors
    /// 500 when a relationship cannot be followed.
    pub(crate) fn whole(scope: &Scope<'_>) -> Answer<Option<Self>> {
        let relations = &scope.entity.relations;
        let mut attributes = scope.entity.schema.attributes.clone();
        attributes.retain(|attribute| attribute.computed.is_none() || attribute.enumerable);
        let (mut items, mut mark) = (Vec::new(), String::new());
        for Attribute { name, computed, .. } in &attributes {
            if let Some(computed) = computed.as_ref().filter(|_| scope.view.sees(name)) {
                mark.push_str(&format!("{computed:?}"));
                items.push(Item { name: name.clone(), source: Source::Computed(computed.clone()) });
            }
        }
        for relation in relations.iter().filter(|relation| relation.is_enumerable) {
            let name = relation.name.clone();
            match source(scope, &name, None) {
                Ok((source, kind)) => {
                    attributes.push(Attribute::new(name.clone(), kind));
                    items.push(Item { name, source });
                }
                // what may not be read is not there
                Err(failure) if failure.code == Code::Forbidden => {}
                Err(failure) => return Err(failure),
            }
        }
        if items.is_empty() {
            return Ok(None);
        }
        let whole = Self::of(Form::Whole, items, attributes, &mark);
        Ok(Some(Self { view: scope.view.clone(), ..whole }))
    }

    /// What is selected of an object in a record.
    fn within(asked: Asked) -> Self {
        let mark = format!("{asked:?}");
        let items = asked.items.into_iter().map(|(name, inner)| {
            let source = Source::Member { name: name.clone(), inner: inner.map(Self::within) };
            Item { name, source }
        });
        Self::of(asked.form, items.collect(), Vec::new(), &mark)
    }

    fn of(form: Form, items: Vec<Item>, attributes: Vec<Attribute>, mark: &str) -> Self {
        let hash = blake3::hash(mark.as_bytes()).to_hex();
        let schema = Arc::new(TableSchema::new("", "", attributes));
        Self { form, items, view: View::Whole, schema, tag: format!("-s{}", &hash[..8]) }
    }

    /// The bare value of one declared attribute or relationship; none when there is none of this name.
    ///
    /// # Errors
    /// 403 for what may not be read.
    pub(crate) fn property(scope: &Scope<'_>, name: &str) -> Answer<Option<Self>> {
        if scope.attribute(name)?.is_none() && scope.follow(name)?.is_none() {
            return Ok(None);
        }
        let items = vec![(name.to_owned(), None)];
        Self::new(scope, Asked { form: Form::Values, items }).map(Some)
    }

    /// What marks the selection in an entity tag; nothing when other records are part of what is returned, since the
    /// version of this one does not tell of theirs.
    #[must_use]
    pub(crate) fn tag(&self) -> Option<&str> {
        (!self.has_related()).then_some(&*self.tag)
    }

    /// Whether related records are part of it.
    #[must_use]
    pub(crate) fn has_related(&self) -> bool {
        self.items.iter().any(|item| matches!(item.source, Source::Related { .. }))
    }

    /// Whether expressions are evaluated for it.
    pub(crate) fn evaluates(&self) -> bool {
        self.items.iter().any(|item| matches!(item.source, Source::Computed(_)))
    }

    /// Whether what is returned are objects, whose members have the types of [`Selection::schema`].
    #[must_use]
    pub(crate) fn is_record(&self) -> bool {
        matches!(self.form, Form::Objects | Form::Whole)
    }

    /// The names of what is selected, in its order.
    #[must_use]
    pub(crate) fn columns(&self) -> Vec<String> {
        let attributes = self.schema.attributes.iter().map(|attribute| &attribute.name);
        match self.form {
            Form::Whole => attributes.filter(|name| self.view.sees(name)).cloned().collect(),
            _ => self.items.iter().map(|item| item.name.clone()).collect(),
        }
    }

    /// Appends what is selected of a record as JSON text; false when it is one value and there is none.
    ///
    /// # Errors
    /// 400 for more related records, or bytes of them, than one record may bring; 500 when the stored text is damaged.
    pub(crate) fn push<'t>(
        &self,
        record: Record<'t>,
        reading: &mut Reading<'t>,
        out: &mut Vec<u8>,
    ) -> Answer<bool> {
        (reading.left, reading.start) = (reading.limits.records_max, out.len());
        self.push_record(record, reading, out)
    }

    fn push_record<'t>(
        &self,
        record: Record<'t>,
        reading: &mut Reading<'t>,
        out: &mut Vec<u8>,
    ) -> Answer<bool> {
        let members = json::members(record.body).map_err(|error| damaged(&error))?;
        self.push_parts(&Parts { members, record: Some(record) }, reading, out)
    }

    fn push_parts<'t>(
        &self,
        parts: &Parts<'_, 't>,
        reading: &mut Reading<'t>,
        out: &mut Vec<u8>,
    ) -> Answer<bool> {
        match self.form {
            Form::Values => {
                let Some(item) = self.items.first() else { return Ok(false) };
                item.push(parts, reading, out)
            }
            Form::Objects => {
                out.push(b'{');
                self.push_members(parts, reading, out)?;
                Ok(true)
            }
            Form::Whole => {
                let Some(record) = parts.record else { return Ok(false) };
                let shown = guard::shown(&self.view, record.body)?;
                out.extend_from_slice(shown.strip_suffix(b"}").unwrap_or(&shown));
                self.push_members(parts, reading, out)?;
                Ok(true)
            }
            Form::Arrays => {
                out.push(b'[');
                for (index, item) in self.items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    if !item.push(parts, reading, out)? {
                        out.extend_from_slice(b"null");
                    }
                }
                out.push(b']');
                Ok(true)
            }
        }
    }

    /// The members of an object that has begun, and its end.
    fn push_members<'t>(
        &self,
        parts: &Parts<'_, 't>,
        reading: &mut Reading<'t>,
        out: &mut Vec<u8>,
    ) -> Answer<()> {
        for item in &self.items {
            let before = out.len();
            if out.last() != Some(&b'{') {
                out.push(b',');
            }
            json::push_string(&item.name, out);
            out.push(b':');
            if !item.push(parts, reading, out)? {
                out.truncate(before);
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// What is selected of a value: of an object, or of each in an array; anything else is itself.
    fn push_value(&self, raw: &str, reading: &mut Reading<'_>, out: &mut Vec<u8>) -> Answer<()> {
        match raw.as_bytes().first() {
            Some(b'{') => {
                let members = json::members(raw.as_bytes()).map_err(|error| damaged(&error))?;
                if !self.push_parts(&Parts { members, record: None }, reading, out)? {
                    out.extend_from_slice(b"null");
                }
            }
            Some(b'[') => {
                let items = json::items(raw.as_bytes()).map_err(|error| damaged(&error))?;
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    self.push_value(item.get(), reading, out)?;
                }
                out.push(b']');
            }
            _ => out.extend_from_slice(raw.as_bytes()),
        }
        Ok(())
    }
}

impl Item {
    /// Appends the value; false when there is none.
    fn push<'t>(
        &self,
        parts: &Parts<'_, 't>,
        reading: &mut Reading<'t>,
        out: &mut Vec<u8>,
    ) -> Answer<bool> {
        match &self.source {
            Source::Member { name, inner } => {
                let found = parts.members.iter().find(|(member, _)| member == name);
                let Some((_, value)) = found else { return Ok(false) };
                match inner {
                    Some(inner) => inner.push_value(value.get(), reading, out)?,
                    None => out.extend_from_slice(value.get().as_bytes()),
                }
                Ok(true)
            }
            Source::Related { related, is_many, view, inner } => {
                let Some(record) = parts.record else { return Ok(false) };
                push_related(related, *is_many, (view, inner.as_ref()), record, reading, out)
            }
            Source::Computed(computed) => {
                let Some(record) = parts.record else { return Ok(false) };
                let value = computed.value(record.body);
                reading.lacks_value |= value.is_err();
                out.extend_from_slice(value.as_deref().unwrap_or(b"null"));
                Ok(true)
            }
            Source::Updated => {
                let Some(record) = parts.record else { return Ok(false) };
                out.extend_from_slice(record.meta.updated_ms.to_string().as_bytes());
                Ok(true)
            }
            Source::Hidden => Ok(false),
        }
    }
}

fn push_related<'t>(
    related: &Related,
    is_many: bool,
    (view, inner): (&View, Option<&Selection>),
    record: Record<'t>,
    reading: &mut Reading<'t>,
    out: &mut Vec<u8>,
) -> Answer<bool> {
    let (txn, metrics) = (reading.txn, reading.metrics);
    let (mut count, mut failed) = (0, None);
    if is_many {
        out.push(b'[');
    }
    let mut push = |found: Record<'t>| -> Answer<()> {
        let whole_bytes = if inner.is_none() { found.body.len() } else { 0 };
        reading.count(out.len() + whole_bytes)?;
        if count > 0 {
            out.push(b',');
        }
        count += 1;
        match inner {
            Some(inner) if inner.push_record(found, reading, out)? => {}
            Some(_) => out.extend_from_slice(b"null"),
            None => out.extend_from_slice(&guard::shown(view, found.body)?),
        }
        Ok(())
    };
    related
        .each(txn, record.body, &mut |found| {
            failed = push(found).err();
            failed.is_none() && is_many
        })
        .map_err(|error| store_failure(metrics, error))?;
    if let Some(failure) = failed {
        return Err(failure);
    }
    if is_many {
        out.push(b']');
    }
    Ok(is_many || count > 0)
}

/// Where the value of a name comes from, and its type.
fn source(scope: &Scope<'_>, name: &str, inner: Option<Asked>) -> Answer<(Source, Kind)> {
    let entity = scope.entity;
    if name == "$id" {
        let key = entity.schema.key_attribute();
        return Ok((Source::Member { name: key.name.clone(), inner: None }, key.kind.clone()));
    }
    if name == "$updatedtime" {
        return Ok((Source::Updated, Kind::Any));
    }
    if let Some((relation, next)) = scope.follow(name)? {
        let related = entity.table.related(&next.join(relation));
        let related = related
            .map_err(|error| Failure::internal("a relationship cannot be followed", &error))?;
        let inner = inner.map(|asked| Selection::new(&next, asked)).transpose()?;
        let kind = match &inner {
            None => Kind::Object(next.entity.schema.attributes.clone()),
            Some(inner) if inner.is_record() => Kind::Object(inner.schema.attributes.clone()),
            Some(_) => Kind::Any,
        };
        let is_many = relation.is_many;
        let list = |kind| Kind::Array(Box::new(Element { kind, required: false }));
        let kind = if is_many { list(kind) } else { kind };
        return Ok((Source::Related { related, is_many, view: next.view, inner }, kind));
    }
    if let Some((first, rest)) = name.split_once('.')
        && entity.relation(first).is_some()
    {
        let sentence = format!("select({name}): write {first}{{{rest}}}");
        return Err(Failure::new(Code::InvalidQuery, sentence));
    }
    if !scope.view.sees(name) {
        return Ok((Source::Hidden, Kind::Any));
    }
    let attribute = entity.schema.attribute(name);
    if let Some(Attribute { computed: Some(computed), kind, .. }) = attribute {
        return Ok((Source::Computed(computed.clone()), kind.clone()));
    }
    let kind = match (attribute, &inner) {
        (Some(attribute), None) => attribute.kind.clone(),
        _ => Kind::Any,
    };
    let inner = inner.map(Selection::within);
    Ok((Source::Member { name: name.to_owned(), inner }, kind))
}

fn damaged(error: &serde_json::Error) -> Box<Failure> {
    Failure::internal("a stored record cannot be read", error)
}
