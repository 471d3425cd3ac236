//! What a path can name: a table, or files. A resource takes a request and gives an answer.

mod binary;
pub(crate) mod body;
mod condition;
pub(crate) mod etag;
mod event_stream;
mod extension;
pub(crate) mod failure;
pub(crate) mod files;
pub(crate) mod guard;
pub(crate) mod model;
pub(crate) mod openapi;
mod prepare;
pub(crate) mod publish;
pub(crate) mod query;
mod range;
mod read;
mod record;
pub(crate) mod rows;
pub(crate) mod select;
pub(crate) mod subscribe;
pub(crate) mod table;
mod web_socket;
pub(crate) mod write;
