//! Opening a sealed bundle: decrypt, check every digest, compare with the dispatch, and only then show anything.
//!
//! Rule: documents appear under their name when everything was checked, or not at all; a cover sheet never appears
//! without them.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::failure::Failure;
use crate::bundle::cover as cover_sheet;
use crate::bundle::descriptor::DescribedAnswers;
use crate::bundle::extract::{Extent, ExtractError, OpenedBag, open_bag};
use crate::bundle::tar_read::TarLimits;
use crate::config::Limits;
use crate::durable;
use crate::id::Digest;
use crate::reason::Reason;
use crate::seal::{self, Identities};
use crate::statement::dispatch::Dispatch;
use crate::statement::notices::Notices;

/// What was opened, and where it lies.
#[derive(Debug)]
pub(super) struct Opened {
    /// What the bundle says of itself, and its manifest's digest.
    pub(super) bag: OpenedBag,
    /// The cover sheet beside the documents.
    pub(super) cover: PathBuf,
    /// What the receiver must observe, and the page beside the documents that says so.
    pub(super) notices: Option<(PathBuf, Notices)>,
}

/// Opens the notices that came with a bundle. The records of a dispatch that names notices are not opened without them.
pub(super) fn notices(
    sealed: Option<&[u8]>,
    dispatch: Option<&Dispatch>,
    identities: &Identities,
) -> Result<Option<Notices>, Failure> {
    let signed = dispatch.map(|dispatch| dispatch.notices_sha256.as_ref());
    match (sealed, signed) {
        (None, Some(Some(_))) => Err(Failure::bad_input(Reason::NotFound, "the notices that go with it are not there")
            .hint("X.notices.age lies beside X.age, as `medseal inbox BUNDLE --save DIR` writes them")),
        (None, _) => Ok(None),
        (Some(_), Some(None)) => {
            Err(Failure::refused(Reason::Tampered, "there are notices that the sender did not sign for"))
        }
        (Some(sealed), signed) => Notices::open(sealed, signed.flatten(), identities)
            .map(Some)
            .map_err(|error| Failure::refused(error.reason(), error.to_string())),
    }
}

/// Opens `sealed` into `out`, which must not exist. `dispatch` is what the sender signed, where that was verified.
pub(super) fn open(
    sealed: impl Read,
    identities: &Identities,
    dispatch: Option<&Dispatch>,
    notices: Option<&Notices>,
    out: &Path,
    extent: Extent,
) -> Result<Opened, Failure> {
    let cover = beside_path(out, ".cover.html")?;
    let notices = notices.map(|notices| beside_path(out, ".notices.txt").map(|path| (path, notices.clone())));
    let notices = notices.transpose()?;
    let page = notices.as_ref().map(|(path, _)| path.as_path());
    for taken in [out, &cover].into_iter().chain(page) {
        if taken.symlink_metadata().is_ok() {
            return Err(Failure::bad_input(Reason::OutputExists, format!("{} exists already", taken.display())));
        }
    }
    let measured = Measured::new(sealed);
    let limits = Limits::default();
    // The tag files of the bag come on top of the documents.
    let limits = TarLimits { entries_max: limits.documents_max + 8, bytes_max: limits.bundle_bytes_max };
    let plaintext = seal::open(measured.clone(), identities).map_err(|error| {
        let text = measured.broken().unwrap_or_else(|| error.to_string());
        match error.reason() {
            Reason::WrongKey | Reason::Tampered if measured.broken().is_none() => {
                Failure::refused(error.reason(), text)
            }
            reason => Failure::bad_input(reason, text),
        }
    })?;
    let refusal = RefCell::new(None);
    let mut written: Vec<&Path> = Vec::new();
    let opened = open_bag(plaintext, out, extent, limits, |bag| {
        let mut write = |path, text: String| {
            durable::write_new(path, text.as_bytes(), 0o600).map_err(|error| unwritable(path, &error))?;
            written.push(path);
            Ok(())
        };
        let agreed = compare(bag, dispatch, notices.as_ref().map(|(_, notices)| notices), &measured)
            // Made here, of what was verified: the sender's own page could say, and do, anything.
            .and_then(|()| write(&cover, cover_text(&cover_sheet::page(&bag.descriptor), out, extent)))
            .and_then(|()| notices.as_ref().map_or(Ok(()), |(path, notices)| write(path, notices.page())));
        agreed.map_err(|failure| {
            let text = failure.text().to_owned();
            refusal.replace(Some(failure));
            text
        })
    });
    match opened {
        Ok(bag) => Ok(Opened { bag, cover, notices }),
        Err(error) => {
            for page in written {
                // The documents did not appear, so what goes with them goes too; if it stays, it says what was missing.
                drop(fs::remove_file(page));
            }
            Err(refusal.into_inner().unwrap_or_else(|| failed(error, measured.broken().as_deref())))
        }
    }
}

