//! Does every archive that our reader accepts hold the same files for other readers too?
//!
//! A bundle that one program reads as these files and another as those is the oldest trick of archives. Here archives
//! are bent at random; most are refused, and what is accepted must read the same with the tar crate and with Python.

use std::io::{Read, Write as _};
use std::path::Path;
use std::process::Command;

use medseal::bundle::tar_read::{Entries, TarError, TarLimits};
use medseal::bundle::tar_write::TarWriter;
use medseal::id::Digest;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::needs;

const LIMITS: TarLimits = TarLimits { entries_max: 50, bytes_max: 1 << 20 };
const BLOCK: usize = 512;

/// A file of an archive: path, size, digest of its content.
type File = (String, u64, String);

#[test]
fn what_our_reader_accepts_the_tar_crate_reads_the_same() {
    let mut runner = TestRunner::deterministic();
    let mut accepted = 0;
    for _ in 0..CASES {
        let archive = bent(&mut runner);
        let Ok(ours) = read(&archive) else { continue };
        accepted += 1;
        assert_eq!(read_by_tar(&archive), ours, "{:?}", String::from_utf8_lossy(&archive[..BLOCK]));
    }
    // Neither of the two may be so rare that nothing was compared.
    assert!((CASES / 20..CASES * 19 / 20).contains(&accepted), "{accepted} of {CASES} were accepted");
}

#[test]
fn what_our_reader_accepts_python_reads_the_same() {
    let Some(python) = needs::tool("python3") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut runner = TestRunner::deterministic();
    let mut ours = Vec::new();
    for _ in 0..CASES {
        let archive = bent(&mut runner);
        if let Ok(files) = read(&archive) {
            write(&folder.path().join(format!("{:05}.tar", ours.len())), &archive);
            ours.push(files);
        }
    }
    let run = Command::new(python).args(["-c", PYTHON]).arg(folder.path()).output().expect("python runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let theirs: Vec<Vec<File>> = serde_json::from_slice(&run.stdout).expect("what python read");
    assert_eq!(theirs.len(), ours.len());
    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(theirs, ours, "archive {number}");
    }
}

fn read(archive: &[u8]) -> Result<Vec<File>, TarError> {
    let mut entries = Entries::new(archive, LIMITS);
    let mut files = Vec::new();
    while let Some(mut entry) = entries.next_file()? {
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(TarError::Read)?;
        assert_eq!(content.len() as u64, entry.bytes, "the content is as long as was said");
        files.push((entry.path.to_string(), entry.bytes, Digest::of(&content).to_string()));
    }
    Ok(files)
}

fn read_by_tar(archive: &[u8]) -> Vec<File> {
    let mut archive = tar::Archive::new(archive);
    let mut files = Vec::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = String::from_utf8(entry.path_bytes().into_owned()).expect("text");
        if entry.header().entry_type().is_dir() {
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("content");
        files.push((path, content.len() as u64, Digest::of(&content).to_string()));
    }
    files
}

/// A good archive with some of its bytes changed where it hurts.
fn bent(runner: &mut TestRunner) -> Vec<u8> {
    let mut archive = good();
    let headers = headers(&archive);
    let (bends, mend) = (prop::collection::vec(bends(), 1..4), 0_u8..10).new_tree(runner).expect("a case").current();
    for (header, place, value) in bends {
        let at = headers[header % headers.len()];
        // One in four bends lands anywhere, such as in an extension or in padding.
        let position = if place.1 { place.0 % archive.len() } else { at + place.0 % BLOCK };
        match value {
            Value::Byte(byte) => archive[position] = byte,
            Value::Field(start, field) => archive[at + start..at + start + field.len()].copy_from_slice(field),
        }
    }
    if mend > 0 {
        for at in headers {
            set_checksum(&mut archive[at..at + BLOCK]);
        }
    }
    archive
}

