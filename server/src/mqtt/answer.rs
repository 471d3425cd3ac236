//! Answers to what a client sends, in the order in which it was sent (MQTT-4.6.0-2 to MQTT-4.6.0-4): a write is answered
//! when it is durable, and what comes after it waits.

use super::client::{Client, Stop};
use crate::error::{Code, Failure};
use crate::resource::failure::store_failure;
use harper_mqtt::packet::{Ack, Delivery, Packet};
use harper_mqtt::property::REASON_STRING;
use harper_mqtt::{PacketId, Properties, Reason, Text};
use harper_store::TableId;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// What a write came to.
pub(super) type Written = Result<(), harper_store::Error>;

/// An answer that waits for its turn.
pub(super) struct Waiting {
    /// What is answered.
    pub question: Question,
    /// The write that it waits for; none when it is known what came of it.
    pub write: Option<Write>,
    /// Why it is refused.
    pub failure: Option<Box<Refusal>>,
}

/// A write under way.
pub(super) struct Write {
    /// What comes of it.
    pub written: oneshot::Receiver<Written>,
    /// The table that it is told of; none for what nobody is told.
    pub table: Option<TableId>,
}

/// Why a message is refused.
pub(super) struct Refusal {
    /// In MQTT's words.
    pub reason: Reason,
    /// In ours.
    pub sentence: String,
    /// Whether the same message may be taken another time.
    pub is_passing: bool,
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// PUBLISH.
    Publish(Delivery),
    /// PUBREL, of a message that there was or was not.
    Release(PacketId, bool),
}

/// An answer whose time has come.
pub(super) struct Answered {
    question: Question,
    failure: Option<Box<Refusal>>,
}

/// What a client is told of a failure.
pub(super) fn refusal(failure: &Failure) -> Box<Refusal> {
    let reason = match failure.code {
        Code::LoginRequired | Code::LoginFailed | Code::Forbidden => Reason::NotAuthorized,
        Code::Overloaded | Code::InsufficientStorage | Code::BodyTooLarge => Reason::QuotaExceeded,
        Code::InvalidBody | Code::UnsupportedMediaType => Reason::PayloadFormatInvalid,
        Code::BadRequest | Code::NotFound => Reason::TopicNameInvalid,
        _ => Reason::UnspecifiedError,
    };
    let is_passing =
        matches!(failure.code, Code::Overloaded | Code::InsufficientStorage | Code::Internal);
    Box::new(Refusal { reason, sentence: failure.message.to_string(), is_passing })
}

impl Client {
    /// Waits for the first answer in the row.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answered> {
        let Some(first) = self.answers.front_mut() else { return Poll::Pending };
        let written = match &mut first.write {
            None => Ok(()),
            Some(write) => match Pin::new(&mut write.written).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(written) => written.unwrap_or(Err(harper_store::Error::Stopped)),
            },
        };
        let Some(Waiting { question, failure, .. }) = self.answers.pop_front() else {
            return Poll::Pending;
        };
        let failure = match written {
            // the client sends again what was taken before
            Ok(()) | Err(harper_store::Error::Exists) => failure,
            Err(error) => {
                let services = self.context.host.services();
                Some(refusal(&store_failure(&services.metrics, error)))
            }
        };
        Poll::Ready(Answered { question, failure })
    }

    /// Whether a write of this client to a table is under way.
    pub(super) fn is_writing(&self, table: TableId) -> bool {
        let mut writes = self.answers.iter().filter_map(|waiting| waiting.write.as_ref());
        writes.any(|write| write.table == Some(table))
    }

    /// Answers, and also what follows and waits for nothing.
    pub(super) fn answered_all(&mut self, first: Answered) -> Result<(), Stop> {
        self.answered(first)?;
        while self.collects()
            && let Some(Waiting { question, failure, .. }) =
                self.answers.pop_front_if(|next| next.write.is_none())
        {
            self.answered(Answered { question, failure })?;
        }
        Ok(())
    }

    /// Answers.
    fn answered(&mut self, answered: Answered) -> Result<(), Stop> {
        let Answered { question, failure } = answered;
        if let Some(failure) = failure.as_deref().filter(|_| self.must_end(question))
            && failure.is_passing
        {
            return Err(Stop::refuse(failure.reason, &failure.sentence[..]));
        }
        let refused = |id| self.ack(id, failure.as_deref());
        let packet = match question {
            Question::Publish(Delivery::AtMostOnce) => {
                self.note_lost(failure.is_some());
                return Ok(());
            }
            Question::Publish(Delivery::AtLeastOnce(id)) => {
                let ack = refused(id);
                self.inbound.puback();
                Packet::Puback(ack)
            }
            Question::Publish(Delivery::ExactlyOnce(id)) => {
                let ack = refused(id);
                if ack.reason.is_error() {
                    self.inbound.refuse(id);
                    self.held.remove(&id);
                }
                Packet::Pubrec(ack)
            }
            Question::Release(id, was_known) => {
                if let Some(failure) = failure {
                    return Err(Stop::refuse(failure.reason, failure.sentence));
                }
                self.inbound.pubrel(id);
                let reason =
                    if was_known { Reason::Success } else { Reason::PacketIdentifierNotFound };
                Packet::Pubcomp(Ack::new(id, reason))
            }
        };
        self.note_lost(failure_of(&packet));
        self.send(&packet);
        Ok(())
    }

    /// Waits for what comes of everything that was taken: whoever goes on with the session is to find it so. What was refused
    /// is not held, since the client sends it again.
    pub(super) async fn settle_answers(&mut self) {
        while let Some(Waiting { question, write, failure }) = self.answers.pop_front() {
            let written = match write {
                Some(write) => write.written.await.unwrap_or(Err(harper_store::Error::Stopped)),
                None => Ok(()),
            };
            let is_written = matches!(written, Ok(()) | Err(harper_store::Error::Exists));
            match question {
                Question::Publish(Delivery::ExactlyOnce(id))
                    if failure.is_some() || !is_written =>
                {
                    self.inbound.refuse(id);
                    self.held.remove(&id);
                }
                Question::Release(id, _) if is_written => {
                    self.inbound.pubrel(id);
                }
                Question::Publish(_) | Question::Release(..) => {}
            }
        }
    }

    /// Whether a message that cannot be taken now ends the connection, so that it comes again: before MQTT 5 an answer would
    /// say that all is well (3.1.1: MQTT-4.8.0-2).
    fn must_end(&self, question: Question) -> bool {
        let has_answer =
            matches!(question, Question::Publish(delivery) if delivery != Delivery::AtMostOnce);
        has_answer && !self.version.is_v5()
    }

    /// The answer to a message. Before MQTT 5 there is no way to refuse one (3.1.1: MQTT-3.3.5-2).
    fn ack(&self, id: PacketId, failure: Option<&Refusal>) -> Ack {
        let Some(failure) = failure else { return Ack::success(id) };
        tracing::debug!(client = ?self.client_id, reason = %failure.reason, "a message is refused: {}", failure.sentence);
        if !self.version.is_v5() {
            return Ack::success(id);
        }
        let mut properties = Properties::default();
        if let (true, Ok(text)) = (self.wants_problems, Text::try_from(&failure.sentence[..])) {
            properties.push(&REASON_STRING, text);
        }
        Ack { id, reason: failure.reason, properties }
    }

    fn note_lost(&self, is_lost: bool) {
        if is_lost {
            self.metrics.mqtt.publications_refused.add(1);
        }
    }
}

fn failure_of(packet: &Packet) -> bool {
    matches!(packet, Packet::Puback(ack) | Packet::Pubrec(ack) if ack.reason.is_error())
}