/// The cover sheet with its links leading to where the documents are: beside it in OUT, not in the bag's `data/`.
fn cover_text(cover: &str, out: &Path, extent: Extent) -> String {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let mut folder = String::new();
    for byte in name.bytes() {
        write!(folder, "%{byte:02X}").expect("a string takes everything");
    }
    let documents = match extent {
        Extent::Documents => format!("href=\"{folder}/"),
        Extent::WholeBag => format!("href=\"{folder}/data/"),
    };
    cover.replace("href=\"data/", &documents)
}

/// `OUT.cover.html` and its like, beside OUT.
fn beside_path(out: &Path, ending: &str) -> Result<PathBuf, Failure> {
    let name = out.file_name().ok_or_else(|| {
        Failure::bad_input(Reason::BadInput, format!("{} is no name for a new folder", out.display()))
    })?;
    let mut beside = name.to_owned();
    beside.push(ending);
    Ok(out.with_file_name(beside))
}

/// What the sender signed must be what came, from the first byte of the sealed file to the last.
fn compare<R: Read>(
    bag: &OpenedBag,
    dispatch: Option<&Dispatch>,
    notices: Option<&Notices>,
    measured: &Measured<R>,
) -> Result<(), Failure> {
    if notices.is_some_and(|notices| notices.bundle != bag.descriptor.bundle) {
        return Err(Failure::refused(Reason::Tampered, "the notices belong to another bundle"));
    }
    let Some(dispatch) = dispatch else { return Ok(()) };
    let differs = |what: &str| {
        Err(Failure::refused(Reason::Tampered, format!("the bundle is not the one that the sender signed for: {what}")))
    };
    let (sha256, bytes) = measured
        .to_the_end()
        .map_err(|error| Failure::bad_input(Reason::Unreadable, format!("the sealed file: {error}")))?;
    if sha256 != dispatch.sealed_sha256 || bytes != dispatch.sealed_bytes {
        return differs("the sealed file's digest differs");
    }
    if bag.manifest_sha256 != dispatch.manifest_sha256 {
        return differs("the manifest's digest differs");
    }
    let said = &bag.descriptor;
    let answers = |answers: &crate::statement::dispatch::Answers| DescribedAnswers {
        bundle: answers.bundle.clone(),
        dispatch: answers.dispatch,
    };
    for (what, same) in [
        ("bundle", said.bundle == dispatch.bundle),
        ("case", said.case == dispatch.case),
        ("sender", said.from == dispatch.from),
        ("receiver", said.to == dispatch.to),
        ("purpose", said.purpose == dispatch.purpose),
        ("kind", said.kind == dispatch.kind.word()),
        ("dispatch that it answers", said.answers == dispatch.answers.as_ref().map(answers)),
    ] {
        if !same {
            return differs(&format!("inside it names another {what}"));
        }
    }
    Ok(())
}

fn failed(error: ExtractError, broken: Option<&str>) -> Failure {
    if let Some(broken) = broken {
        return Failure::bad_input(Reason::Unreadable, format!("the sealed file: {broken}"));
    }
    let reason = error.reason();
    let text = match &error {
        // The manifest names the file; why the stream broke there says nothing more.
        ExtractError::Content(_) => error.to_string(),
        _ => format!("{:#}", anyhow::Error::new(error)),
    };
    match reason {
        Reason::OutputExists | Reason::Unreadable => Failure::bad_input(reason, text),
        _ => Failure::refused(reason, text),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::unable(format!("{}: {error}", path.display()))
}

/// A reader that counts and hashes what goes by, and remembers when the reading itself broke, which must not be taken
/// for tampering.
struct Measured<R>(Rc<RefCell<Measure<R>>>);

struct Measure<R> {
    from: R,
    sha256: Sha256,
    bytes: u64,
    broken: Option<String>,
}

impl<R> Clone for Measured<R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<R: Read> Measured<R> {
    fn new(from: R) -> Self {
        Self(Rc::new(RefCell::new(Measure { from, sha256: Sha256::new(), bytes: 0, broken: None })))
    }

    /// Reads what is left, and answers digest and size of all that there was.
    fn to_the_end(&self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self.clone(), &mut io::sink())?;
        let measure = self.0.borrow();
        Ok((Digest::from_bytes(measure.sha256.clone().finalize().into()), measure.bytes))
    }

    fn broken(&self) -> Option<String> {
        self.0.borrow().broken.clone()
    }
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let measure = &mut *self.0.borrow_mut();
        let read = measure.from.read(into).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                measure.broken = Some(error.to_string());
            }
        })?;
        measure.sha256.update(&into[..read]);
        measure.bytes += read as u64;
        Ok(read)
    }
}
