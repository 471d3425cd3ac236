//! The configuration: where values come from, what is said of wrong ones, and starting in an occupied place.

mod check;
mod precedence;
mod printed;
mod start;
