//! The rules, one by one, and a model: a session over a link that breaks, and a server that crashes.

mod model;
mod rules;
