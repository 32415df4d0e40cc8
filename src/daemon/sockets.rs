//! The sockets of the staff API: the owner's in the home, and one outside it for the people of the staff.
//!
//! Rule: the home stays its owner's alone. Who speaks on a socket is told by the kernel, for each connection, before a
//! byte of it is read; the folder of the staff's socket is only the fence around it.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use tokio::net::{UnixListener, UnixStream};

use super::DaemonError;
use crate::config::{Home, People};

/// Who may use the gateway.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    owner: u32,
    people: People,
}

impl Admitted {
    /// The gateway's own user, root, and these people.
    pub(super) fn with(people: People) -> Self {
        Self { owner: rustix::process::geteuid().as_raw(), people }
    }

    /// Whether this user may.
    pub(super) fn has(&self, uid: u32) -> bool {
        uid == self.owner || uid == 0 || self.people.has(uid)
    }
}

/// Makes the owner's socket: mode 0600, reached through the folder's descriptor so that a long path does not matter.
pub(super) async fn owners(home: &Home) -> Result<UnixListener, DaemonError> {
    let problem = |source| DaemonError::Socket { folder: home.path().display().to_string(), source };
    let folder = fs::File::open(home.path()).map_err(problem)?;
    let path = format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), super::SOCKET);
    if UnixStream::connect(&path).await.is_ok() {
        return Err(DaemonError::Running(home.path().display().to_string()));
    }
    // The home itself is 0700, so that nobody can connect before the mode is set.
    bind(Path::new(&path), 0o600).map_err(problem)
}

/// Makes the staff's socket. Whoever may enter its folder may knock; only the people of the staff are let in.
pub(super) async fn staffs(path: &Path) -> Result<UnixListener, DaemonError> {
    let problem = |source| DaemonError::Socket { folder: path.display().to_string(), source };
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    check_folder(folder).map_err(problem)?;
    if UnixStream::connect(path).await.is_ok() {
        return Err(DaemonError::Running(path.display().to_string()));
    }
    bind(path, 0o666).map_err(problem)
}

/// Whoever may write in the folder could put a socket of their own in the place of ours.
fn check_folder(folder: &Path) -> io::Result<()> {
    let found = fs::metadata(folder)?;
    let ours = found.uid() == 0 || found.uid() == rustix::process::geteuid().as_raw();
    if ours && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        ErrorKind::PermissionDenied,
        format!(
            "{} belongs to user {} with mode {:o}; only the gateway's own user or root may write there",
            folder.display(),
            found.uid(),
            found.mode() & 0o7777
        ),
    ))
}

fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(left) if left.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "something that is no socket lies there")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_staffs_socket_lies_where_nobody_else_can_put_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("staff.sock");
        for (mode, taken) in [(0o755, true), (0o777, false), (0o775, false), (0o1777, false)] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).expect("ours");
            assert_eq!(staffs(&path).await.is_ok(), taken, "{mode:o}");
        }
    }

    #[tokio::test]
    async fn what_is_no_socket_is_never_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("staff.sock");
        crate::durable::write_new(&path, b"somebody's file", 0o600).expect("written");
        assert!(staffs(&path).await.is_err());
        assert_eq!(fs::read(&path).expect("still there"), b"somebody's file");
    }
}
