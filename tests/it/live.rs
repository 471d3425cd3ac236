//! What changes while the server runs: the configuration, and the number of workers.

mod cases;
mod config;
pub(crate) mod fixture;
mod workers;
