//! How a subscription looks at events: which it wants, and what of them it shows. Who makes one knows queries and
//! permissions; the hub does not.

use crate::error::Answer;
use harper_store::Event;

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It is told.
    Yes,
    /// It is not told.
    No,
    /// A record that was told before is none of the subscription's any more.
    Gone,
}

/// How one subscriber, or several alike, looks at the events of a table.
pub(crate) trait Lens {
    /// Whether the event is told. Asked once for each event that is put into the outbox, in their order.
    fn wants(&self, event: &Event) -> Wanted;

    /// Whether the rights that it was made with still hold. Asked when users or roles have changed.
    fn may_go_on(&self) -> bool;

    /// What marks it: those with equal marks show the same. None when what it shows depends on more than the event.
    fn tag(&self) -> Option<&str>;

    /// Whether it shows bodies as they are.
    fn is_plain(&self) -> bool;

    /// Appends what is shown of a body; false when nothing is.
    ///
    /// # Errors
    /// 500 when a stored record cannot be read.
    fn show(&self, event: &Event, out: &mut Vec<u8>) -> Answer<bool>;
}

/// Shows everything, for ever.
#[cfg(test)]
pub(super) struct Whole;

#[cfg(test)]
impl Lens for Whole {
    fn wants(&self, _: &Event) -> Wanted {
        Wanted::Yes
    }

    fn may_go_on(&self) -> bool {
        true
    }

    fn tag(&self) -> Option<&str> {
        Some("")
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn show(&self, event: &Event, out: &mut Vec<u8>) -> Answer<bool> {
        out.extend_from_slice(event.body.as_deref().unwrap_or_default());
        Ok(event.body.is_some())
    }
}
