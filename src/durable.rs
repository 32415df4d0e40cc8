//! Writes files so that they survive a power cut.
//!
//! Rule: when a function here returns, its effect is on the disk, the name included: the content is synced before
//! it gets its name, and the folder is synced after. Whoever crashes on the way leaves the old state or the new one,
//! and at most a file named `.*.tmp`, which nobody reads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::id::random_bytes;

/// Writes a file that does not exist yet, with exactly these permission bits.
///
/// Fails with `AlreadyExists` and changes nothing when `path` exists; a reader never sees it half written.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let scratch = Scratch::holding(path, bytes, mode)?;
    move_new(&scratch.0, path)
}

/// Writes a file in place of whatever stands at `path`, with exactly these permission bits.
///
/// A reader, and a start after a power cut, sees the old content or the new one.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let scratch = Scratch::holding(path, bytes, mode)?;
    rename(&scratch.0, path)?;
    sync_parent(path)
}

/// Gives a synced file or folder its final name; fails with `AlreadyExists` when that name is taken.
///
/// Both names must be on one file system. The content must have been synced before, or a power cut could leave
/// the name without it.
pub fn move_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        // The file system cannot refuse to overwrite in a rename, but a link never overwrites.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => link_then_unlink(from, to)?,
        Err(error) => return Err(error.into()),
    }
    sync_parent(to)?;
    if parent(from) == parent(to) { Ok(()) } else { sync_parent(from) }
}

/// Makes a folder with exactly these permission bits; fails with `AlreadyExists` when the name is taken.
pub fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().mode(mode).create(path)?;
    // The process's umask may have taken bits away.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    sync_dir(path)?;
    sync_parent(path)
}

/// Makes the names inside a folder durable: what was created, renamed or removed there.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Puts a folder on the disk with everything below it, and whatever else waits for that disk: once for many files.
pub fn sync_below(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

/// Removes a file; when it returns, the file stays away after a power cut.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_parent(path)
}

/// A synced file under a name that nobody reads; goes away unless it was moved.
struct Scratch(PathBuf);

impl Scratch {
    fn holding(beside: &Path, bytes: &[u8], mode: u32) -> io::Result<Self> {
        let name = beside.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let random = u64::from_be_bytes(random_bytes());
        let path = parent(beside).join(format!(".{}.{random:016x}.tmp", name.display()));
        // Narrow first: the content may be a secret, and the wished bits come once it is whole.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let scratch = Self(path);
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After the move there is nothing here, which is the good case; else a leftover harms nobody.
        drop(fs::remove_file(&self.0));
    }
}

fn link_then_unlink(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        // A folder has one link, but a rename takes the place of an empty folder at most.
        return if to.exists() { Err(io::ErrorKind::AlreadyExists.into()) } else { rename(from, to) };
    }
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

#[allow(clippy::disallowed_methods, reason = "the content is synced before, the folder after")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    sync_dir(parent(path))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("metadata").permissions().mode() & 0o7777
    }

    #[test]
    fn a_new_file_never_takes_the_place_of_another() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("card");
        write_new(&path, b"first", 0o640).expect("written");
        let again = write_new(&path, b"second", 0o640).expect_err("refused");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("read"), b"first");
        assert_eq!(mode(&path), 0o640);
        assert_eq!(names(dir.path()), ["card"]);
    }

    #[test]
    fn a_replaced_file_has_the_new_content_and_mode_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("checkpoint");
        replace(&path, b"one", 0o600).expect("written");
        replace(&path, b"two", 0o644).expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(mode(&path), 0o644);
        assert_eq!(names(dir.path()), ["checkpoint"]);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("taken");
        create_dir(&path, 0o700).expect("made");
        assert!(replace(&path, b"x", 0o600).is_err());
        assert!(write_new(&path, b"x", 0o600).is_err());
        assert!(write_new(&dir.path().join("absent/x"), b"x", 0o600).is_err());
        assert_eq!(names(dir.path()), ["taken"]);
    }

    #[test]
    fn a_move_refuses_a_taken_name_on_file_systems_without_that_rename_too() {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        write_new(&from, b"new", 0o600).expect("written");
        write_new(&to, b"old", 0o600).expect("written");
        for refuse in [move_new, link_then_unlink] {
            assert_eq!(refuse(&from, &to).expect_err("refused").kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read(&to).expect("read"), b"old");
        remove(&to).expect("removed");
        link_then_unlink(&from, &to).expect("moved");
        assert_eq!(fs::read(&to).expect("read"), b"new");
        create_dir(&from, 0o700).expect("made");
        assert!(link_then_unlink(&from, &to).is_err());
        link_then_unlink(&from, &dir.path().join("moved")).expect("moved");
        assert_eq!(names(dir.path()), ["moved", "to"]);
    }

    #[test]
    fn a_folder_is_made_once_with_its_mode() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("vault");
        create_dir(&path, 0o750).expect("made");
        assert_eq!(mode(&path), 0o750);
        assert_eq!(create_dir(&path, 0o700).expect_err("refused").kind(), io::ErrorKind::AlreadyExists);
    }
}
