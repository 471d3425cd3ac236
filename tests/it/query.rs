//! The query language: every form of it, against a model, and what happens with queries that make no sense.

mod body;
mod equivalence;
mod explain;
mod forms;
mod joins;
mod mistakes;
mod model;
mod property;
mod stream;
