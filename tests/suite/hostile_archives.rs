//! Does a hostile archive ever get further than its own refusal, and does any of its files appear anywhere?

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use medseal::bundle::extract::{Extent, ExtractError, open_bag};
use medseal::bundle::tar_read::{Entries, TarError, TarLimits};
use medseal::id::BundleId;

use crate::bundle_bag::bag;
use crate::needs;

/// Below the 5,000 entries and the 200 MiB that the samples try.
const LIMITS: TarLimits = TarLimits { entries_max: 4000, bytes_max: 64 << 20 };
const TOP: &str = "bundle-0123456789abcdef";

#[test]
fn every_hostile_archive_is_refused_for_its_own_trick_before_its_content_is_read() {
    let Some(samples) = Samples::plain() else { return };
    let mut wrong = Vec::new();
    for (file, code, words) in REFUSED {
        let mut archive = Counted { from: samples.open(file), bytes: 0 };
        match read_all(&mut archive) {
            Ok(files) => wrong.push(format!("{file} was accepted: {:?}", files.keys())),
            Err(error) if error.reason().code() == *code && error.to_string().contains(words) => {}
            Err(error) => wrong.push(format!("{file}: {} {error}", error.reason().code())),
        }
        if *file != "tar/67-many-entries.tar" {
            assert!(archive.bytes < 20_000, "{file}: {} bytes were read before it was refused", archive.bytes);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_harmless_archive_is_read_as_it_is() {
    let Some(samples) = Samples::plain() else { return };
    let files = read_all(samples.open("tar/00-control-good.tar")).expect("accepted");
    assert_eq!(files, BTreeMap::from([("bag/data/report.txt".to_owned(), b"harmless payload\n".to_vec())]));
}

/// The same archives with the top folder of a bundle and a `bagit.txt` before them: each would be a bag but for its
/// trick, and the harmless one is refused only because it ends too soon.
#[test]
fn a_bag_with_a_trick_in_it_is_refused_and_leaves_no_file_anywhere() {
    let Some(samples) = Samples::in_a_bundle() else { return };
    let declaration = bag(&TOP.parse::<BundleId>().expect("an id"), &[])[..1024].to_vec();
    // Deep enough that what climbs two folders is still seen.
    let folder = tempfile::tempdir().expect("a folder");
    let inbox = folder.path().join("a/b/c");
    std::fs::create_dir_all(&inbox).expect("folders");
    let absolute: BTreeSet<PathBuf> = samples.canaries().filter(|canary| canary.is_absolute()).collect();
    assert_eq!(absolute.len(), 5, "{absolute:?}");
    let before: Vec<bool> = absolute.iter().map(|canary| canary.exists()).collect();
    for extent in [Extent::Documents, Extent::WholeBag] {
        for file in samples.files.keys().filter(|file| file.starts_with("tar/")) {
            let archive = declaration.chain(samples.open(file));
            let error = open_bag(archive, &inbox.join("out"), extent, LIMITS, |_| Ok(())).expect_err(file);
            let ends_too_soon = matches!(&error, ExtractError::Form(why) if why == "a tag file is missing");
            // After the declaration, nothing is an end too soon like any other.
            let harmless = file.contains("00-control-good") || file.contains("65-empty");
            assert_eq!(ends_too_soon, harmless, "{file}: {error}");
            assert_eq!(tree(folder.path()), ["a", "a/b", "a/b/c"], "{file} left something behind");
        }
    }
    let after: Vec<bool> = absolute.iter().map(|canary| canary.exists()).collect();
    assert_eq!(before, after, "an archive wrote outside: {absolute:?}");
}

#[test]
fn a_zip_is_one_document_that_nobody_unpacks() {
    let Some(samples) = Samples::plain() else { return };
    let zips: BTreeMap<&String, Vec<u8>> = samples
        .files
        .keys()
        .filter(|file| file.starts_with("zip/"))
        .map(|file| (file, std::fs::read(samples.folder.join(file)).expect(file)))
        .collect();
    assert_eq!(zips.len(), 24);
    let files: Vec<(&str, &[u8])> = zips.iter().map(|(file, content)| (file.as_str(), content.as_slice())).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    open_bag(&bag(&BundleId::random(), &files)[..], &out, Extent::Documents, LIMITS, |_| Ok(())).expect("opens");
    for (file, content) in &zips {
        assert!(std::fs::read(out.join(file)).expect(file) == *content, "{file} changed");
    }
    let mut expected: Vec<String> = zips.keys().map(ToString::to_string).collect();
    expected.insert(0, "zip".to_owned());
    assert_eq!(tree(&out), expected, "something was unpacked");
}

#[test]
fn every_hostile_file_has_a_test() {
    let Some(samples) = Samples::plain() else { return };
    assert_eq!(samples.files.len(), 113);
    let surveyed = include_str!("survey_hostile.rs");
    for (file, verdict) in &samples.files {
        let archive = file.starts_with("tar/") || file.starts_with("zip/");
        assert!(archive || surveyed.contains(&format!("(\"{file}\", ")), "{file} has no test");
        // `accept` among the archives stands for the harmless ones; every other tar is in the list below.
        let refused = REFUSED.iter().any(|(refused, ..)| refused == file);
        assert_eq!(refused, file.starts_with("tar/") && verdict["expect"] != "accept", "{file}");
    }
}

/// The hostile files, made once for all tests of this file.
struct Samples {
    folder: PathBuf,
    files: BTreeMap<String, serde_json::Value>,
}

impl Samples {
    /// As the script makes them.
    fn plain() -> Option<&'static Self> {
        static MADE: OnceLock<Option<Samples>> = OnceLock::new();
        MADE.get_or_init(|| Self::make("bag/", "hostile-plain")).as_ref()
    }

    /// With a bundle's top folder instead of the script's.
    fn in_a_bundle() -> Option<&'static Self> {
        static MADE: OnceLock<Option<Samples>> = OnceLock::new();
        MADE.get_or_init(|| Self::make(&format!("{TOP}/"), "hostile-bundle")).as_ref()
    }

    fn make(top: &str, name: &str) -> Option<Self> {
        let (script, python) = (needs::data("hostile/make_hostile.py")?, needs::tool("python3")?);
        let script = std::fs::read_to_string(script).expect("the script");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).expect("removed");
        }
        std::fs::create_dir(&folder).expect("a folder");
        let run =
            Command::new(python).args(["-c", &script.replace("bag/", top)]).arg(&folder).output().expect("python runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let verdicts = std::fs::read(folder.join("expected.json")).expect("verdicts");
        let verdicts: Vec<serde_json::Value> = serde_json::from_slice(&verdicts).expect("verdicts");
        let named = |verdict: serde_json::Value| (verdict["file"].as_str().expect("a name").to_owned(), verdict);
        Some(Self { files: verdicts.into_iter().map(named).collect(), folder })
    }

    fn open(&self, file: &str) -> std::fs::File {
        std::fs::File::open(self.folder.join(file)).expect(file)
    }

    fn canaries(&self) -> impl Iterator<Item = PathBuf> {
        self.files.values().filter_map(|verdict| verdict["canary"].as_str().map(PathBuf::from))
    }
}

