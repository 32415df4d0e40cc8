//! Does a bag open again as it was written, and does every change of it make it refused?

use std::path::Path;

use medseal::bundle::bag::BagWriter;
use medseal::bundle::cover;
use medseal::bundle::descriptor::Descriptor;
use medseal::bundle::document::{Confidentiality, ConfidentialityCode, Document, PatientCheck};
use medseal::bundle::extract::{Extent, ExtractError, OpenedBag, open_bag};
use medseal::bundle::path::BundlePath;
use medseal::bundle::tar_read::TarLimits;
use medseal::id::{BundleId, CaseId, Digest};

const LIMITS: TarLimits = TarLimits { entries_max: 1000, bytes_max: 1 << 30 };

fn document(path: &str, content: &[u8]) -> Document {
    Document {
        path: path.parse().expect("a path"),
        media_type: "text/plain".to_owned(),
        class: None,
        title: Some("<b>Title</b>".to_owned()),
        confidentiality: Confidentiality { code: ConfidentialityCode::N, assumed: true },
        sensitivity: Vec::new(),
        date: None,
        patient_check: PatientCheck::NotChecked,
        bytes: content.len() as u64,
        sha256: Digest::of(content),
    }
}

/// A whole bag of these files, in the order of their paths.
pub(crate) fn bag(bundle: &BundleId, files: &[(&str, &[u8])]) -> Vec<u8> {
    bag_saying(bundle, files, |_| ())
}

/// A bag whose descriptor says something else than it should.
pub(crate) fn bag_saying(bundle: &BundleId, files: &[(&str, &[u8])], lie: impl FnOnce(&mut Descriptor)) -> Vec<u8> {
    let mut writer = BagWriter::new(Vec::new(), bundle).expect("a bag");
    let mut documents = Vec::new();
    for (path, content) in files {
        let path: BundlePath = path.parse().expect("a path");
        writer.document(&path, content.len() as u64, *content, |_| ()).expect("a document");
        documents.push(document(path.as_str(), content));
    }
    let mut descriptor = Descriptor {
        format: Descriptor::FORMAT.to_owned(),
        kind: "records".to_owned(),
        bundle: bundle.clone(),
        case: CaseId::random(),
        from: "st-mary".parse().expect("an id"),
        to: "institute".parse().expect("an id"),
        purpose: "TREAT".parse().expect("a purpose"),
        created: "2026-11-22T10:00:00.000000Z".to_owned(),
        question: Some("Is <script>alert(1)</script> safe?".to_owned()),
        patient: None,
        documents,
        notices: Vec::new(),
        answers: None,
        opinion: None,
    };
    lie(&mut descriptor);
    writer.finish(&descriptor, &cover::page(&descriptor)).expect("a whole bag").0
}

fn open(archive: &[u8], out: &Path) -> Result<OpenedBag, ExtractError> {
    open_bag(archive, out, Extent::Documents, LIMITS, |_| Ok(()))
}

#[test]
fn a_bag_opens_as_exactly_the_files_that_went_in() {
    let deep = format!("{}/{}", "long-folder-name".repeat(9), "long-file-name".repeat(11));
    let files: [(&str, &[u8]); 4] =
        [(".hidden", b"h"), ("Größe und Maß.txt", b"x\n"), ("ct/1.dcm", &vec![7; 70_000]), (&deep, b"")];
    let mut files = files.to_vec();
    files.sort_unstable();
    let archive = bag(&BundleId::random(), &files);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let opened = open(&archive, &out).expect("opens");
    assert_eq!(opened.descriptor.documents.len(), 4);
    for (path, content) in &files {
        assert_eq!(std::fs::read(out.join(path)).expect(path), *content);
    }
    let cover = cover::page(&opened.descriptor);
    assert!(cover.contains("&lt;script&gt;") && !cover.contains("<script>"), "the cover sheet escapes");
    assert!(matches!(open(&archive, &out), Err(ExtractError::Exists(_))), "what exists is never written over");
}

#[test]
fn any_changed_byte_of_a_bag_is_refused_and_leaves_nothing() {
    let archive = bag(&BundleId::random(), &[("a.txt", b"content"), ("b/c.txt", b"more")]);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let mut unnoticed = Vec::new();
    // Most bytes are the zeros of padding and unused fields: some of those stand for all.
    for position in (0..archive.len()).filter(|position| archive[*position] != 0 || position % 13 == 0) {
        let mut changed = archive.clone();
        changed[position] ^= 1;
        if open(&changed, &out).is_ok() {
            unnoticed.push(position);
            std::fs::remove_dir_all(&out).expect("removed");
        }
    }
    // A change that reads as the same archive is none: owner, mode within rwx, time; the checksum sees all of them.
    assert_eq!(unnoticed, Vec::<usize>::new());
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0, "something was left behind");
}

#[test]
fn a_bag_that_is_cut_off_anywhere_is_refused() {
    let archive = bag(&BundleId::random(), &[("a.txt", b"content")]);
    let folder = tempfile::tempdir().expect("a folder");
    for length in (0..archive.len()).step_by(97) {
        assert!(open(&archive[..length], &folder.path().join("out")).is_err(), "cut at {length}");
    }
}

#[test]
fn a_document_that_is_shorter_or_longer_than_announced_is_refused() {
    for (announced, content) in [(5_u64, &b"four"[..]), (3, b"four")] {
        let mut writer = BagWriter::new(Vec::new(), &BundleId::random()).expect("a bag");
        let error = writer.document(&"a".parse().expect("a path"), announced, content, |_| ()).expect_err("refused");
        assert_eq!(error.reason().code(), "FILE_CHANGED");
    }
}
