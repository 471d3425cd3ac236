//! Small files in memory, each also in the codings that were asked for. Reading takes no lock: the table is replaced
//! whole when a file is added, which is rare.

use super::find::{About, is_current, with_extension};
use crate::coding::{self, Coding};
use arc_swap::ArcSwap;
use bytes::Bytes;
use harper_config::{Compression, Files as Options};
use http::HeaderValue;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Qualities for what is coded once and sent often.
const QUALITY: Compression = Compression { brotli_quality: 9, gzip_level: 9, zstd_level: 15 };
/// Time in milliseconds within which further use of a file is not noted.
const NOTED_MS: u64 = 1000;

/// The files of one component that are in memory.
pub(crate) struct Cache {
    files: ArcSwap<HashMap<Box<str>, Arc<Kept>>>,
    begun: Instant,
}

impl Default for Cache {
    fn default() -> Self {
        Self { files: ArcSwap::default(), begun: Instant::now() }
    }
}

/// A file in memory.
pub(super) struct Kept {
    pub(super) about: About,
    pub(super) plain: Bytes,
    place: PathBuf,
    /// In each coding, once it was asked for; nothing where it would hardly be smaller.
    coded: [OnceLock<Option<Bytes>>; Coding::ALL.len()],
    /// When it was compared with the disk, in milliseconds of the cache.
    checked_ms: AtomicU64,
    /// When it was used, to about a second.
    used_ms: AtomicU64,
}

impl Kept {
    /// A file that was read just now. Its tag is made of its bytes, and so is strong; its length is theirs too, whatever
    /// was known of the file before it was read.
    pub(super) fn new(place: PathBuf, mut about: About, plain: Bytes) -> Self {
        let hash = blake3::hash(&plain).to_hex();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", &hash[..22])) {
            about.tag = tag;
        }
        about.len = plain.len() as u64;
        Self {
            about,
            plain,
            place,
            coded: [const { OnceLock::new() }; Coding::ALL.len()],
            checked_ms: AtomicU64::new(0),
            used_ms: AtomicU64::new(0),
        }
    }

    /// The file in a coding, if that has been made; the inner none where it would hardly be smaller.
    pub(super) fn coded(&self, coding: Coding) -> Option<Option<Bytes>> {
        self.coded[coding as usize].get().cloned()
    }

    /// Makes the file in a coding, or takes the one beside it on the disk. For the pool.
    pub(super) fn encode(&self, coding: Coding) -> Option<Bytes> {
        self.coded[coding as usize]
            .get_or_init(|| {
                let coded = self
                    .beside(coding)
                    .or_else(|| coding::encode(coding, &QUALITY, &self.plain).ok())?;
                // a tenth is the least that is worth it
                (coded.len() < self.plain.len() / 10 * 9).then_some(coded)
            })
            .clone()
    }

    fn beside(&self, coding: Coding) -> Option<Bytes> {
        let path = with_extension(&self.place, coding);
        let metadata = path.symlink_metadata().ok()?;
        // a link could lead anywhere
        let is_usable = metadata.is_file()
            && metadata.len() <= self.about.len
            && is_current(&metadata, self.about.modified);
        let file = File::open(&path).ok().filter(|_| is_usable)?;
        let mut coded = Vec::new();
        file.take(self.about.len + 1).read_to_end(&mut coded).ok()?;
        (coded.len() as u64 <= self.about.len).then(|| coded.into())
    }

    fn bytes(&self) -> usize {
        let coded = self.coded.iter().filter_map(|coded| coded.get()?.as_ref());
        self.plain.len() + coded.map(Bytes::len).sum::<usize>()
    }
}

impl Cache {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The file that `path` names, if it is in memory and was compared with the disk lately.
    pub(super) fn fresh(&self, path: &str, options: &Options) -> Option<Arc<Kept>> {
        if options.cache_bytes_max == 0 {
            return None;
        }
        let kept = self.files.load().get(path).cloned()?;
        let now = self.now_ms();
        let age = now.saturating_sub(kept.checked_ms.load(Relaxed));
        if u128::from(age) >= options.recheck_after.as_millis() {
            return None;
        }
        if now.saturating_sub(kept.used_ms.load(Relaxed)) > NOTED_MS {
            kept.used_ms.store(now, Relaxed);
        }
        Some(kept)
    }

