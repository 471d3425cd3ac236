//! The one table of reasons. Conditions, events, retries and the documentation all follow from it.

use std::fmt::Write as _;

/// What a reason means for the work on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing is left to do.
    Settled,
    /// Pods are on their way; the watch tells when they have arrived.
    Progressing,
    /// Another object is missing; the watch tells when it appears.
    Waiting,
    /// Tried again with growing pauses.
    Transient,
    /// Said as `Stalled`. A refused spec waits for its change; a refused object is tried again like after a transient
    /// failure, for the rule that refuses it may not be the operator's.
    Permanent,
}

/// Why a condition is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is explained in TABLE")]
pub enum Reason {
    AllReplicasReady,
    ScaledToZero,
    RollingOut,
    PodsNotReady,
    ConfigAccepted,
    ConfigAcceptedWithWarnings,
    ConfigInvalid,
    SpecInvalid,
    ReplicasUnsupported,
    ComponentNotFound,
    ComponentKeyNotFound,
    ChildRefused,
    ChildNotOurs,
    Contended,
    PermissionDenied,
    ApiUnavailable,
    Paused,
    DataLostWithPod,
    DriftHealed,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The reason.
    pub reason: Reason,
    /// Its name in conditions and events.
    pub name: &'static str,
    /// The condition it explains first; `-` for one that is only an event.
    pub condition: &'static str,
    /// What it means for the work.
    pub class: Class,
    /// What a person should know.
    pub doc: &'static str,
}

const fn row(
    reason: Reason,
    name: &'static str,
    condition: &'static str,
    class: Class,
    doc: &'static str,
) -> Row {
    Row { reason, name, condition, class, doc }
}

/// Every reason, in the order of [`Reason`].
pub const TABLE: &[Row] = &[
    row(
        Reason::AllReplicasReady,
        "AllReplicasReady",
        "Ready",
        Class::Settled,
        "Every pod runs the latest template and answers.",
    ),
    row(
        Reason::ScaledToZero,
        "ScaledToZero",
        "Ready",
        Class::Settled,
        "No pod is wanted and none exists.",
    ),
    row(
        Reason::RollingOut,
        "RollingOut",
        "Ready",
        Class::Progressing,
        "Pods of the latest template are being made.",
    ),
    row(
        Reason::PodsNotReady,
        "PodsNotReady",
        "Ready",
        Class::Progressing,
        "The pods have the latest template, but not all of them answer.",
    ),
    row(
        Reason::ConfigAccepted,
        "ConfigAccepted",
        "ConfigValid",
        Class::Settled,
        "The server's validator accepts the configuration.",
    ),
    row(
        Reason::ConfigAcceptedWithWarnings,
        "ConfigAcceptedWithWarnings",
        "ConfigValid",
        Class::Settled,
        "The server starts with this configuration, but some of it has no effect.",
    ),
    row(
        Reason::ConfigInvalid,
        "ConfigInvalid",
        "ConfigValid",
        Class::Permanent,
        "The server would not start with this configuration; nothing was applied and running pods keep theirs.",
    ),
    row(
        Reason::SpecInvalid,
        "SpecInvalid",
        "Ready",
        Class::Permanent,
        "Parts of the spec contradict each other; nothing was applied.",
    ),
    row(
        Reason::ReplicasUnsupported,
        "ReplicasUnsupported",
        "Ready",
        Class::Permanent,
        "More than one replica needs the distributed engine, which does not exist yet.",
    ),
    row(
        Reason::ComponentNotFound,
        "ComponentNotFound",
        "Ready",
        Class::Waiting,
        "The ConfigMap of an application does not exist yet; nothing was applied.",
    ),
    row(
        Reason::ComponentKeyNotFound,
        "ComponentKeyNotFound",
        "Ready",
        Class::Waiting,
        "The ConfigMap of an application lacks a key that the spec names; nothing was applied.",
    ),
    row(
        Reason::ChildRefused,
        "ChildRefused",
        "Ready",
        Class::Permanent,
        "The API server refuses an object made from the spec; the message is its own.",
    ),
    row(
        Reason::ChildNotOurs,
        "ChildNotOurs",
        "Ready",
        Class::Transient,
        "An object with a name that the operator needs exists and belongs to someone else; it is left alone.",
    ),
    row(
        Reason::Contended,
        "Contended",
        "Ready",
        Class::Transient,
        "Someone keeps changing an object back; the operator has slowed down.",
    ),
    row(
        Reason::PermissionDenied,
        "PermissionDenied",
        "Ready",
        Class::Transient,
        "The API server does not let the operator write; see its RBAC rules, quotas, and whether the namespace is being deleted.",
    ),
    row(
        Reason::ApiUnavailable,
        "ApiUnavailable",
        "Ready",
        Class::Transient,
        "The API server did not answer, or not in time.",
    ),
    row(
        Reason::Paused,
        "Paused",
        "Paused",
        Class::Settled,
        "spec.paused is set: the operator writes nothing but this status; while the spec asks for something else than what runs, observedGeneration stays behind.",
    ),
    row(
        Reason::DataLostWithPod,
        "DataLostWithPod",
        "StorageEphemeral",
        Class::Settled,
        "The storage is an emptyDir: the data is lost with the pod.",
    ),
    row(
        Reason::DriftHealed,
        "DriftHealed",
        "-",
        Class::Settled,
        "An object was deleted or edited by someone else and has been put back.",
    ),
];

impl Reason {
    /// Its line of the table.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// Its name in conditions and events.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it means for the work.
    #[must_use]
    pub fn class(self) -> Class {
        self.row().class
    }
}

/// The table for the documentation, as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("| reason | condition | class | meaning |\n|---|---|---|---|\n");
    for Row { name, condition, class, doc, .. } in TABLE {
        // writing to a String cannot fail
        let _ = writeln!(text, "| `{name}` | {condition} | {class:?} | {doc} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.reason as usize, index, "{}", row.name);
            assert_eq!(format!("{:?}", row.reason), row.name);
        }
        assert_eq!(TABLE.len(), Reason::DriftHealed as usize + 1);
    }
}