#[derive(Clone, Debug)]
enum Value {
    Byte(u8),
    Field(usize, &'static [u8]),
}

fn bends() -> impl Strategy<Value = (usize, (usize, bool), Value)> {
    let byte =
        prop_oneof![prop::sample::select(b"\0 /.01257xLKgSDV%\\\n\xff".to_vec()), any::<u8>()].prop_map(Value::Byte);
    let field = prop::sample::select(vec![
        (0, &b"../up\0"[..]),
        (0, b"bag/b.txt\0\0\0"),
        (0, b"BAG/c\0\0\0"),
        (0, b"bag/new-name.txt\0\0\0\0"),
        (100, b"0000600\0"),
        (100, b"0004755\0"),
        (100, b"644 \0\0\0\0"),
        (108, b"0001750\0"),
        (124, b"00000000000\0"),
        (124, b"00000000001\0"),
        (124, b"00000001000\0"),
        (124, b"00000001000 "),
        (124, b" 0000001000\0"),
        (124, b"1000\0\0\0\0\0\0\0\0"),
        (124, b"\x80\0\0\0\0\0\0\0\0\0\0\x01"),
        (124, b"77777777777\0"),
        (136, b"14700000000\0"),
        (156, b"5"),
        (156, b"x"),
        (156, b"0"),
        (156, b"\0"),
        (156, b"7"),
        (157, b"target"),
        (257, b"ustar  \0"),
        (257, b"\0\0\0\0\0\0\0\0"),
        (265, b"root\0"),
        (297, b"root\0"),
        (329, b"0000001\0"),
        (345, b"prefix\0"),
        (345, b"..\0"),
        (476, b"77777777777\0"),
        (500, b"tar\0"),
    ])
    .prop_map(|(at, field)| Value::Field(at, field));
    let place = (any::<u16>().prop_map(usize::from), prop::bool::weighted(0.25));
    (0_usize..64, place, prop_oneof![2 => byte, 3 => field])
}

/// Files of every kind that the normal form knows: plain, empty, of a whole block, with a prefix, with an extension.
fn good() -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    let (folder, name) = ("long-folder-name".repeat(8), "long-file-name".repeat(6));
    let split = format!("bag/{folder}/{name}");
    let extended = format!("bag/{folder}/{folder}/{name}");
    for (path, bytes) in
        [("bag/a.txt", 5), ("bag/b.txt", 0), ("bag/c/block.bin", 512), (&split, 513), (&extended, 700), ("bag/z", 1)]
    {
        let content: Vec<u8> = inner().into_iter().cycle().take(bytes).collect();
        let mut file = tar.file(path, bytes as u64).expect("a file");
        file.write_all(&content).expect("written");
        file.finish().expect("as long as announced");
    }
    tar.finish().expect("an archive")
}

/// Content that looks like a header itself, for a reader that loses its step.
fn inner() -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    tar.file("bag/smuggled.txt", 0).expect("a file").finish().expect("empty");
    let mut header = tar.finish().expect("an archive");
    header.truncate(BLOCK);
    header
}

/// Where the headers of `good` begin.
fn headers(archive: &[u8]) -> Vec<usize> {
    let (mut at, mut found) = (0, Vec::new());
    while archive[at] != 0 {
        found.push(at);
        let size = std::str::from_utf8(&archive[at + 124..at + 135]).expect("digits");
        at += BLOCK + usize::from_str_radix(size, 8).expect("octal").next_multiple_of(BLOCK);
    }
    found
}

fn set_checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[allow(clippy::disallowed_methods, reason = "a file that lives as long as the test")]
fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("written");
}

const PYTHON: &str = r#"
import hashlib, json, os, sys, tarfile
every = []
for name in sorted(os.listdir(sys.argv[1])):
    files = []
    with tarfile.open(os.path.join(sys.argv[1], name), "r:") as archive:
        for member in archive:
            if member.isdir():
                continue
            assert member.isreg(), (name, member.name, member.type)
            content = archive.extractfile(member).read()
            files.append([member.name, len(content), hashlib.sha256(content).hexdigest()])
    every.append(files)
print(json.dumps(every))
"#;

const CASES: usize = 6000;