    /// The file in memory, if it is as it is on the disk; it is then fresh again.
    pub(super) fn unchanged(&self, path: &str, about: &About) -> Option<Arc<Kept>> {
        let kept = self.files.load().get(path).cloned()?;
        let is_same = kept.about.len == about.len
            && kept.about.modified == about.modified
            // one that was read just after a change may have changed since without its time telling
            && about.tag.as_bytes().starts_with(b"\"");
        kept.checked_ms.store(if is_same { self.now_ms() } else { 0 }, Relaxed);
        is_same.then_some(kept)
    }

    /// Keeps a file, and lets go of those used longest ago where all would take more than `bytes_max`.
    pub(super) fn keep(&self, path: &str, kept: Kept, bytes_max: usize) -> Arc<Kept> {
        let now = self.now_ms();
        kept.checked_ms.store(now, Relaxed);
        kept.used_ms.store(now, Relaxed);
        let kept = Arc::new(kept);
        self.files.rcu(|files| {
            let mut files = HashMap::clone(files);
            files.insert(path.into(), Arc::clone(&kept));
            trim(&mut files, bytes_max);
            files
        });
        kept
    }

    /// Lets go of files where all take more than `bytes_max`, as after one was coded.
    pub(super) fn trim(&self, bytes_max: usize) {
        if total(&self.files.load()) > bytes_max {
            self.files.rcu(|files| {
                let mut files = HashMap::clone(files);
                trim(&mut files, bytes_max);
                files
            });
        }
    }
}

fn total(files: &HashMap<Box<str>, Arc<Kept>>) -> usize {
    files.values().map(|kept| kept.bytes()).sum()
}

fn trim(files: &mut HashMap<Box<str>, Arc<Kept>>, bytes_max: usize) {
    let mut bytes = total(files);
    while bytes > bytes_max {
        let oldest = files.iter().min_by_key(|(_, kept)| kept.used_ms.load(Relaxed));
        let Some((path, kept)) = oldest.map(|(path, kept)| (path.clone(), kept.bytes())) else {
            return;
        };
        files.remove(&path);
        bytes -= kept.min(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn file(text: &str) -> Kept {
        let about = About {
            len: text.len() as u64,
            modified: SystemTime::UNIX_EPOCH,
            media_type: HeaderValue::from_static("text/plain"),
            tag: HeaderValue::from_static("\"\""),
        };
        Kept::new("/nowhere/at/all".into(), about, Bytes::copy_from_slice(text.as_bytes()))
    }

    fn options(recheck_after: Duration) -> Options {
        Options { cache_bytes_max: 100, recheck_after }
    }

    #[test]
    fn files_are_kept_within_the_limit_and_for_their_time() {
        let cache = Cache::default();
        let hour = options(Duration::from_secs(3600));
        cache.keep("a", file(&"a".repeat(60)), 100);
        cache.files.load()["a"].used_ms.store(0, Relaxed);
        std::thread::sleep(Duration::from_millis(5));
        cache.keep("b", file(&"b".repeat(30)), 100);
        assert!(cache.fresh("a", &hour).is_some() && cache.fresh("b", &hour).is_some());
        cache.keep("c", file(&"c".repeat(30)), 100);
        assert!(cache.fresh("a", &hour).is_none(), "used longest ago");
        assert!(cache.fresh("c", &hour).is_some());
        assert!(cache.fresh("c", &options(Duration::ZERO)).is_none());
        assert!(cache.fresh("c", &Options { cache_bytes_max: 0, ..hour }).is_none());
        cache.trim(40);
        assert_eq!(cache.files.load().len(), 1);
    }

    #[test]
    fn a_file_is_as_long_as_what_was_read_of_it() {
        let about = About { len: 100, ..file("").about };
        assert_eq!(Kept::new("/nowhere".into(), about, "shrunk".into()).about.len, 6);
    }

    #[test]
    fn a_coding_is_made_once_and_only_where_it_pays() {
        let long = file(&"a city by the sea ".repeat(100));
        for coding in Coding::ALL {
            assert_eq!(long.coded(coding), None);
            let coded = long.encode(coding).unwrap();
            assert_eq!(long.coded(coding), Some(Some(coded.clone())));
            assert_eq!(coding::decode(coding.name(), &coded, 10_000).unwrap(), long.plain);
        }
        assert!(long.bytes() > long.plain.len());
        let short = file("x");
        assert_eq!(short.encode(Coding::Br), None);
        assert_eq!(short.coded(Coding::Br), Some(None));
    }
}
