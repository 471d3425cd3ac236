//! From what the applications declare to what can be reached: tables are defined and related, files found, data loaded.

use super::StartError;
use crate::components::{self, Application};
use crate::resource::files::{Cache, Files, NotFound};
use crate::resource::model::{Entity, Model, Relation};
use crate::resource::openapi::About;
use crate::resource::table::TableResource;
use crate::route::Routes;
use harper_store::{Store, TableSchema};
use std::sync::Arc;

/// Defines the tables, loads the data, and gives every exported table its path.
///
/// # Errors
/// A table or a data file that cannot be taken.
pub(super) fn routes(store: &Store, applications: &[Application]) -> Result<Routes, StartError> {
    let mut routes = Routes::default();
    let model = Arc::new(model(store, applications)?);
    if let Some(about) = about(applications) {
        routes.set_about(about);
    }
    for application in applications {
        for definition in application.tables.iter().filter(|_| application.rest) {
            let Some(path) = definition.path.clone() else { continue };
            let TableSchema { database, name, .. } = &definition.schema;
            let Some(at) = model.find(database, name) else { continue };
            let Entity { table, schema, .. } = &model.tables[at];
            // an equal definition of another application has the path already
            let _ = routes.add_table(TableResource {
                path,
                table: table.clone(),
                schema: Arc::clone(schema),
                database: store.database(database)?,
                model: Arc::clone(&model),
                entity: at,
                is_dated: application.last_modified,
                has_sockets: application.web_socket,
            });
        }
        for options in &application.files {
            routes.add_files(Files {
                folder: application.folder.clone(),
                prefix: options.prefix.clone(),
                patterns: options.patterns.clone(),
                url_path: options.url_path.clone(),
                index: options.index,
                extensions: options.extensions.clone(),
                fallthrough: options.fallthrough,
                not_found: options
                    .not_found
                    .clone()
                    .map(|(file, status)| NotFound { file, status }),
                cache: Cache::default(),
            });
        }
    }
    for file in applications.iter().flat_map(|application| &application.data) {
        let written = components::load_data(store, file)?;
        tracing::info!(file = %file.path.display(), written, "records loaded");
    }
    Ok(routes)
}

/// What the applications that are served over REST say of themselves; with several of them, all their names.
fn about(applications: &[Application]) -> Option<About> {
    let mut served = applications.iter().filter(|application| application.rest);
    let first = served.next()?;
    let title = served.fold(first.name.clone(), |title, next| format!("{title}, {}", next.name));
    Some(About { title, version: first.version.clone() })
}

/// Defines the tables and relates them to one another.
fn model(store: &Store, applications: &[Application]) -> Result<Model, StartError> {
    let mut model = Model::default();
    let definitions = || applications.iter().flat_map(|application| &application.tables);
    for definition in definitions() {
        let TableSchema { database, name, .. } = &definition.schema;
        if model.find(database, name).is_some() {
            continue;
        }
        let table = store.database(database)?.define(definition.schema.clone());
        let table = table.map_err(|error| StartError::Table {
            origin: definition.origin(),
            table: name.clone(),
            error,
        })?;
        let schema = table.schema();
        model.tables.push(Entity { table, schema, relations: Vec::new() });
    }
    for definition in definitions() {
        let TableSchema { database, name, .. } = &definition.schema;
        let relations = definition.relations.iter().filter_map(|relation| {
            let components::Relation { name, table, local, foreign, is_many, is_enumerable } =
                relation.clone();
            let target = model.find(database, &table)?;
            Some(Relation { name, target, local, foreign, is_many, is_enumerable })
        });
        let relations = relations.collect();
        if let Some(at) = model.find(database, name) {
            model.tables[at].relations = relations;
        }
    }
    Ok(model)
}