fn read_all(archive: impl Read) -> Result<BTreeMap<String, Vec<u8>>, TarError> {
    let mut entries = Entries::new(archive, LIMITS);
    let mut files = BTreeMap::new();
    while let Some(mut entry) = entries.next_file()? {
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(TarError::Read)?;
        files.insert(entry.path.to_string(), content);
    }
    Ok(files)
}

/// Everything below a folder, sorted.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in next.read_dir().expect("a folder") {
            let path = entry.expect("an entry").path();
            found.push(path.strip_prefix(folder).expect("below").to_str().expect("text").to_owned());
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

struct Counted<R> {
    from: R,
    bytes: usize,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.bytes += count;
        Ok(count)
    }
}

/// Archive, reason code, words of the refusal.
const REFUSED: &[(&str, &str, &str)] = &[
    ("tar/01-dotdot.tar", "BAD_NAME", "must lead down"),
    ("tar/02-dotdot-inside.tar", "BAD_NAME", "must lead down"),
    ("tar/03-absolute.tar", "BAD_NAME", "must lead down"),
    ("tar/04-prefix-dotdot.tar", "BAD_NAME", "must lead down"),
    ("tar/05-pax-path-dotdot.tar", "BAD_NAME", "must lead down"),
    ("tar/06-gnu-longname-dotdot.tar", "NOT_NORMAL_FORM", "not ustar"),
    ("tar/07-backslash.tar", "BAD_NAME", "'\\\\'"),
    ("tar/08-pax-global-path.tar", "NOT_NORMAL_FORM", "neither file nor folder"),
    ("tar/10-symlink-absolute.tar", "NOT_NORMAL_FORM", "a link target"),
    ("tar/11-symlink-parent.tar", "NOT_NORMAL_FORM", "a link target"),
    ("tar/12-symlink-chain.tar", "NOT_NORMAL_FORM", "a link target"),
    ("tar/13-symlink-only-read.tar", "NOT_NORMAL_FORM", "a link target"),
    ("tar/14-symlink-loop.tar", "NOT_NORMAL_FORM", "a link target"),
    ("tar/15-hardlink-absolute.tar", "NOT_NORMAL_FORM", "a link target"),
    ("tar/16-hardlink-dotdot.tar", "NOT_NORMAL_FORM", "a link target"),
    ("tar/17-hardlink-to-symlink.tar", "NOT_NORMAL_FORM", "a link target"),
    ("tar/18-dir-swap.tar", "NOT_NORMAL_FORM", "a link target"),
    ("tar/19-pax-linkpath.tar", "NOT_NORMAL_FORM", "other than one path and one size"),
    ("tar/20-char-device.tar", "NOT_NORMAL_FORM", "a device"),
    ("tar/21-block-device.tar", "NOT_NORMAL_FORM", "a device"),
    ("tar/22-fifo.tar", "NOT_NORMAL_FORM", "a device"),
    ("tar/23-setuid.tar", "NOT_NORMAL_FORM", "a mode with more"),
    ("tar/24-unknown-type.tar", "NOT_NORMAL_FORM", "neither file nor folder"),
    ("tar/25-contiguous-type7.tar", "NOT_NORMAL_FORM", "neither file nor folder"),
    ("tar/26-gnu-multivolume.tar", "NOT_NORMAL_FORM", "not ustar"),
    ("tar/27-dir-with-data.tar", "NOT_NORMAL_FORM", "a folder with content"),
    ("tar/30-duplicate.tar", "BAD_NAME", "clashes"),
    ("tar/31-case-collision.tar", "BAD_NAME", "clashes"),
    ("tar/32-unicode-collision.tar", "BAD_NAME", "normal form C"),
    ("tar/33-dot-variants.tar", "BAD_NAME", "must lead down"),
    ("tar/34-file-then-dir.tar", "BAD_NAME", "clashes"),
    ("tar/35-control-chars.tar", "BAD_NAME", "'\\n'"),
    ("tar/36-nul-in-pax-path.tar", "BAD_NAME", "'\\0'"),
    ("tar/37-reserved-names.tar", "BAD_NAME", "CON"),
    ("tar/38-bidi-name.tar", "BAD_NAME", "'\\u{202e}'"),
    ("tar/39-non-utf8-name.tar", "BAD_NAME", "not UTF-8"),
    ("tar/40-cve-2025-62518-pax-size.tar", "NOT_NORMAL_FORM", "two sizes"),
    ("tar/41-pax-size-smaller.tar", "NOT_NORMAL_FORM", "two sizes"),
    ("tar/42-pax-size-twice.tar", "NOT_NORMAL_FORM", "other than one path and one size"),
    ("tar/43-pax-size-negative.tar", "NOT_NORMAL_FORM", "a size that is no number"),
    ("tar/44-pax-size-huge.tar", "NOT_NORMAL_FORM", "two sizes"),
    ("tar/45-base256-huge.tar", "NOT_NORMAL_FORM", "no octal number"),
    ("tar/46-base256-negative.tar", "NOT_NORMAL_FORM", "no octal number"),
    ("tar/47-size-beyond-eof.tar", "TAMPERED", ""),
    ("tar/48-pax-bad-length.tar", "NOT_NORMAL_FORM", "record that is malformed"),
    ("tar/49-pax-huge-header.tar", "LIMIT_EXCEEDED", "bytes in an extension"),
    ("tar/50-gnu-sparse-1TiB.tar", "NOT_NORMAL_FORM", "not ustar"),
    ("tar/51-pax-sparse-10TiB.tar", "NOT_NORMAL_FORM", "other than one path and one size"),
    ("tar/60-bad-checksum.tar", "NOT_NORMAL_FORM", "wrong checksum"),
    ("tar/61-truncated.tar", "TAMPERED", ""),
    ("tar/62-no-eof.tar", "TAMPERED", "breaks off"),
    ("tar/63-second-archive.tar", "NOT_NORMAL_FORM", "after the end"),
    ("tar/64-single-zero-block.tar", "NOT_NORMAL_FORM", "one zero block alone"),
    ("tar/65-empty.tar", "NOT_NORMAL_FORM", "no entry at all"),
    ("tar/66-deep-path.tar", "LIMIT_EXCEEDED", "bytes in an extension"),
    ("tar/67-many-entries.tar", "LIMIT_EXCEEDED", "more entries than the 4000"),
    ("tar/70-bomb-200MiB.tar.gz", "NOT_NORMAL_FORM", "not ustar"),
    ("tar/71-gzip-two-members.tar.gz", "TAMPERED", "breaks off"),
    ("tar/72-gzip-trailing-garbage.tar.gz", "TAMPERED", "breaks off"),
];
