//! What can go wrong between the operator and the API server.

use crate::reasons::Reason;

/// A step that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Reading the ConfigMap of an application.
    #[error("read ConfigMap {name}: {}", said(source))]
    ReadComponent {
        /// Name of the ConfigMap.
        name: String,
        /// The answer.
        source: kube::Error,
    },
    /// Looking whether a child exists.
    #[error("look up {kind} {name}: {}", said(source))]
    LookUp {
        /// Kind of the child.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The answer.
        source: kube::Error,
    },
    /// Making or changing a child.
    #[error("apply {kind} {name}: {}", said(source))]
    Apply {
        /// Kind of the child.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The answer.
        source: kube::Error,
    },
    /// Deleting a child that is no longer wanted.
    #[error("delete {kind} {name}: {}", said(source))]
    Delete {
        /// Kind of the child.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The answer.
        source: kube::Error,
    },
    /// An object of someone else has the child's name.
    #[error("{kind} {name} exists and does not belong to this HarperServer")]
    NotOurs {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Someone else keeps changing a child.
    #[error("{kind} {name} is changed back by someone else again and again")]
    Contended {
        /// Kind of the child.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Time to leave it alone.
        pause: std::time::Duration,
    },
    /// Making a password.
    #[error("make a password: {0}")]
    Password(#[source] getrandom::Error),
    /// Writing a child as JSON.
    #[error("encode {kind} {name}: {source}")]
    Encode {
        /// Kind of the child.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Writing the status.
    #[error("write the status: {}", said(.0))]
    Status(#[source] kube::Error),
    /// The API server took longer than the operator waits.
    #[error("the API server did not answer in time")]
    TimedOut,
}

impl StepError {
    /// The reason shown in the conditions, which also decides about the next try.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotOurs { .. } => Reason::ChildNotOurs,
            Self::Contended { .. } => Reason::Contended,
            Self::Encode { .. } => Reason::ChildRefused,
            Self::TimedOut | Self::Password(_) => Reason::ApiUnavailable,
            Self::Apply { source: kube::Error::Api(status), .. }
                if matches!(status.code, 400 | 422) =>
            {
                Reason::ChildRefused
            }
            Self::ReadComponent { source, .. }
            | Self::LookUp { source, .. }
            | Self::Apply { source, .. }
            | Self::Delete { source, .. }
            | Self::Status(source) => match source {
                kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
                    Reason::PermissionDenied
                }
                _ => Reason::ApiUnavailable,
            },
        }
    }
}

/// The API server's own sentence; the client's Display repeats it together with every field of the answer.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn apply(code: u16, message: &str) -> StepError {
        let status = Status::failure(message, "").with_code(code).boxed();
        let name = "cities".to_owned();
        StepError::Apply { kind: "StatefulSet", name, source: kube::Error::Api(status) }
    }

    #[test]
    fn an_answer_decides_the_reason() {
        assert_eq!(apply(422, "").reason(), Reason::ChildRefused);
        assert_eq!(apply(403, "").reason(), Reason::PermissionDenied);
        assert_eq!(apply(500, "").reason(), Reason::ApiUnavailable);
        assert_eq!(apply(422, "spec: no").to_string(), "apply StatefulSet cities: spec: no");
    }
}
