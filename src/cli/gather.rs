//! From the paths that a person names to the documents of a bundle, and from each document to its bytes.
//!
//! Rule: what cannot travel as it is, is refused by name before anything is sent: links, devices, empty folders,
//! names that not every system can store, whatever lies in a gateway's home. A document's bytes are those of the file that was found, unchanged since.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::bundle::path::{BundlePath, PathSet};
use crate::client::ProblemItem;
use crate::reason::Reason;

/// A file that was found, under the path that it will have in the bundle.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its path in the bundle.
    pub(super) path: BundlePath,
    /// Its size, in bytes.
    pub(super) bytes: u64,
    file: PathBuf,
    state: FileState,
}

/// What tells that a file is still the one that was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct FileState {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for FileState {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Finds every document below the paths: a folder stands for its contents, a file for itself. Sorted by path.
pub(super) fn gather(paths: &[PathBuf]) -> Result<Vec<Found>, Failure> {
    let mut gathering = Gathering::default();
    for path in paths {
        gathering.named(path);
    }
    gathering.finish()
}

impl Found {
    /// Opens the file, unless it is another by now.
    pub(super) fn open(&self) -> Result<Opened<'_>, Failure> {
        // Without NONBLOCK a pipe that took the file's place would wait for ever.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(&self.file)
            .map_err(|error| self.unreadable(&error))?;
        let opened = Opened { found: self, file, left: self.bytes };
        opened.check()?;
        Ok(opened)
    }

    fn unreadable(&self, error: &io::Error) -> Failure {
        // A link that was put in the file's place since it was found.
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            return self.changed_meanwhile();
        }
        Failure::bad_input(Reason::Unreadable, format!("{}: {error}", self.file.display()))
    }

    fn changed_meanwhile(&self) -> Failure {
        Failure::bad_input(Reason::FileChanged, format!("{} changed while it was read", self.file.display()))
    }
}

/// A document's bytes: exactly as many as were found.
#[derive(Debug)]
pub(super) struct Opened<'a> {
    found: &'a Found,
    file: File,
    left: u64,
}

impl Opened<'_> {
    /// Reads into `buffer`; 0 at the end. Fails when the file became shorter.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let read = loop {
            match self.file.read(&mut buffer[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.found.unreadable(&error)),
                Ok(read) => break read,
            }
        };
        if read == 0 {
            return Err(self.found.changed_meanwhile());
        }
        self.left -= read as u64;
        Ok(read)
    }

    /// Fails when the file is no longer as it was found: ask before the first byte, and after the last.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let metadata = self.file.metadata().map_err(|error| self.found.unreadable(&error))?;
        if FileState::from(&metadata) == self.found.state { Ok(()) } else { Err(self.found.changed_meanwhile()) }
    }
}

#[derive(Debug, Default)]
struct Gathering {
    found: Vec<Found>,
    names: PathSet,
    problems: Vec<ProblemItem>,
    first: Option<Reason>,
}

impl Gathering {
    fn named(&mut self, path: &Path) {
        if let Ok(whole) = fs::canonicalize(path)
            && whole.ancestors().skip(usize::from(!whole.is_dir())).any(is_a_home)
        {
            return self.problem(Reason::OwnHome, path, Reason::OwnHome.meaning().to_owned());
        }
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return self.problem(Reason::Unreadable, path, error.to_string()),
        };
        if metadata.is_dir() {
            return self.folder(path, "");
        }
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) => self.entry(path, name, &metadata),
            None => self.problem(Reason::BadName, path, "the name is not UTF-8 text; rename the file".to_owned()),
        }
    }

    fn folder(&mut self, folder: &Path, prefix: &str) {
        if prefix.matches('/').count() > crate::bundle::path::DEPTH_MAX {
            return self.problem(Reason::LimitExceeded, folder, "too many folders in folders".to_owned());
        }
        if is_a_home(folder) {
            return self.problem(Reason::OwnHome, folder, Reason::OwnHome.meaning().to_owned());
        }
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.problem(Reason::Unreadable, folder, error.to_string()),
        };
        if entries.is_empty() {
            let reason = if prefix.is_empty() { Reason::NothingToSend } else { Reason::EmptyFolder };
            return self.problem(reason, folder, reason.meaning().to_owned());
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                self.problem(Reason::BadName, &path, "the name is not UTF-8 text; rename the file".to_owned());
                continue;
            };
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.folder(&path, &format!("{prefix}{name}/")),
                Ok(metadata) => self.entry(&path, &format!("{prefix}{name}"), &metadata),
                Err(error) => self.problem(Reason::Unreadable, &path, error.to_string()),
            }
        }
    }

    fn entry(&mut self, file: &Path, name: &str, metadata: &Metadata) {
        if !metadata.is_file() {
            let what = if metadata.is_symlink() { "a link" } else { "neither a regular file nor a folder" };
            return self.problem(Reason::NotAFile, file, format!("this is {what}"));
        }
        let path: BundlePath = match name.parse() {
            Ok(path) => path,
            Err(error) => return self.problem(Reason::BadName, file, format!("{error}")),
        };
        if let Err(error) = self.names.add(&path) {
            return self.problem(Reason::BadName, file, format!("{error}"));
        }
        self.found.push(Found { path, bytes: metadata.len(), file: file.to_owned(), state: metadata.into() });
    }

    fn problem(&mut self, reason: Reason, path: &Path, text: String) {
        self.first.get_or_insert(reason);
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(ProblemItem { path: path.display().to_string(), code: reason.code().to_owned(), text });
        }
    }

    fn finish(mut self) -> Result<Vec<Found>, Failure> {
        if let Some(reason) = self.first {
            let first = &self.problems[0];
            return Err(Failure::bad_input(reason, format!("{}: {}", first.path, first.text)).items(self.problems));
        }
        if self.found.is_empty() {
            return Err(Failure::bad_input(Reason::NothingToSend, Reason::NothingToSend.meaning()));
        }
        self.found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(self.found)
    }
}

