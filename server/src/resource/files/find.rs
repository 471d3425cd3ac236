//! From a path to a file on the disk, on the pool. Nothing outside of the application's folder is ever opened.

use super::Files;
use super::cache::Kept;
use crate::coding::Coding;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Larger files are read from the disk each time.
const SMALL_BYTES_MAX: u64 = 512 * 1024;
/// The only hidden folder that is served (RFC 8615).
const WELL_KNOWN: &str = ".well-known";
/// A file that was changed less than this ago may change again without its time telling.
const CLOCK_TICK: Duration = Duration::from_secs(2);

/// What a path names.
pub(super) enum Found {
    /// A file that fits into memory.
    Small(Arc<Kept>),
    /// Any other.
    Large(Large),
    /// A folder that has an index; the path lacks the slash at its end.
    Folder,
}

/// An opened file.
pub(super) struct Large {
    pub(super) file: File,
    /// The length of this file, in its coding.
    pub(super) len: u64,
    pub(super) about: About,
    /// The coding of the file beside the one that was asked for, where that was taken.
    pub(super) coding: Option<Coding>,
}

/// What is known of a file.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) len: u64,
    pub(super) modified: SystemTime,
    pub(super) media_type: HeaderValue,
    pub(super) tag: HeaderValue,
}

/// The decoded path below `url_path`; none for a path that is not below it or that no file can have.
pub(super) fn below(url_path: &str, path: &str) -> Option<String> {
    let path = percent_decode_str(path.strip_prefix('/')?).decode_utf8().ok()?;
    let rest = match url_path {
        "" => &path,
        prefix => match path.strip_prefix(prefix)? {
            "" => "",
            rest => rest.strip_prefix('/')?,
        },
    };
    let mut parts = Path::new(rest).components().enumerate();
    let is_inside = parts.all(|(at, part)| match part {
        Component::Normal(name) => {
            let name = name.to_string_lossy();
            !name.starts_with('.') || (at == 0 && name == WELL_KNOWN)
        }
        _ => false,
    });
    // `a//b` and `a/./b` would be other names for `a/b`
    let is_plain = !rest.contains("//") && !rest.contains("/./") && !rest.contains('\0');
    (is_inside && is_plain && !rest.starts_with('/')).then(|| rest.to_owned())
}

impl Files {
    /// Finds and reads what `path` names; a file on the disk for which `coding` is taken may be one beside it.
    pub(super) fn look(
        &self,
        path: &str,
        coding: Option<Coding>,
        cache_bytes_max: usize,
    ) -> Option<Found> {
        let named = self.prefix.join(path);
        let is_folder = path.is_empty() || path.ends_with('/');
        if is_folder {
            let index = self.index.then(|| named.join("index.html"))?;
            return self.load(path, &index, coding, cache_bytes_max);
        }
        if let Some(found) = self.load(path, &named, coding, cache_bytes_max) {
            return Some(found);
        }
        for extension in &self.extensions {
            let named = self.prefix.join(format!("{path}.{extension}"));
            if let Some(found) = self.load(path, &named, coding, cache_bytes_max) {
                return Some(found);
            }
        }
        let index = self.index.then(|| named.join("index.html"))?;
        self.open(&index).map(|_| Found::Folder)
    }

    fn load(
        &self,
        path: &str,
        relative: &Path,
        coding: Option<Coding>,
        cache_bytes_max: usize,
    ) -> Option<Found> {
        let (place, file, metadata) = self.open(relative)?;
        let kind = mime_guess::from_path(relative).first_or_octet_stream();
        let is_text = kind.type_() == "text" || kind.subtype() == "javascript";
        let media_type = if is_text { format!("{kind}; charset=utf-8") } else { kind.to_string() };
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let mut about = About {
            len: metadata.len(),
            modified,
            media_type: HeaderValue::from_str(&media_type).ok()?,
            tag: tag_of(metadata.len(), modified),
        };
        if about.len <= SMALL_BYTES_MAX {
            match self.keep(path, place, &file, about.clone(), cache_bytes_max)? {
                Some(kept) => return Some(Found::Small(kept)),
                None => about.len = file.metadata().ok()?.len(),
            }
        }
        if let Some((coding, (_, file, metadata))) =
            coding.and_then(|coding| Some((coding, self.beside(relative, coding, modified)?)))
        {
            about.len = metadata.len();
            return Some(Found::Large(Large { file, len: about.len, about, coding: Some(coding) }));
        }
        Some(Found::Large(Large { file, len: about.len, about, coding: None }))
    }

