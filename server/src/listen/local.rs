//! A Unix socket: a file through which programs of this machine reach the server, and which its owner alone can open.

use super::BACKLOG;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Bytes of a path that the system's `sun_path` has room for, its end not counted (unix(7)).
const PATH_BYTES_MAX: usize = 107;

/// The file of a listening socket; removed when dropped, unless another socket has taken its place.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number of the file.
    identity: (u64, u64),
}

impl SocketFile {
    /// Binds a socket to a path. The file appears there whole: with its mode, and listened on. One that nobody listens on any
    /// more is replaced.
    ///
    /// # Errors
    /// A path that is too long, that something else has which is in use or no socket, or that the system refuses.
    pub(super) fn bind(path: &Path) -> io::Result<(Self, UnixListener)> {
        let bytes = path.as_os_str().as_bytes().len();
        if bytes > PATH_BYTES_MAX {
            let message = format!(
                "the path has {bytes} bytes, and that of a socket {PATH_BYTES_MAX} at most; \
                 choose a shorter one, or null for no socket"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        check_free(path)?;
        // nobody can connect before it listens, and it has its mode by then
        let new = path.with_file_name(format!(".{}", std::process::id()));
        remove(&new)?;
        let bound = listen(&new).and_then(|listener| {
            let metadata = fs::symlink_metadata(&new)?;
            fs::rename(&new, path)?;
            let identity = (metadata.dev(), metadata.ino());
            Ok((Self { path: path.to_owned(), identity }, listener))
        });
        bound.inspect_err(|_| {
            // what is left behind of the attempt is only in the way of nobody
            let _ = remove(&new);
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        let is_own = found.is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if is_own && let Err(error) = remove(&self.path) {
            tracing::warn!(%error, "the socket {} could not be removed", self.path.display());
        }
    }
}

/// Whether a socket may be made at a path: nothing is there, or a socket that nobody listens on.
fn check_free(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        let message = "there is something else than a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_its_owners_alone_and_goes_with_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (file, listener) = SocketFile::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
        UnixStream::connect(&path).unwrap();
        let again = SocketFile::bind(&path).err().unwrap();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        drop((file, listener));
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_one_of_another_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let (old, listener) = SocketFile::bind(&path).unwrap();
        drop(listener);
        let (_new, _listener) = SocketFile::bind(&path).unwrap();
        drop(old);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "kept").unwrap();
        let message = |path: &Path| SocketFile::bind(path).err().unwrap().to_string();
        assert!(message(&file).contains("else than a socket"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
        let long = message(&folder.path().join("x".repeat(PATH_BYTES_MAX)));
        assert!(long.contains("107 at most") && long.contains("null"), "{long}");
        assert!(SocketFile::bind(&folder.path().join("nowhere/socket")).is_err());
    }
}
