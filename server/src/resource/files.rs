//! Static files of an application (GET and HEAD): with validators, parts, codings and without a way out of the folder.
//! Small files are answered from memory.

mod cache;
mod find;
mod respond;

pub(crate) use cache::Cache;

use crate::error::{Answer, Code, Failure};
use crate::exchange::{Request, Response};
use crate::services::Services;
use cache::Kept;
use find::{Found, Large};
use globset::GlobSet;
use http::{Method, StatusCode};
use std::path::PathBuf;
use std::sync::Arc;

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
    /// Extensions that are tried where a path names no file, without their dots.
    pub extensions: Vec<String>,
    /// Whether others are asked where a path names no file.
    pub fallthrough: bool,
    /// What is sent where a path names no file and nothing else answers.
    pub not_found: Option<NotFound>,
    /// The small ones among them that were asked for.
    pub cache: Cache,
}

/// A file that is sent in place of one that there is not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NotFound {
    /// Its path, below the folder of the patterns.
    pub file: String,
    /// The status it is sent with.
    pub status: StatusCode,
}

/// A file that can be sent.
enum Source {
    /// From memory.
    Kept(Arc<Kept>),
    /// From the disk.
    Large(Large),
}

impl Files {
    /// Answers a GET or HEAD whose path names a file; none when it does not, and the next resource is asked.
    ///
    /// # Errors
    /// 404 when no other is to be asked, 412, 416, 503 when the pool is full.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        services: &Services,
        request: &Request,
    ) -> Answer<Option<Response>> {
        let Some(path) = self.path_of(request) else { return Ok(None) };
        match self.get(services, request, &path).await? {
            // the links of a page are relative to its folder
            Got::File(_) if path.is_empty() && !request.head.uri.path().ends_with('/') => {
                Ok(Some(respond::to_folder(request)))
            }
            Got::File(source) => {
                respond::file(services, request, self, source, StatusCode::OK).await.map(Some)
            }
            Got::Folder => Ok(Some(respond::to_folder(request))),
            Got::Nothing if self.fallthrough => Ok(None),
            Got::Nothing => match self.replacement(services, request).await? {
                Some(response) => Ok(Some(response)),
                None => Err(Failure::new(Code::NotFound, "Not found")),
            },
        }
    }

    /// The answer to a path that names nothing at all, where this component has one.
    ///
    /// # Errors
    /// 503 when the pool is full.
    pub(crate) async fn last_word(
        self: &Arc<Self>,
        services: &Services,
        request: &Request,
    ) -> Answer<Option<Response>> {
        match self.path_of(request) {
            Some(_) => self.replacement(services, request).await,
            None => Ok(None),
        }
    }

    async fn replacement(
        self: &Arc<Self>,
        services: &Services,
        request: &Request,
    ) -> Answer<Option<Response>> {
        let Some(NotFound { file, status }) = &self.not_found else { return Ok(None) };
        let Got::File(source) = self.get(services, request, file).await? else { return Ok(None) };
        respond::file(services, request, self, source, *status).await.map(Some)
    }

    /// The part of the URL's path that names a file here; none for other methods and for what is not below `url_path`.
    fn path_of(&self, request: &Request) -> Option<String> {
        let is_read = matches!(request.head.method, Method::GET | Method::HEAD);
        find::below(&self.url_path, request.head.uri.path()).filter(|_| is_read)
    }

    async fn get(
        self: &Arc<Self>,
        services: &Services,
        request: &Request,
        path: &str,
    ) -> Answer<Got> {
        let options = &services.config.files;
        if let Some(kept) = self.cache.fresh(path, options) {
            return Ok(Got::File(Source::Kept(kept)));
        }
        let (files, wanted) = (Arc::clone(self), path.to_owned());
        let coding = respond::coding(services, request);
        let bytes_max = options.cache_bytes_max;
        let found = services.block_on_pool(move || files.look(&wanted, coding, bytes_max)).await?;
        Ok(match found {
            Some(Found::Small(kept)) => Got::File(Source::Kept(kept)),
            Some(Found::Large(large)) => Got::File(Source::Large(large)),
            Some(Found::Folder) => Got::Folder,
            None => Got::Nothing,
        })
    }
}

/// What a path names.
enum Got {
    File(Source),
    /// A folder that has an index, without the slash at the end.
    Folder,
    Nothing,
}
