//! Static files of an application (GET and HEAD), with validators and without a way out of the folder.

use super::etag;
use crate::error::Answer;
use crate::exchange::{Body, BodyError, Chunks, Request, Response};
use crate::pool::Pool;
use crate::reply;
use crate::services::Services;
use bytes::Bytes;
use globset::GlobSet;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Read from a file at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// The files of one `static` component.
pub(crate) struct Files {
    /// The application's folder.
    pub folder: PathBuf,
    /// The folder in the pattern before its first wildcard; it is not part of the URL.
    pub prefix: PathBuf,
    /// Which files are served.
    pub patterns: GlobSet,
    /// URL path below which they are served, without slashes at its ends.
    pub url_path: String,
    /// Whether a folder answers with its `index.html`.
    pub index: bool,
}

/// An opened file that may be served.
struct Found {
    file: File,
    len: u64,
    modified: SystemTime,
    path: PathBuf,
}

impl Files {
    /// Answers a GET or HEAD whose path names a file; none when it does not, and the next resource is asked.
    ///
    /// # Errors
    /// 503 when the pool is full.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        services: &Services,
        request: &Request,
    ) -> Answer<Option<Response>> {
        let path = request.head.uri.path();
        let is_read = matches!(request.head.method, Method::GET | Method::HEAD);
        let Some(candidates) = self.candidates(path).filter(|_| is_read) else { return Ok(None) };
        let files = Arc::clone(self);
        let found = services
            .block_on_pool(move || candidates.iter().find_map(|path| files.open(path)))
            .await?;
        Ok(found.map(|found| respond(found, request, services.pool.clone())))
    }

    /// The files, relative to the application's folder, that a URL path may mean.
    fn candidates(&self, url_path: &str) -> Option<Vec<PathBuf>> {
        let path = percent_decode_str(url_path.trim_start_matches('/')).decode_utf8().ok()?;
        let rest = match self.url_path.as_str() {
            "" => &path,
            prefix => match path.strip_prefix(prefix)? {
                "" => "",
                rest => rest.strip_prefix('/')?,
            },
        };
        let rest = Path::new(rest);
        let is_inside = rest.components().all(|part| matches!(part, Component::Normal(_)));
        let is_hidden =
            rest.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'));
        if !is_inside || is_hidden || path.contains('\0') {
            return None;
        }
        let named = self.prefix.join(rest);
        let mut candidates = vec![named.clone()];
        if self.index {
            candidates.push(named.join("index.html"));
        }
        candidates.retain(|path| self.patterns.is_match(path));
        Some(candidates)
    }

    /// Opens a file that lies in the folder; links may not lead out of it.
    fn open(&self, relative: &Path) -> Option<Found> {
        let folder = self.folder.canonicalize().ok()?;
        let path = folder.join(relative).canonicalize().ok()?;
        // looked at before it is opened: opening a pipe or a device could wait for ever
        let is_inside = path.starts_with(&folder);
        let about = path.metadata().ok().filter(|about| is_inside && about.is_file())?;
        let file = File::open(&path).ok()?;
        let modified = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Some(Found { file, len: about.len(), modified, path: relative.to_owned() })
    }
}

fn respond(found: Found, request: &Request, pool: Pool) -> Response {
    let tag = tag(&found);
    let modified = httpdate::fmt_http_date(found.modified);
    let mut response = if is_unchanged(&request.head.headers, &tag, found.modified) {
        reply::with_status(StatusCode::NOT_MODIFIED, Body::default())
    } else {
        let kind = mime_guess::from_path(&found.path).first_or_octet_stream();
        let text = kind.type_() == "text" || kind.subtype() == "javascript";
        let kind = if text { format!("{kind}; charset=utf-8") } else { kind.to_string() };
        let len = found.len;
        let body =
            if request.head.method == Method::HEAD { Body::default() } else { body(found, pool) };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        insert(headers, header::CONTENT_TYPE, &kind);
        insert(headers, header::CONTENT_LENGTH, &len.to_string());
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(header::VARY, reply::VARY);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    insert(headers, header::LAST_MODIFIED, &modified);
    response
}

fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A weak tag: two writes within the clock's resolution cannot be told apart.
fn tag(found: &Found) -> HeaderValue {
    let since = found.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let text = format!("W/\"{:x}-{:x}\"", found.len, since.as_millis());
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("W/\"\""))
}

/// RFC 9110 §13.2.2: `If-None-Match` decides when it is there, else `If-Modified-Since`.
fn is_unchanged(headers: &HeaderMap, tag: &HeaderValue, modified: SystemTime) -> bool {
    if headers.contains_key(header::IF_NONE_MATCH) {
        let opaque = tag.to_str().unwrap_or_default().trim_start_matches("W/");
        return etag::entries(headers, &header::IF_NONE_MATCH)
            .map(|entry| entry.trim_start_matches("W/"))
            .any(|entry| entry == "*" || entry == opaque);
    }
    let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    let since = since.and_then(|text| httpdate::parse_http_date(text).ok());
    let whole_second = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    };
    since.is_some_and(|since| whole_second(modified) <= whole_second(since))
}

fn body(found: Found, pool: Pool) -> Body {
    let state = (found.file, found.len, pool);
    let chunks: Chunks =
        Box::pin(futures_util::stream::try_unfold(state, |(file, left, pool)| async move {
            if left == 0 {
                return Ok(None);
            }
            let read = pool.go_on(move || read_chunk(file, left)).await;
            let read = read.map_err(|error| BodyError(error.to_string()))?;
            let (file, chunk) = read.map_err(|error| BodyError(error.to_string()))?;
            let left = left - chunk.len() as u64;
            Ok(Some((chunk, (file, left, pool))))
        }));
    Body::stream(chunks)
}

fn read_chunk(mut file: File, left: u64) -> std::io::Result<(File, Bytes)> {
    let wanted = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
    let mut chunk = vec![0; wanted];
    file.read_exact(&mut chunk)?;
    Ok((file, chunk.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use globset::{GlobBuilder, GlobSetBuilder};

    fn files(folder: &Path) -> Files {
        let glob = GlobBuilder::new("web/**").literal_separator(true).build().unwrap();
        Files {
            folder: folder.to_owned(),
            prefix: "web".into(),
            patterns: GlobSetBuilder::new().add(glob).build().unwrap(),
            url_path: String::new(),
            index: true,
        }
    }

    fn find(files: &Files, path: &str) -> Option<PathBuf> {
        files.candidates(path)?.iter().find_map(|path| files.open(path)).map(|found| found.path)
    }

    #[test]
    fn paths_find_files_and_folders_their_index_and_nothing_outside() {
        let root = tempfile::tempdir().unwrap();
        let app = root.path().join("app");
        std::fs::create_dir_all(app.join("web/sub")).unwrap();
        for file in [
            "app/web/index.html",
            "app/web/a b.css",
            "app/web/sub/index.html",
            "app/secret",
            "outside",
        ] {
            std::fs::write(root.path().join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(root.path().join("outside"), app.join("web/link")).unwrap();
        let files = files(&app);
        assert_eq!(find(&files, "/"), Some("web/index.html".into()));
        assert_eq!(find(&files, "/a%20b.css"), Some("web/a b.css".into()));
        assert_eq!(find(&files, "/sub/"), Some("web/sub/index.html".into()));
        for path in [
            "/../secret",
            "/%2e%2e/secret",
            "/..%2fsecret",
            "/link",
            "/nothing",
            "/.hidden",
            "/a%00b",
        ] {
            assert_eq!(find(&files, path), None, "{path}");
        }
    }
}
