//! The operator of Harper servers on Kubernetes.
//!
//! It owns the kind `HarperServer` ([`crd`]) and turns each of them into a ConfigMap, a Secret, a ServiceAccount, two
//! Services and a StatefulSet ([`reconcile`]). It reads no Secret, keeps no finalizer and holds no state of its own:
//! what it remembers ([`memory`]) only saves API calls and is rebuilt from the cluster.

pub mod admin;
pub mod app;
pub mod cli;
pub mod controller;
pub mod crd;
pub mod events;
#[cfg(test)]
mod golden;
pub mod memory;
pub mod metrics;
mod random;
pub mod rbac;
pub mod reasons;
pub mod reconcile;
pub mod smoke;
pub mod telemetry;
