//! Asking authorities about their certificates over the network: revocation lists (RFC 5280 §5) and OCSP (RFC 6960).
//!
//! One thread does it for all workers, so that what is known is in one place, and nobody is asked the same thing twice at once. A
//! worker hands it the chain of a client after the handshake, and waits for its word as for any other future. The way to an
//! authority is built anew from that chain: only addresses in certificates that the configured authorities answer for are asked, by
//! plain HTTP and without following redirects, and what else a client may have sent is not looked at.

mod desk;
mod fetch;
mod link;
mod list;
mod memory;
mod metrics;
mod ocsp;
mod scope;
mod signed;
#[cfg(test)]
mod tests;

use desk::Desk;
use harper_config::Inquiry;
use link::Link;
use metrics::Counts;
use prometheus::proto::MetricFamily;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use scope::Scope;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};

/// Chains that wait without holding up their workers' tasks.
const WAITING_MAX: usize = 256;
/// Threads that look up names and read lists.
const BLOCKING_THREADS_MAX: usize = 8;

/// Why a certificate is not believed though the handshake was; what is certain comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Distrust {
    /// It, or one between it and its authority, has been taken back.
    Revoked,
    /// That could not be found out, and has to be.
    Unknown,
}

impl Distrust {
    /// What the client is told.
    #[must_use]
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Revoked => "The client certificate was revoked",
            Self::Unknown => "Whether the client certificate was revoked could not be found out",
        }
    }
}

/// What was found out about one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Good,
    Revoked,
    Unknown,
    /// A list is not signed by its authority: somebody is between.
    Forged,
}

impl Found {
    /// Whether nobody else needs to be asked.
    fn is_certain(self) -> bool {
        matches!(self, Self::Good | Self::Revoked)
    }

    /// What is to be believed when another says this after it.
    fn or(self, next: Self) -> Self {
        if self == Self::Forged && next == Self::Unknown { self } else { next }
    }
}

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Crl,
    Ocsp,
    /// The certificate names nobody to ask.
    Nobody,
    /// The lists of the configuration.
    File,
}

/// Those whose certificates are believed.
pub(super) struct Authorities {
    /// Their own certificates.
    pub(super) roots: Arc<RootCertStore>,
    /// What the revocation lists are about that every handshake looks into, in their order.
    scopes: Vec<Scope>,
}

impl Authorities {
    /// With the lists that a handshake looks into.
    #[must_use]
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        lists: &[CertificateRevocationListDer<'_>],
    ) -> Self {
        // a handshake looks into the first that tells; where not all can be read, which that is is not known
        let scopes = lists.iter().map(|list| Scope::from_der(list)).collect::<Option<_>>();
        Self { roots, scopes: scopes.unwrap_or_default() }
    }

    /// Whether the handshake has learned from a list in force that a certificate is good: it would have failed else.
    fn know(&self, link: &Link) -> bool {
        let is_of = |scope: &&Scope| scope.issuer == link.issuer_name && scope.covers(link);
        let list = self.scopes.iter().find(is_of);
        list.is_some_and(|list| list.holds(SystemTime::now(), Duration::ZERO).is_some())
    }
}

/// The way to the thread; clones share it.
#[derive(Clone)]
pub(super) struct Inquiries {
    questions: mpsc::Sender<Question>,
    counts: Arc<Counts>,
}

/// A chain to be asked about.
struct Question {
    chain: Vec<CertificateDer<'static>>,
    authorities: Arc<Authorities>,
    settings: Inquiry,
    answer: oneshot::Sender<Option<Distrust>>,
}

impl Inquiries {
    /// Starts the thread; it ends with the last clone of this.
    ///
    /// # Errors
    /// The system's refusal of a thread.
    pub(super) fn start() -> io::Result<Self> {
        let (questions, asked) = mpsc::channel(WAITING_MAX);
        let counts = Arc::<Counts>::default();
        let counted = Arc::clone(&counts);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build()?;
        std::thread::Builder::new().name("revocation".into()).spawn(move || {
            let desk = Rc::new(Desk::new(counted));
            LocalSet::new().block_on(&runtime, serve(&desk, asked));
        })?;
        Ok(Self { questions, counts })
    }

    /// Why a chain that a handshake has accepted is not believed; none when all is well.
    pub(super) async fn ask(
        &self,
        chain: Vec<CertificateDer<'static>>,
        authorities: Arc<Authorities>,
        settings: Inquiry,
    ) -> Option<Distrust> {
        let (answer, answered) = oneshot::channel();
        let question = Question { chain, authorities, settings, answer };
        match self.questions.send(question).await {
            Ok(()) => answered.await.unwrap_or(Some(Distrust::Unknown)),
            Err(_) => Some(Distrust::Unknown),
        }
    }
}

impl Inquiries {
    /// What is counted of it.
    #[must_use]
    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        self.counts.collect()
    }
}

/// Answers questions until nobody can ask any more. Each is of an open connection, and ends with it: there are no more than these,
/// and one that has to wait holds up none of which the answer is known.
async fn serve(desk: &Rc<Desk>, mut questions: mpsc::Receiver<Question>) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            question = questions.recv() => {
                let Some(question) = question else { return };
                under_way.spawn_local(answer(Rc::clone(desk), question));
            }
            Some(_) = under_way.join_next() => {}
        }
    }
}

async fn answer(desk: Rc<Desk>, question: Question) {
    let Question { chain, authorities, settings, mut answer } = question;
    let distrust = tokio::select! {
        distrust = desk.judge_chain(&chain, &authorities, &settings) => distrust,
        () = answer.closed() => return,
    };
    // a client that has gone does not wait for it
    let _ = answer.send(distrust);
}
