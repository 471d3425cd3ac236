//! A call of an operation: its arguments, and what it answers with.

use crate::content::{self, BodyType, Format, Limits, Shape};
use crate::error::{Answer, Code, Failure};
use crate::exchange::Request;
use crate::resource::body;
use crate::services::Services;
use harper_config::Node;
use harper_store::{Attribute, Kind, TableSchema};
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

/// What an operation answers with.
pub(super) struct Done {
    pub(super) value: Value,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Done {
    /// A value.
    pub(super) fn with(value: Value) -> Answer<Self> {
        Ok(Self { value, headers: Vec::new() })
    }

    /// `{"message": …}`.
    pub(super) fn message(text: impl Into<String>) -> Answer<Self> {
        Self::with(json!({ "message": text.into() }))
    }
}

/// One call.
pub(super) struct Call<'a> {
    pub(super) services: &'a Services,
    pub(super) request: &'a Request,
    arguments: Map<String, Value>,
}

impl<'a> Call<'a> {
    /// Reads a request's body.
    pub(super) async fn read(services: &'a Services, request: &'a mut Request) -> Answer<Self> {
        let kind = content::of_body(&request.head.method, &request.head.headers)?;
        let is_known =
            matches!(kind, BodyType::Record(Format::Json | Format::Cbor | Format::MsgPack));
        if !is_known {
            let named = request.header(http::header::CONTENT_TYPE).unwrap_or_default();
            return Err(content::unsupported(named));
        }
        let bytes = body::read_small(services, request).await?;
        let schema =
            TableSchema::new("system", "operation", vec![Attribute::new("operation", Kind::Any)]);
        let bytes_max = services.config.http.body_bytes_max.saturating_mul(2);
        let limits = Limits { parts_max: 0, json_bytes_max: bytes_max };
        let text = content::to_json(&kind, &schema, Shape::One, limits, bytes)?;
        let arguments = serde_json::from_slice::<Value>(&text).map_err(|error| {
            Failure::new(Code::InvalidBody, format!("The body is not valid JSON: {error}"))
        })?;
        let Value::Object(arguments) = arguments else { return Err(no_operation()) };
        Ok(Self { services, request, arguments })
    }

    /// The name of the operation.
    pub(super) fn name(&self) -> Answer<String> {
        match self.arguments.get("operation") {
            Some(Value::String(name)) if !name.is_empty() => Ok(name.clone()),
            _ => Err(no_operation()),
        }
    }

    /// An argument that has to be there, as text.
    pub(super) fn text(&self, name: &str) -> Answer<&str> {
        self.optional_text(name)?.ok_or_else(|| missing(name))
    }

    /// An argument as text; none when it is not given.
    pub(super) fn optional_text(&self, name: &str) -> Answer<Option<&str>> {
        match self.arguments.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "a string")),
        }
    }

    /// An argument that is true or false; none when it is not given.
    pub(super) fn optional_flag(&self, name: &str) -> Answer<Option<bool>> {
        match self.arguments.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    /// An argument as a tree; none when it is not given.
    pub(super) fn optional_tree(&self, name: &str) -> Answer<Option<Node>> {
        let Some(value) = self.arguments.get(name).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        // every JSON text is a YAML text
        let node = harper_config::parse(&value.to_string());
        node.map(Some).map_err(|(_, sentence)| {
            Failure::new(Code::InvalidBody, format!("'{name}': {sentence}"))
        })
    }

    /// Runs what waits for the disk or for a hash.
    pub(super) async fn block<T: Send + 'static>(
        &self,
        work: impl FnOnce(&crate::auth::authority::Authority) -> T + Send + 'static,
    ) -> Answer<T> {
        let authority = std::sync::Arc::clone(&self.services.credentials.authority);
        self.services.block_on_pool(move || work(&authority)).await
    }
}

/// What is said of an argument that has to be there and is not.
pub(super) fn missing(name: &str) -> Box<Failure> {
    Failure::new(Code::InvalidBody, format!("'{name}' is required"))
}

fn wrong(name: &str, expected: &str) -> Box<Failure> {
    Failure::new(Code::InvalidBody, format!("'{name}' must be {expected}"))
}

fn no_operation() -> Box<Failure> {
    Failure::new(Code::InvalidBody, "Request body must include an 'operation' property.")
}