/// Whether a folder is a gateway's home: what lies in it, private keys among it, is nobody's record.
fn is_a_home(folder: &Path) -> bool {
    folder.join("medseal.toml").is_file() && folder.join("keys").is_dir()
}

/// More problems than this are not listed one by one.
const PROBLEMS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path, bytes: &[u8]) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        File::create(path).and_then(|mut file| file.write_all(bytes)).expect("written");
    }

    fn refusal(paths: &[PathBuf]) -> (String, String) {
        let failure = gather(paths).expect_err("refused");
        (failure.reason_code().expect("a code").to_owned(), failure.text().to_owned())
    }

    #[test]
    fn a_folder_stands_for_its_contents_hidden_files_included() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.pdf", "ct/2", "ct/10", ".hidden", "a b.xml"] {
            write(&folder.path().join(name), name.as_bytes());
        }
        let found = gather(&[folder.path().to_owned()]).expect("found");
        let names: Vec<_> = found.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(names, [".hidden", "a b.xml", "b.pdf", "ct/10", "ct/2"]);
        let found = gather(&[folder.path().join("ct/2"), folder.path().join("b.pdf")]).expect("found");
        let names: Vec<_> = found.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(names, ["2", "b.pdf"]);
    }

    #[test]
    fn what_cannot_travel_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        write(&root.join("file"), b"x");
        symlink(root.join("file"), root.join("link")).expect("a link");
        assert_eq!(refusal(&[root.to_owned()]).0, "NOT_A_FILE");
        assert!(refusal(&[root.to_owned()]).1.contains("link"));
        assert_eq!(refusal(&[root.join("link")]).0, "NOT_A_FILE");
        fs::remove_file(root.join("link")).expect("removed");
        fs::create_dir_all(root.join("empty")).expect("a folder");
        let (code, text) = refusal(&[root.to_owned()]);
        assert!(code == "EMPTY_FOLDER" && text.contains("empty"), "{code} {text}");
        assert_eq!(refusal(&[root.join("empty")]).0, "NOTHING_TO_SEND");
        write(&root.join("empty/50%.pdf"), b"x");
        let (code, text) = refusal(&[root.to_owned()]);
        assert!(code == "BAD_NAME" && text.contains("50%.pdf"), "{code} {text}");
        assert_eq!(refusal(&[root.join("absent")]).0, "UNREADABLE");
        assert_eq!(refusal(&[PathBuf::from("/dev/null")]).0, "NOT_A_FILE");
        assert_eq!(refusal(&[root.join("file"), root.join("file")]).0, "BAD_NAME", "the same name twice");
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scan.dcm");
        write(&path, b"0123456789");
        let found = gather(std::slice::from_ref(&path)).expect("found").remove(0);
        let mut buffer = [0; 4];

        let mut opened = found.open().expect("opens");
        assert_eq!(opened.read(&mut buffer).expect("read"), 4);
        write(&path, b"012345");
        while opened.read(&mut buffer).is_ok_and(|read| read > 0) {}
        assert_eq!(opened.check().expect_err("changed").reason_code(), Some("FILE_CHANGED"));
        assert_eq!(found.open().expect_err("changed").reason_code(), Some("FILE_CHANGED"));

        fs::remove_file(&path).expect("removed");
        symlink("/etc/hostname", &path).expect("a link");
        assert_eq!(found.open().expect_err("a link now").reason_code(), Some("FILE_CHANGED"));
    }
}
