//! The query language: every form of it, against a model, and what happens with queries that make no sense.

mod equivalence;
mod forms;
mod mistakes;
mod model;
mod stream;