    /// Reads a small file into memory, unless it is there as it is on the disk; the inner none when it has grown too
    /// large meanwhile.
    fn keep(
        &self,
        path: &str,
        place: PathBuf,
        file: &File,
        about: About,
        cache_bytes_max: usize,
    ) -> Option<Option<Arc<Kept>>> {
        if let Some(known) = self.cache.unchanged(path, &about) {
            return Some(Some(known));
        }
        let mut plain = Vec::with_capacity(usize::try_from(about.len).ok()? + 1);
        file.take(SMALL_BYTES_MAX + 1).read_to_end(&mut plain).ok()?;
        if plain.len() as u64 > SMALL_BYTES_MAX {
            return Some(None);
        }
        Some(Some(self.cache.keep(path, Kept::new(place, about, plain.into()), cache_bytes_max)))
    }

    /// Opens a file that is served and lies in the folder; links may not lead out of it.
    fn open(&self, relative: &Path) -> Option<(PathBuf, File, Metadata)> {
        if !self.patterns.is_match(relative) {
            return None;
        }
        self.open_inside(relative)
    }

    fn open_inside(&self, relative: &Path) -> Option<(PathBuf, File, Metadata)> {
        let folder = self.folder.canonicalize().ok()?;
        let path = folder.join(relative).canonicalize().ok()?;
        // looked at before it is opened: opening a pipe or a device could wait for ever
        let is_inside = path.starts_with(&folder);
        let metadata = path.metadata().ok().filter(|about| is_inside && about.is_file())?;
        let file = File::open(&path).ok()?;
        Some((folder.join(relative), file, metadata))
    }

    /// The file that holds another in a coding, `app.js.br` beside `app.js`, unless it is the older one.
    fn beside(
        &self,
        relative: &Path,
        coding: Coding,
        modified: SystemTime,
    ) -> Option<(PathBuf, File, Metadata)> {
        let coded = with_extension(relative, coding);
        self.open_inside(&coded).filter(|(_, _, metadata)| is_current(metadata, modified))
    }
}

/// The path of the file that holds `path` in a coding.
pub(super) fn with_extension(path: &Path, coding: Coding) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(coding.extension());
    name.into()
}

/// Whether a coded file is no older than what it was made of, to the second: tools that unpack keep no more.
pub(super) fn is_current(coded: &Metadata, modified: SystemTime) -> bool {
    let second = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    };
    coded.modified().is_ok_and(|time| second(time) >= second(modified))
}

/// A tag from length and time: weak while another change could leave both as they are (RFC 9110 §8.8.1).
fn tag_of(len: u64, modified: SystemTime) -> HeaderValue {
    let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let is_settled = modified.elapsed().is_ok_and(|age| age > CLOCK_TICK);
    let weak = if is_settled { "" } else { "W/" };
    HeaderValue::from_str(&format!("{weak}\"{len:x}-{:x}\"", since.as_nanos()))
        .unwrap_or_else(|_| HeaderValue::from_static("W/\"\""))
}

#[cfg(test)]
mod tests {
    use super::super::Cache;
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
            extensions: vec!["html".into()],
            fallthrough: true,
            not_found: None,
            cache: Cache::default(),
        }
    }

    fn find(files: &Files, path: &str) -> Option<String> {
        match files.look(&below(&files.url_path, path)?, None, 1 << 20)? {
            Found::Small(kept) => Some(String::from_utf8(kept.plain.to_vec()).unwrap()),
            Found::Large(_) => Some("large".into()),
            Found::Folder => Some("folder".into()),
        }
    }

    #[test]
    fn paths_find_files_and_folders_their_index_and_nothing_outside() {
        let root = tempfile::tempdir().unwrap();
        let app = root.path().join("app");
        for file in [
            "app/web/index.html",
            "app/web/a b.css",
            "app/web/about.html",
            "app/web/sub/index.html",
            "app/web/.well-known/security.txt",
            "app/web/.hidden",
            "app/secret",
            "outside",
        ] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file.strip_prefix("app/web/").unwrap_or(file)).unwrap();
        }
        std::os::unix::fs::symlink(root.path().join("outside"), app.join("web/link")).unwrap();
        let files = files(&app);
        for (path, expected) in [
            ("/", "index.html"),
            ("/a%20b.css", "a b.css"),
            ("/about", "about.html"),
            ("/sub/", "sub/index.html"),
            ("/sub", "folder"),
            ("/.well-known/security.txt", ".well-known/security.txt"),
        ] {
            assert_eq!(find(&files, path).as_deref(), Some(expected), "{path}");
        }
        for path in [
            "/../secret",
            "/%2e%2e/secret",
            "/..%2fsecret",
            "/link",
            "/nothing",
            "/.hidden",
            "/sub/.well-known/x",
            "/a%00b",
            "//index.html",
            "/sub//index.html",
            "/sub/./index.html",
            "/index.html/",
        ] {
            assert_eq!(find(&files, path), None, "{path}");
        }
    }
}
