//! Path → resource. The table of routes is made when the applications are loaded and never changes; a reload
//! makes a new one.

use crate::error::{Answer, Code, Failure};
use crate::exchange::{Request, Response};
use crate::reply;
use crate::resource::files::Files;
use crate::resource::openapi::{self, About};
use crate::resource::table::TableResource;
use crate::services::Services;
use crate::ws::{self, Offer, Opening};
use http::{HeaderValue, Method, header};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Methods that some resource knows; any other is answered with 501 (RFC 9110 §15.6.2).
const METHODS: [&str; 12] = [
    "GET", "HEAD", "QUERY", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "COPY", "MOVE", "TRACE",
    "CONNECT",
];

/// A worker's own handle on the routes: requests count it up and down without a locked instruction.
pub(crate) struct OwnRoutes(pub(crate) Arc<Routes>);

/// Everything that can be reached by a path.
#[derive(Default)]
pub(crate) struct Routes {
    /// By path. There are few, so that comparing names costs less than a hash.
    tables: BTreeMap<String, Arc<TableResource>>,
    files: Vec<Arc<Files>>,
    segments_max: usize,
    /// None where no application is served over REST.
    about: Option<About>,
}

impl Routes {
    /// Adds a table under its path; gives it back when the path is taken.
    ///
    /// # Errors
    /// The table that has the path already.
    pub(crate) fn add_table(&mut self, table: TableResource) -> Result<(), Arc<TableResource>> {
        if let Some(taken) = self.tables.get(&table.path) {
            return Err(Arc::clone(taken));
        }
        self.segments_max = self.segments_max.max(table.path.split('/').count());
        self.tables.insert(table.path.clone(), Arc::new(table));
        Ok(())
    }

    /// What the applications say of themselves.
    pub(crate) fn set_about(&mut self, about: About) {
        self.about = Some(about);
    }

    /// Adds files; those added first are asked first.
    pub(crate) fn add_files(&mut self, files: Files) {
        self.files.push(Arc::new(files));
    }

    /// The table with the longest path that begins `path`, and what follows its path.
    fn find<'a>(&self, path: &'a str) -> Option<(&Arc<TableResource>, &'a str)> {
        let path = path.strip_prefix('/')?;
        let slashes = memchr::memchr_iter(b'/', path.as_bytes());
        let ends = slashes.chain([path.len()]).take(self.segments_max);
        let mut found = None;
        for end in ends {
            if let Some(table) = decoded(&path[..end]).and_then(|name| self.tables.get(&*name)) {
                found = Some((table, &path[end..]));
            }
        }
        found
    }

    /// The table whose path begins a topic, and the key's text or the filter that follows; none for a topic that is no
    /// table's. The levels of a topic are not encoded, and the first is not empty.
    #[must_use]
    pub(crate) fn topic<'a>(&self, topic: &'a str) -> Option<(&Arc<TableResource>, &'a str)> {
        let ends = topic.match_indices('/').map(|(at, _)| at).take(self.segments_max);
        let found =
            ends.filter_map(|end| Some((self.tables.get(&topic[..end])?, &topic[end + 1..])));
        found.last()
    }

    /// Answers a request.
    ///
    /// # Errors
    /// The failure that the client is told.
    pub(crate) async fn dispatch(
        &self,
        services: &Services,
        request: &mut Request,
    ) -> Answer<Response> {
        if !METHODS.contains(&request.head.method.as_str()) {
            let sentence = format!("Method {} is not recognized", request.head.method);
            return Err(Failure::new(Code::NotImplemented, sentence));
        }
        if request.head.uri.path() == "*" {
            return about_the_server(request);
        }
        // the URI is cheap to clone and frees the request to be changed
        let uri = request.head.uri.clone();
        if request.is_web_socket {
            return self.open_socket(services, request);
        }
        if let Some((table, rest)) = self.find(uri.path()) {
            if request.trace.is_some() {
                request.route = Some(format!("/{}", table.path));
            }
            return table.answer(services, request, rest).await;
        }
        if let Some(about) = self.about.as_ref().filter(|_| uri.path() == openapi::PATH) {
            let tables = self.tables.values().map(|table| &**table);
            return openapi::answer(request, about, tables);
        }
        for files in &self.files {
            if let Some(response) = Box::pin(files.answer(services, request)).await? {
                return Ok(response);
            }
        }
        for files in &self.files {
            if let Some(response) = Box::pin(files.last_word(services, request)).await? {
                return Ok(response);
            }
        }
        Err(Failure::new(Code::NotFound, "Not found"))
    }
}

impl Routes {
    /// Answers a request for a WebSocket: the layers have the first word, then the resource of the path.
    fn open_socket(&self, services: &Services, request: &Request) -> Answer<Response> {
        let offer = Offer::of(request)?;
        let open = |opening| ws::open(&services.config.http, &services.metrics, &offer, opening);
        for layer in services.sockets.iter() {
            if let Some(opening) = layer.take(request, &offer)? {
                return Ok(open(opening));
            }
        }
        let path = request.head.uri.path();
        let (table, rest) = self.find(path).ok_or_else(|| {
            Failure::new(Code::NotFound, format!("No resource was found to handle {path}"))
        })?;
        let handler = table.connect(services, request, rest)?;
        let protocol = offer.first_protocol();
        Ok(open(Opening { handler, protocol, is_compressible: true }))
    }
}

/// `OPTIONS *`: the methods that there are at all (RFC 9110 §9.3.7). No other method has this target.
fn about_the_server(request: &Request) -> Answer<Response> {
    if request.head.method != Method::OPTIONS {
        return Err(Failure::new(Code::BadRequest, "Only OPTIONS has the target *"));
    }
    let mut response = reply::no_content();
    let methods = HeaderValue::from_static("GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(header::ALLOW, methods);
    Ok(response)
}

/// A path with its percent-encoding undone; an encoded slash is no separator, and so no part of a table's path.
fn decoded(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let has_slash = path.contains("%2F") || path.contains("%2f");
    percent_decode_str(path).decode_utf8().ok().filter(|_| !has_slash)
}
