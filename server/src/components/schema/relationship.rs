//! The fields of a type that stand for records of another table, as they are written.

use super::{Reader, place};
use crate::components::relations::Declared;
use async_graphql_parser::Positioned;
use async_graphql_parser::types::{BaseType, ConstDirective, FieldDefinition};
use serde_json::Value;

/// The directive that makes them so.
const RELATIONSHIP: &str = "relationship";

impl Reader<'_> {
    /// The fields of a type that stand for records of another table.
    pub(super) fn relationships(
        &mut self,
        type_name: &str,
        fields: &[Positioned<FieldDefinition>],
    ) -> Vec<Declared> {
        let mut all = Vec::new();
        for field in fields {
            let Some(directive) = self::directive(field) else { continue };
            let name = field.node.name.node.to_string();
            let key = format!("{type_name}.{name}");
            self.check_arguments(&key, directive, &["from", "to"]);
            let is_enumerable = self.beside_relationship(&key, field);
            if fields.iter().filter(|other| other.node.name.node == name).count() > 1 {
                self.error(field.pos, &key, format!("{name} is declared twice"));
                continue;
            }
            let [from, to] = ["from", "to"].map(|argument| self.name(&key, directive, argument));
            let (is_many, base) = match &field.node.ty.node.base {
                BaseType::List(inner) => (true, &inner.base),
                base @ BaseType::Named(_) => (false, base),
            };
            let (BaseType::Named(type_name), Ok(from), Ok(to)) = (base, from, to) else { continue };
            let (type_name, place) = (type_name.to_string(), place(directive.pos));
            all.push(Declared { name, type_name, is_many, is_enumerable, from, to, place });
        }
        all
    }

    /// The other directives of a relationship: whether it is `@enumerable`. What else belongs on a value is a mistake.
    fn beside_relationship(&mut self, key: &str, field: &Positioned<FieldDefinition>) -> bool {
        let mut is_enumerable = false;
        for directive in &field.node.directives {
            match directive.node.name.node.as_str() {
                RELATIONSHIP => {}
                "enumerable" => is_enumerable = true,
                other => {
                    let message =
                        format!("@{other} belongs on the attribute that the relationship reads");
                    self.error(directive.pos, key, message);
                }
            }
        }
        is_enumerable
    }

    /// An argument that is the name of an attribute, quoted or bare; a mistake is noted.
    fn name(
        &mut self,
        key: &str,
        directive: &Positioned<ConstDirective>,
        argument: &str,
    ) -> Result<Option<String>, ()> {
        match self.argument(directive, argument) {
            None => Ok(None),
            Some(Value::String(name)) => Ok(Some(name)),
            Some(_) => {
                let message = format!("{argument} must be the name of an attribute");
                self.error(directive.pos, key, message);
                Err(())
            }
        }
    }
}

/// The directive that makes a field a relationship.
pub(super) fn directive(
    field: &Positioned<FieldDefinition>,
) -> Option<&Positioned<ConstDirective>> {
    field.node.directives.iter().find(|directive| directive.node.name.node == RELATIONSHIP)
}
