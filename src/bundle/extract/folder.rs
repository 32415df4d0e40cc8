//! A folder that is filled out of sight and appears whole, or not at all.

use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions};

use super::ExtractError;
use crate::id::random_bytes;

/// A folder beside its future place. Dropped before it is published, it is removed with all that is in it.
pub(super) struct NewFolder {
    dir: Option<Dir>,
    path: PathBuf,
}

impl NewFolder {
    /// Makes the hidden folder beside `out`, open to its owner only.
    pub(super) fn beside(out: &Path) -> Result<Self, ExtractError> {
        use std::os::unix::fs::DirBuilderExt;
        let failed = |source| ExtractError::Write { path: out.to_owned(), source };
        let name = out.file_name().ok_or_else(|| failed(io::Error::other("this names no folder")))?;
        let hidden = format!(".{}.{:016x}.partial", name.to_string_lossy(), u64::from_be_bytes(random_bytes()));
        let path = out.with_file_name(hidden);
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let dir = Dir::open_ambient_dir(&path, ambient_authority()).map_err(failed)?;
        Ok(Self { dir: Some(dir), path })
    }

    /// Creates a file that was not there, and the folders above it. The handle leads nowhere outside the folder.
    pub(super) fn create(&self, place: &str) -> Result<File, ExtractError> {
        let failed = |source| ExtractError::Write { path: PathBuf::from(place), source };
        let dir = self.dir.as_ref().expect("the folder is open until it is published");
        if let Some((folder, _)) = place.rsplit_once('/') {
            dir.create_dir_all(folder).map_err(failed)?;
        }
        dir.open_with(place, OpenOptions::new().write(true).create_new(true)).map_err(failed)
    }

    /// Gives the folder its name, unless something took that name meanwhile.
    pub(super) fn publish(mut self, out: &Path) -> Result<(), ExtractError> {
        use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with, syncfs};
        let failed = |source| ExtractError::Write { path: out.to_owned(), source };
        // The name must not outlive the content in a power cut: one sync of the file system, not one for each file.
        let dir = self.dir.as_ref().expect("the folder is open until it is published");
        // The handle that we hold is a path only (O_PATH), and such a one cannot be synced.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = openat(dir, ".", flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        syncfs(readable).map_err(|error| failed(error.into()))?;
        renameat_with(CWD, &self.path, CWD, out, RenameFlags::NOREPLACE).map_err(|error| match error {
            rustix::io::Errno::EXIST => ExtractError::Exists(out.to_owned()),
            other => failed(other.into()),
        })?;
        self.dir = None;
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        crate::durable::sync_dir(parent).map_err(failed)
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if self.dir.take().is_some()
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, "a partial folder could not be removed");
        }
    }
}
