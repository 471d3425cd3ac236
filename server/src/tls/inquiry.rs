//! Asking authorities about their certificates over the network: revocation lists (RFC 5280 §5) and OCSP (RFC 6960).
//!
//! One thread does it for all workers, so that what is known is in one place, and nobody is asked the same thing twice at once. A
//! worker hands it the chain of a client after the handshake, and waits for its word as for any other future. The way to an
//! authority is built anew from that chain: only addresses in certificates that the configured authorities answer for are asked, by
//! plain HTTP and without following redirects, and what else a client may have sent is not looked at.

mod fetch;
mod link;
mod list;
mod memory;
mod metrics;
mod ocsp;
mod signed;
#[cfg(test)]
mod tests;

use harper_config::{CrlInquiry, Inquiry, OcspInquiry};
use link::Link;
use list::{List, ListError};
use memory::{Kept, Memory};
use metrics::Counts;
use prometheus::proto::MetricFamily;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use signed::Algorithms;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};

/// Chains that are asked about at once; those after them wait.
const UNDER_WAY_MAX: usize = 256;
/// Chains that wait without holding up their workers' tasks.
const WAITING_MAX: usize = 256;
/// Lists that are fetched at once: they may be large.
const LISTS_FETCHED_MAX: usize = 2;
/// Addresses in one certificate that are asked, of a kind.
const ADDRESSES_MAX: usize = 4;
/// Threads that look up names.
const LOOKUPS_MAX: usize = 4;
/// What a list that could not be had counts of the bytes that are kept.
const NO_LIST_BYTES: usize = 1024;
/// How soon a list is asked for again that could not be had.
const RETRY: Duration = Duration::from_secs(60);

/// Why a certificate is not believed though the handshake was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Crl,
    Ocsp,
    /// The certificate names nobody to ask.
    Nobody,
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
    authorities: Arc<RootCertStore>,
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
            .max_blocking_threads(LOOKUPS_MAX)
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
        authorities: Arc<RootCertStore>,
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

/// Answers questions until nobody can ask any more.
async fn serve(desk: &Rc<Desk>, mut questions: mpsc::Receiver<Question>) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            question = questions.recv(), if under_way.len() < UNDER_WAY_MAX => {
                let Some(question) = question else { return };
                let desk = Rc::clone(desk);
                under_way.spawn_local(async move {
                    let Question { chain, authorities, settings, answer } = question;
                    let distrust = desk.judge_chain(&chain, &authorities, &settings).await;
                    // a client that has gone does not wait for it
                    let _ = answer.send(distrust);
                });
            }
            Some(_) = under_way.join_next() => {}
        }
    }
}

/// Where a list is, and the name and the key of the authority that has to have signed it.
type ListKey = (String, Vec<u8>, Vec<u8>);
/// Whom to ask, and what.
type AnswerKey = (String, Vec<u8>);

/// All that the thread has.
struct Desk {
    algorithms: Algorithms,
    lists: Rc<Memory<ListKey, Result<Rc<List>, Found>>>,
    answers: Rc<Memory<AnswerKey, Found>>,
    lists_fetched: Semaphore,
    counts: Arc<Counts>,
}

impl Desk {
    fn new(counts: Arc<Counts>) -> Self {
        Self {
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms.all,
            lists: Memory::new(Arc::clone(&counts.lists)),
            answers: Memory::new(Arc::clone(&counts.answers)),
            lists_fetched: Semaphore::new(LISTS_FETCHED_MAX),
            counts,
        }
    }

