//! Who is asked about a certificate, in which order, and what follows from what they say.

use super::fetch;
use super::link::{self, Link};
use super::list::{List, ListError};
use super::memory::{Answer, Bounds, Failure, Memory};
use super::metrics::Counts;
use super::ocsp::{self, OcspError, Told};
use super::signed::{Algorithms, SignatureError};
use super::{Authorities, Distrust, Found, Source};
use futures_util::future::join_all;
use harper_config::{CrlInquiry, Inquiry, OcspInquiry};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Exchanges with authorities at once.
const EXCHANGES_MAX: usize = 256;
/// Lists that are read at once: they may be large.
const LISTS_READ_MAX: usize = 2;
/// Addresses in one certificate that are asked, of a kind.
const ADDRESSES_MAX: usize = 4;
/// How many of them may let the time pass until nobody waits for the others.
const SILENT_MAX: u32 = 2;
/// What a list that could not be had counts of the bytes that are kept.
const NO_LIST_BYTES: usize = 1024;
/// How soon a list is asked for again that could not be had.
const RETRY: Duration = Duration::from_secs(60);

/// Where a list is, and the name and the key of the authority that has to have signed it.
type ListKey = (String, Vec<u8>, Vec<u8>);
/// Whom to ask, and what.
type AnswerKey = (String, Vec<u8>);
/// What is kept of a list: itself, or why there is none.
type Listed = Result<Rc<List>, Found>;

/// All that the thread has.
pub(super) struct Desk {
    algorithms: Algorithms,
    lists: Rc<Memory<ListKey, Listed>>,
    answers: Rc<Memory<AnswerKey, Found>>,
    exchanges: Semaphore,
    lists_read: Semaphore,
    counts: Arc<Counts>,
}

impl Desk {
    /// One that knows nothing.
    #[must_use]
    pub(super) fn new(counts: Arc<Counts>) -> Self {
        Self {
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms.all,
            lists: Memory::new(Arc::clone(&counts.lists)),
            answers: Memory::new(Arc::clone(&counts.answers)),
            exchanges: Semaphore::new(EXCHANGES_MAX),
            lists_read: Semaphore::new(LISTS_READ_MAX),
            counts,
        }
    }

    /// Why a chain is not believed; all its certificates are asked about at once.
    pub(super) async fn judge_chain(
        self: &Rc<Self>,
        chain: &[CertificateDer<'_>],
        authorities: &Authorities,
        settings: &Inquiry,
    ) -> Option<Distrust> {
        let links = match link::path(chain, &authorities.roots.roots, self.algorithms) {
            Ok(links) => links,
            Err(error) => {
                tracing::debug!(%error, "a client certificate is no longer good");
                return Some(Distrust::Unknown);
            }
        };
        let judged = links.iter().map(|link| self.judge(link, authorities, settings));
        join_all(judged).await.into_iter().flatten().min()
    }

    async fn judge(
        self: &Rc<Self>,
        link: &Link,
        authorities: &Authorities,
        settings: &Inquiry,
    ) -> Option<Distrust> {
        let inquired = self.find_out(link, authorities, settings).await;
        let Inquired { found, source, url, is_fail_open } = inquired;
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
    async fn find_out<'a>(
        self: &Rc<Self>,
        link: &'a Link,
        authorities: &Authorities,
        settings: &Inquiry,
    ) -> Inquired<'a> {
        let mut inquired = Inquired::nobody(settings.is_fail_open);
        if authorities.know(link) {
            return Inquired { found: Found::Good, source: Source::File, ..inquired };
        }
        if let Some(crl) = &settings.crl {
            let ask = async |url| self.by_list(link, url, crl).await;
            let said = ask_each(link.lists(), crl.timeout, ask).await;
            inquired = inquired.and(Source::Crl, said, crl.is_fail_open);
        }
        if let (Some(ocsp), false) = (&settings.ocsp, inquired.found.is_certain()) {
            let ask = async |url| self.by_answer(link, url, ocsp, settings.answers_max).await;
            let said =
                ask_each(link.responders.iter().map(String::as_str), ocsp.timeout, ask).await;
            inquired = inquired.and(Source::Ocsp, said, ocsp.is_fail_open);
        }
        inquired
    }

    async fn by_list(self: &Rc<Self>, link: &Link, url: &str, settings: &CrlInquiry) -> Found {
        let key = (url.to_owned(), link.issuer_name.clone(), link.issuer_key.to_vec());
        let (desk, place, settings) = (Rc::clone(self), key.clone(), *settings);
        let fetch = async move { desk.new_list(place, &settings).await };
        let bounds = Bounds { weight_max: settings.bytes_max, timeout: settings.timeout };
        match self.lists.get(key, bounds, fetch).await {
            Ok(list) => list.find(link),
            Err(fault) => fault,
        }
    }

