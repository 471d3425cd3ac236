//! TLS: certificates, who gets which, and their replacement.

pub(crate) mod certificates;
pub(crate) mod client;
mod clients;
mod connection;
mod first_start;
mod handshake;
mod inquiry;
mod layers;
mod listeners;
mod reload;
mod resumption;
mod revocation;