    async fn judge_chain(
        self: &Rc<Self>,
        chain: &[CertificateDer<'_>],
        authorities: &RootCertStore,
        settings: &Inquiry,
    ) -> Option<Distrust> {
        let links = match link::path(chain, &authorities.roots, self.algorithms) {
            Ok(links) => links,
            Err(error) => {
                tracing::debug!(%error, "a client certificate is no longer good");
                return Some(Distrust::Unknown);
            }
        };
        for link in &links {
            if let Some(distrust) = self.judge(link, settings).await {
                return Some(distrust);
            }
        }
        None
    }

    async fn judge(self: &Rc<Self>, link: &Link, settings: &Inquiry) -> Option<Distrust> {
        let Inquired { found, source, url, is_fail_open } = self.find_out(link, settings).await;
        self.counts.judged(source, found);
        let serial = &link.serial;
        match found {
            Found::Good => None,
            Found::Revoked => {
                tracing::info!(%serial, url, "a client certificate was revoked");
                Some(Distrust::Revoked)
            }
            Found::Unknown if is_fail_open => {
                tracing::warn!(%serial, url, "let in a client certificate that may have been revoked");
                None
            }
            Found::Unknown | Found::Forged => {
                tracing::warn!(%serial, url, "refused a client certificate that may have been revoked");
                Some(Distrust::Unknown)
            }
        }
    }

    /// Asks one after the other until somebody knows: lists first, for one tells of all certificates of its authority.
    async fn find_out<'a>(self: &Rc<Self>, link: &'a Link, settings: &Inquiry) -> Inquired<'a> {
        let is_fail_open = settings.is_fail_open;
        let source = Source::Nobody;
        let mut last = Inquired { found: Found::Unknown, source, url: "", is_fail_open };
        if let Some(crl) = &settings.crl {
            for url in link.lists.iter().take(ADDRESSES_MAX) {
                let found = self.by_list(link, url, crl).await;
                let is_fail_open = crl.is_fail_open;
                last = Inquired { found, source: Source::Crl, url, is_fail_open };
                if found != Found::Unknown {
                    return last;
                }
            }
        }
        if let Some(ocsp) = &settings.ocsp {
            for url in link.responders.iter().take(ADDRESSES_MAX) {
                let found = self.by_answer(link, url, ocsp, settings.answers_max).await;
                let is_fail_open = ocsp.is_fail_open;
                last = Inquired { found, source: Source::Ocsp, url, is_fail_open };
                if found != Found::Unknown {
                    return last;
                }
            }
        }
        last
    }

    async fn by_list(self: &Rc<Self>, link: &Link, url: &str, settings: &CrlInquiry) -> Found {
        let key = (url.to_owned(), link.issuer_name.clone(), link.issuer_key.to_vec());
        let old = self.lists.look(&key).and_then(Result::ok);
        let (desk, place, settings) = (Rc::clone(self), key.clone(), *settings);
        let fetch = async move { desk.new_list(&place, &settings, old).await };
        match self.lists.get(key, settings.bytes_max, fetch).await {
            Ok(list) => list.find(link, url),
            Err(fault) => fault,
        }
    }

    /// Fetches a list; while that fails, the old one goes on for its grace.
    async fn new_list(
        &self,
        key: &ListKey,
        settings: &CrlInquiry,
        old: Option<Rc<List>>,
    ) -> Kept<Result<Rc<List>, Found>> {
        let (url, fetched) = (&key.0, self.fetch_list(key, settings).await);
        self.counts.fetched(Source::Crl, fetched.is_ok());
        let now = SystemTime::now();
        match fetched {
            Ok(list) => {
                let left = list.next_update.duration_since(now).unwrap_or(RETRY);
                let bytes = list.bytes;
                Kept::new(Ok(Rc::new(list)), left.min(settings.cache_ttl), bytes)
            }
            Err(error) => {
                tracing::warn!(url, %error, "a revocation list cannot be had");
                let old = old.filter(|old| old.is_usable(now, settings.grace));
                match (error, old) {
                    (ListError::Forged, _) => Kept::new(Err(Found::Forged), RETRY, NO_LIST_BYTES),
                    (_, Some(old)) => {
                        let bytes = old.bytes;
                        Kept::new(Ok(old), RETRY, bytes)
                    }
                    (_, None) => Kept::new(Err(Found::Unknown), RETRY, NO_LIST_BYTES),
                }
            }
        }
    }

    async fn fetch_list(
        &self,
        (url, name, key): &ListKey,
        settings: &CrlInquiry,
    ) -> Result<List, ListError> {
        let fetched = async {
            let _turn = self.lists_fetched.acquire().await;
            fetch::fetch(url, None, settings.bytes_max).await
        };
        let bytes = fetch::within(settings.timeout, fetched).await?;
        let list = List::read(&bytes, (name, key), self.algorithms)?;
        match list.is_usable(SystemTime::now(), settings.grace) {
            true => Ok(list),
            false => Err(ListError::OutOfDate),
        }
    }

    async fn by_answer(
        self: &Rc<Self>,
        link: &Link,
        url: &str,
        settings: &OcspInquiry,
        answers_max: usize,
    ) -> Found {
        let Ok(request) = ocsp::request(link) else { return Found::Unknown };
        let key = (url.to_owned(), request);
        let (desk, place, settings, link) = (Rc::clone(self), key.clone(), *settings, link.clone());
        let ask = async move { desk.new_answer(&place, &settings, &link).await };
        self.answers.get(key, answers_max, ask).await
    }

    async fn new_answer(
        &self,
        (url, request): &AnswerKey,
        settings: &OcspInquiry,
        link: &Link,
    ) -> Kept<Found> {
        let answered = fetch::fetch(url, Some(request.clone()), ocsp::ANSWER_BYTES_MAX);
        let answer = fetch::within(settings.timeout, answered).await;
        let read = answer.map_err(ocsp::OcspError::from).and_then(|bytes| {
            ocsp::read(&bytes, link, self.algorithms, settings.cache_ttl, SystemTime::now())
        });
        self.counts.fetched(Source::Ocsp, read.is_ok());
        match read {
            Ok((Found::Unknown, _)) => Kept::new(Found::Unknown, settings.error_ttl, 1),
            Ok((found, time)) => Kept::new(found, time, 1),
            Err(error) => {
                tracing::warn!(url, serial = %link.serial, %error, "OCSP does not tell");
                Kept::new(Found::Unknown, settings.error_ttl, 1)
            }
        }
    }
}

/// What was found out, and how.
struct Inquired<'a> {
    found: Found,
    /// Who was asked last.
    source: Source,
    /// Where.
    url: &'a str,
    /// Whether an unknown certificate is good.
    is_fail_open: bool,
}