    async fn new_list(
        &self,
        key: ListKey,
        settings: &CrlInquiry,
    ) -> Result<Answer<Listed>, Failure<Listed>> {
        let url = key.0.clone();
        let fetched = self.fetch_list(key, settings).await;
        self.counts.fetched(Source::Crl, fetched.is_ok());
        fetched.map_err(|error| {
            tracing::warn!(url, %error, "a revocation list cannot be had");
            let fault = match error {
                ListError::Signature(SignatureError::Forged) => Found::Forged,
                _ => Found::Unknown,
            };
            Failure { value: Err(fault), retry: RETRY, weight: NO_LIST_BYTES }
        })
    }

    /// Waiting for a turn is not counted as the authority's time.
    async fn fetch_list(
        &self,
        key: ListKey,
        settings: &CrlInquiry,
    ) -> Result<Answer<Listed>, ListError> {
        let newest = self.lists.newest(&key);
        let (url, name, issuer_key) = key;
        let _exchange = self.exchanges.acquire().await;
        let reply = fetch::within(settings.timeout, fetch::ask(&url, None)).await?;
        let _turn = self.lists_read.acquire().await;
        let bytes = fetch::within(settings.timeout, reply.bytes(settings.bytes_max)).await?;
        let algorithms = self.algorithms;
        let list = spawn_blocking(move || List::read(&bytes, (&name, &issuer_key), algorithms));
        let list = list.await.map_err(|_| ListError::Unread)??;
        let (made, now) = (list.scope.this_update, SystemTime::now());
        if made < newest {
            return Err(ListError::Older);
        }
        let holds = list.scope.holds(now, settings.grace).ok_or(ListError::OutOfDate)?;
        let left = list.scope.holds(now, Duration::ZERO).unwrap_or(RETRY);
        let weight = list.bytes;
        let value = Ok(Rc::new(list));
        Ok(Answer { value, made, used: left.min(settings.cache_ttl), holds, weight })
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
        let bounds = Bounds { weight_max: answers_max, timeout: settings.timeout };
        self.answers.get(key, bounds, ask).await
    }

    async fn new_answer(
        &self,
        key: &AnswerKey,
        settings: &OcspInquiry,
        link: &Link,
    ) -> Result<Answer<Found>, Failure<Found>> {
        let told = self.ask_responder(key, settings, link).await;
        self.counts.fetched(Source::Ocsp, matches!(told, Ok(_) | Err(OcspError::Unknown)));
        match told {
            Ok(Told { found: value, this_update: made, left }) => {
                let used = left.min(settings.cache_ttl);
                Ok(Answer { value, made, used, holds: left, weight: 1 })
            }
            Err(error) => {
                tracing::warn!(url = key.0, serial = %link.serial, %error, "OCSP does not tell");
                Err(Failure { value: Found::Unknown, retry: settings.error_ttl, weight: 1 })
            }
        }
    }

    async fn ask_responder(
        &self,
        key: &AnswerKey,
        settings: &OcspInquiry,
        link: &Link,
    ) -> Result<Told, OcspError> {
        let (url, request) = key;
        let newest = self.answers.newest(key);
        let _exchange = self.exchanges.acquire().await;
        let answered = async {
            fetch::ask(url, Some(request.clone())).await?.bytes(ocsp::ANSWER_BYTES_MAX).await
        };
        let bytes = fetch::within(settings.timeout, answered).await.map_err(OcspError::from)?;
        let now = SystemTime::now();
        let told = ocsp::read(&bytes, link, self.algorithms, settings.cache_ttl, now)?;
        if told.this_update < newest { Err(OcspError::Older) } else { Ok(told) }
    }
}

/// Asks one address after the other until one tells; what the last said, and which that was. None when there is nobody to ask.
async fn ask_each<'a>(
    urls: impl Iterator<Item = &'a str>,
    timeout: Duration,
    ask: impl AsyncFn(&'a str) -> Found,
) -> Option<(Found, &'a str)> {
    let mut urls = urls.take(ADDRESSES_MAX).peekable();
    let mut said = (Found::Unknown, *urls.peek()?);
    let asking = async {
        for url in urls {
            said = (said.0.or(ask(url).await), url);
            if said.0.is_certain() {
                return;
            }
        }
    };
    // those who have not been heard are as if they had not answered
    let _ = tokio::time::timeout(timeout.saturating_mul(SILENT_MAX), asking).await;
    Some(said)
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

impl<'a> Inquired<'a> {
    /// Nobody was asked.
    fn nobody(is_fail_open: bool) -> Self {
        Self { found: Found::Unknown, source: Source::Nobody, url: "", is_fail_open }
    }

    /// With what another has said. Of those who were asked in vain, one that fails closed is enough.
    fn and(self, source: Source, said: Option<(Found, &'a str)>, is_fail_open: bool) -> Self {
        let Some((found, url)) = said else { return self };
        let is_first = self.source == Source::Nobody;
        let is_fail_open = is_fail_open && (is_first || self.is_fail_open);
        Self { found: self.found.or(found), source, url, is_fail_open }
    }
}
