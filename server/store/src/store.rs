//! A root directory and the databases in it.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::computed::Evaluator;
use crate::database::Database;
use crate::error::Error;
use crate::observer::Observing;
use crate::options::{CurrentOptions, Options};
use crate::space::Space;
use crate::stats::DatabaseStats;
use crate::sweep::{Databases, Sweeper};

const LOCK_FILE: &str = "harper.lock";
const NAME_CHARS_MAX: usize = 64;

/// An open root. Clones share it; the root is unlocked when the last clone, database and table
/// are gone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    path: PathBuf,
    options: CurrentOptions,
    hooks: Hooks,
    space: Arc<Space>,
    root: PathBuf,
    lock: Arc<RootLock>,
    databases: Databases,
    /// Held while a database is opened, so that each is opened once and no one else waits.
    opening: Mutex<()>,
    _sweeper: Sweeper,
}

/// What whoever opens a store brings along.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Makes the values that are not stored.
    pub evaluator: Evaluator,
    /// Is told of commits.
    pub observing: Observing,
}

/// An exclusive lock on a root and on the directory of its databases, held while this lives.
#[derive(Debug)]
pub(crate) struct RootLock {
    _files: Vec<File>,
}

impl Store {
    /// Locks `root` and prepares to open databases in `path`; both are created when missing.
    ///
    /// # Errors
    /// [`Error::Locked`] when another store has either directory, [`Error::ForeignRoot`] when Harper on
    /// Node wrote it, [`Error::File`] when the file system refuses.
    pub fn open(root: &Path, path: &Path, options: Options) -> Result<Store, Error> {
        Store::open_with(root, path, options, Hooks::default())
    }

    /// [`Store::open`] with what evaluates and who is told.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(
        root: &Path,
        path: &Path,
        options: Options,
        hooks: Hooks,
    ) -> Result<Store, Error> {
        for directory in [root, path] {
            fs::create_dir_all(directory)
                .map_err(|source| Error::file("creating", directory, source))?;
        }
        let lock = RootLock::take(root, path)?;
        refuse_foreign(path)?;
        let options: CurrentOptions = Arc::new(ArcSwap::from_pointee(options));
        let space = Space::new(path.to_owned(), options.clone());
        let databases = Databases::default();
        let sweeper = Sweeper::start(databases.clone(), options.clone())
            .map_err(|source| Error::file("starting the sweeper of", path, source))?;
        Ok(Store(Arc::new(Inner {
            path: path.to_owned(),
            root: root.to_owned(),
            options,
            hooks,
            space: Arc::new(space),
            lock: Arc::new(lock),
            databases,
            opening: Mutex::new(()),
            _sweeper: sweeper,
        })))
    }

    /// Opens a database, or creates it.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::DatabasesFull`], [`Error::NewerFormat`] for a database of
    /// a later release, and what the file system and LMDB refuse.
    pub fn database(&self, name: &str) -> Result<Arc<Database>, Error> {
        check_name(name)?;
        let inner = &*self.0;
        let _guard = inner.opening.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let databases = inner.databases();
            if let Some(database) = databases.get(name) {
                return Ok(database.clone());
            }
            let max = inner.options.load().databases_max;
            if databases.len() >= max {
                return Err(Error::DatabasesFull { max });
            }
        }
        let directory = inner.path.join(name);
        fs::create_dir_all(&directory)
            .map_err(|source| Error::file("creating", &directory, source))?;
        let (options, space, lock) =
            (inner.options.clone(), inner.space.clone(), inner.lock.clone());
        let hooks = inner.hooks.clone();
        let database = Arc::new(Database::open(name, &directory, options, hooks, space, lock)?);
        for entries in [&directory, &inner.path, &inner.root] {
            sync_entries(entries)?;
        }
        inner.databases().insert(name.to_owned(), database.clone());
        Ok(database)
    }

    /// Takes other limits from now on. The size of the map, the numbers of readers, databases, trees and waiting
    /// requests, and the durability stay as they were: they are part of what is open.
    pub fn set_limits(&self, options: &Options) {
        let options = options.with_fixed_of(&self.0.options.load());
        self.0.options.store(Arc::new(options));
    }

    /// The databases opened so far, by name.
    pub fn databases(&self) -> Vec<Arc<Database>> {
        self.0.databases().values().cloned().collect()
    }

    /// Figures of each opened database.
    pub fn stats(&self) -> Vec<DatabaseStats> {
        self.databases().iter().map(|database| database.stats()).collect()
    }
}

impl Inner {
    fn databases(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Database>>> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RootLock {
    /// Locks both directories, which may be one. The databases' own lock matters when they lie
    /// outside the root: another root may name them too.
    fn take(root: &Path, path: &Path) -> Result<RootLock, Error> {
        let canonical = |path: &Path| {
            path.canonicalize().map_err(|source| Error::file("finding", path, source))
        };
        let mut files = vec![lock(root)?];
        if canonical(root)? != canonical(path)? {
            files.push(lock(path)?);
        }
        Ok(RootLock { _files: files })
    }
}

/// Makes the names in a directory durable, which syncing the files themselves does not.
fn sync_entries(directory: &Path) -> Result<(), Error> {
    let synced = File::open(directory).and_then(|file| file.sync_all());
    synced.map_err(|source| Error::file("syncing", directory, source))
}

fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join(LOCK_FILE);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| Error::file("opening", &path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { root: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(Error::file("locking", &path, source)),
    }
}

/// Harper on Node keeps a file `<database>.mdb` for each database; here each is a directory.
fn refuse_foreign(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::file("reading", path, source);
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "mdb") && file.is_file() {
            return Err(Error::ForeignRoot { file });
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Error> {
    let fits = (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if fits { Ok(()) } else { Err(Error::InvalidName { name: name.to_owned() }) }
}
