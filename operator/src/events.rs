//! Kubernetes events: one for each change of the reason of `Ready`, and one for each child that was put back.

use crate::controller::Scope;
use crate::crd::{HarperServer, HarperServerStatus};
use crate::reasons::{Class, Reason, TABLE};
use crate::reconcile::Outcome;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use kube::runtime::events::{Event, EventType};

/// Longest note of an event, in bytes; the API server refuses more than 1024.
const NOTE_BYTES_MAX: usize = 1000;

/// Publishes what has changed. An event that cannot be published is logged and lost: the conditions say the same.
pub async fn publish(
    scope: &Scope,
    server: &HarperServer,
    previous: Option<&HarperServerStatus>,
    status: &HarperServerStatus,
    outcome: &Outcome,
) {
    let mut events = Vec::new();
    if let Some((reason, message)) = turned(previous, status) {
        events.push(event(reason, message));
    }
    if let Outcome::Applied(applied) = outcome {
        events.extend(applied.healed().iter().map(healed));
    }
    for event in events {
        if let Err(error) = scope.shared.recorder.publish(&event, &server.object_ref(&())).await {
            tracing::warn!(reason = event.reason, %error, "the event was not published");
        }
    }
}

/// The reason and message of `Ready` if the reason is another one than before.
fn turned(
    previous: Option<&HarperServerStatus>,
    status: &HarperServerStatus,
) -> Option<(Reason, String)> {
    let ready = |status: &HarperServerStatus| {
        status.conditions.iter().find(|condition| condition.type_ == "Ready").cloned()
    };
    let present = ready(status)?;
    if previous.and_then(ready).is_some_and(|before| before.reason == present.reason) {
        return None;
    }
    let row = TABLE.iter().find(|row| row.name == present.reason)?;
    Some((row.reason, present.message))
}

/// Events are told apart by the object that they are about besides the server; the recorder would count the second
/// child as a repetition of the first.
fn healed(child: &ObjectReference) -> Event {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let note = format!("put back {} {}", text(&child.kind), text(&child.name));
    Event {
        action: "Heal".to_owned(),
        secondary: Some(child.clone()),
        ..event(Reason::DriftHealed, note)
    }
}

fn event(reason: Reason, mut note: String) -> Event {
    note.truncate(note.floor_char_boundary(NOTE_BYTES_MAX));
    let type_ = match reason.class() {
        Class::Settled | Class::Progressing => EventType::Normal,
        Class::Waiting | Class::Transient | Class::Permanent => EventType::Warning,
    };
    Event {
        type_,
        reason: reason.name().to_owned(),
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_put_back_have_events_of_their_own() {
        let child = |kind: &str| ObjectReference {
            kind: Some(kind.to_owned()),
            name: Some("cities".to_owned()),
            ..ObjectReference::default()
        };
        let (one, two) = (healed(&child("Service")), healed(&child("ServiceAccount")));
        assert_eq!(one.note.as_deref(), Some("put back Service cities"));
        assert_ne!(one.secondary, two.secondary);
    }
}
