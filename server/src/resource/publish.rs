//! What a message to a topic does to a table: it is written as a record, deletes one, or is only told.

use super::binary;
use super::failure::store_failure;
use super::guard;
use super::prepare;
use super::table::TableResource;
use crate::auth::Identity;
use crate::auth::access::Access;
use crate::auth::permission::Right;
use crate::content::{self, json};
use crate::error::{Answer, Code, Failure};
use crate::services::Services;
use bytes::Bytes;
use harper_store::{Key, Message, Op, Precondition, Prepared};
use std::sync::Arc;

/// A larger payload is parsed on the pool, so that it does not hold up the worker.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// What a payload is that says nothing of itself and is no JSON.
const OCTETS: &str = "application/octet-stream";

/// A message.
pub(crate) struct Publication {
    /// The key's text.
    pub key: String,
    /// What it says.
    pub payload: Bytes,
    /// Its media type, where the sender tells it.
    pub content_type: Option<String>,
    /// Whether it becomes the record, or with an empty payload deletes it.
    pub is_retained: bool,
    /// What is told to subscribers beside it.
    pub extra: Bytes,
    /// When it expires, in milliseconds since 1970; 0 for never. A record expires where its table's records do.
    pub expires_ms: u64,
    /// The same as a time from now.
    pub lifetime_ms: Option<u64>,
}

impl TableResource {
    /// The write that a message is.
    ///
    /// # Errors
    /// 401 or 403 for who may not write it, 400 for a payload that the schema does not take, 503 when the server is busy.
    pub(crate) async fn publication(
        &self,
        services: &Services,
        identity: &Identity,
        publication: Publication,
    ) -> Answer<Op> {
        let access = identity.access(&self.schema);
        let key = Key::from_path(&self.schema, &publication.key);
        let key = key.map_err(|error| store_failure(&services.metrics, error))?;
        let table = self.table.clone();
        if !publication.is_retained {
            self.check_message(identity, &access, &publication.payload)?;
            let Publication { payload, extra, expires_ms, .. } = publication;
            let message = Message { body: payload, extra, expires_ms };
            return Ok(Op::Message { table, key, message });
        }
        if publication.payload.is_empty() {
            if !access.allows(Right::Delete) {
                return Err(guard::refused(identity));
            }
            let extra = publication.extra;
            return Ok(Op::Delete { table, key, when: Precondition::None, extra });
        }
        let body = self.retained(services, publication).await?;
        let leave = guard::change(&access, &self.schema, &body, true);
        let when = leave?.when(Precondition::None)?;
        Ok(Op::Put { table, key, body, when })
    }

    /// A message needs the right to insert, for each member where the role's rights are on attributes.
    fn check_message(&self, identity: &Identity, access: &Access, payload: &[u8]) -> Answer<()> {
        if !access.allows(Right::Insert) {
            return Err(guard::refused(identity));
        }
        if access.covers_all(Right::Insert, &self.schema) {
            return Ok(());
        }
        let members = json::members(payload).map_err(|_| {
            let sentence = "The role's rights are on attributes, so a message must be an object";
            Failure::new(Code::Forbidden, sentence)
        })?;
        let covered = |name: &str| access.covers(Right::Insert, &self.schema, name);
        match members.iter().find(|(name, _)| !covered(name)) {
            None => Ok(()),
            Some((name, _)) => {
                let sentence = format!("Unauthorized access to attribute {name}");
                Err(Failure::new(Code::Forbidden, sentence))
            }
        }
    }

    /// The payload as a record: an object of JSON as it is, anything else as bytes with their type.
    async fn retained(&self, services: &Services, publication: Publication) -> Answer<Prepared> {
        let Publication { payload, content_type, extra, lifetime_ms, .. } = publication;
        let schema = Arc::clone(&self.schema);
        let is_small = payload.len() <= INLINE_BYTES_MAX;
        let work = move || {
            let is_object = payload.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
            if is_object {
                return Prepared::put(&schema, &payload).map_err(|error| prepare::invalid(&error));
            }
            let media_type = content_type.unwrap_or_else(|| OCTETS.to_owned());
            if !prepare::can_hold_content(&schema) {
                return Err(content::unsupported(&media_type));
            }
            let body = content::content(&media_type, &payload);
            prepare::put_content(&schema, &body).map_err(|error| prepare::invalid(&error))
        };
        let body = if is_small { work() } else { services.block_on_pool(work).await? }?;
        let body = body.with_extra(extra).map_err(|error| prepare::invalid(&error))?;
        Ok(match lifetime_ms.filter(|_| self.schema.expires()) {
            Some(ms) => body.expiring_in(ms),
            None => body,
        })
    }
}

/// The bytes that a record stands for which was stored as it came.
///
/// # Errors
/// 500 when the stored record cannot be read.
pub(crate) fn content_of(record: &[u8]) -> Answer<Bytes> {
    let content = binary::extract(record, &binary::Part::Record)?;
    Ok(content.map(|content| content.data).unwrap_or_default())
}
