//! The Harper server: applications of tables and files over one HTTP stack, a copy of it on every core.
//!
//! `App → Worker → Listener → Connection → Protocol → Chain → Route → Resource → Store`: data flows down as plain
//! values and comes back as return values. `ARCHITECTURE.md` tells the way of a request.

mod admin;
mod app;
mod auth;
mod chain;
pub mod cli;
mod coding;
mod components;
mod computed;
mod conn;
mod content;
mod cpu;
mod error;
mod exchange;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod headers;
mod health;
mod hub;
mod lag;
mod listen;
mod metrics;
mod mqtt;
mod ops;
mod otlp;
mod pool;
mod reload;
mod reply;
mod resource;
mod route;
mod services;
mod telemetry;
mod tls;
mod worker;
mod workers;
mod ws;
