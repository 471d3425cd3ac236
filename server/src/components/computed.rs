//! `@computed(from: "…", version: …)`: an expression over the other attributes of the record.

use async_graphql_parser::Positioned;
use async_graphql_parser::types::ConstDirective;
use harper_store::{Attribute, Computed};
use serde_json::Value;

/// The expression as it is written; none without `from`, where JavaScript is to set it.
///
/// # Errors
/// A clause that says which argument is wrong.
pub(super) fn read(directive: &Positioned<ConstDirective>) -> Result<Option<Computed>, String> {
    let argument = |name: &str| {
        directive.node.get_argument(name).and_then(|value| value.node.clone().into_json().ok())
    };
    let version = match argument("version") {
        None => String::new(),
        Some(Value::String(version)) => version,
        Some(Value::Number(version)) => version.to_string(),
        Some(_) => return Err("version must be a number or a string".into()),
    };
    match argument("from") {
        None => Ok(None),
        Some(Value::String(from)) => Ok(Some(Computed::new(from, version, Vec::new()))),
        Some(_) => Err("from must be a string with an expression".into()),
    }
}

/// Tells each expression the attributes it may use: the stored ones that it mentions. Returns the names of those
/// that are no expressions, each with what is wrong with it.
pub(super) fn resolve(attributes: &mut [Attribute]) -> Vec<(String, String)> {
    let stored: Vec<_> = attributes
        .iter()
        .filter(|attribute| attribute.computed.is_none())
        .map(|attribute| attribute.name.clone())
        .collect();
    let mut wrong = Vec::new();
    for Attribute { name, computed, .. } in attributes {
        let Some(computed) = computed else { continue };
        let is_used = |stored: &&String| computed.from.contains(stored.as_str());
        computed.names = stored.iter().filter(is_used).cloned().collect();
        if let Err(error) = harper_script::check(&computed.from, &computed.names) {
            wrong.push((name.clone(), format!("from is not an expression: {error}")));
        }
    }
    wrong
}
