//! Do stock tools open and check what medseal seals, and does medseal open what stock tools make?

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use medseal::bundle::extract::{Extent, ExtractError, OpenedBag, open_bag};
use medseal::bundle::tar_read::{TarError, TarLimits};
use medseal::id::BundleId;
use medseal::seal::{self, Identities};

use crate::bundle_bag::bag;
use crate::needs;

const LIMITS: TarLimits = TarLimits { entries_max: 1000, bytes_max: 1 << 30 };

/// Names that tools stumble over, in the order of their paths.
fn awkward() -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        (" leading space.txt".to_owned(), b"s".to_vec()),
        ("#hash & $HOME; 'quote' `tick` !.txt".to_owned(), b"shell".to_vec()),
        ("-rf".to_owned(), b"option".to_vec()),
        (".hidden/.profile".to_owned(), b"hidden".to_vec()),
        ("CT 0001/slice 1.dcm".to_owned(), vec![7; 70_000]),
        ("Größe und Maß.pdf".to_owned(), b"umlaut\n".to_vec()),
        ("empty".to_owned(), Vec::new()),
        // Fits only with ustar's prefix.
        (format!("{}/{}", "folder-".repeat(9), "file-name".repeat(7)), b"prefix".to_vec()),
        // Fits only as a pax path: more than 256 bytes, one part longer than ustar's name.
        (format!("long/{}/{}.txt", "über".repeat(20), "a-very-long-file-name".repeat(9)), b"pax".to_vec()),
        (format!("{}end", "deep/".repeat(30)), b"deep".to_vec()),
        ("病理/報告書.txt".to_owned(), "内容".as_bytes().to_vec()),
        ("~user".to_owned(), b"tilde".to_vec()),
    ];
    files.sort();
    files
}

#[test]
fn age_tar_sha256sum_and_bagit_open_and_check_what_medseal_sealed() {
    let tools = ["age", "age-keygen", "tar", "sha256sum", "bagit.py"].map(needs::tool);
    let [Some(age), Some(keygen), Some(tar), Some(sha256sum), Some(bagit)] = tools else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let key = Key::make(&keygen, folder.path());
    let files = awkward();
    let borrowed: Vec<(&str, &[u8])> = files.iter().map(|(path, content)| (path.as_str(), &content[..])).collect();
    let bundle = BundleId::random();
    let mut sealer = seal::seal(&[key.recipient], Vec::new()).expect("a recipient");
    std::io::Write::write_all(&mut sealer, &bag(&bundle, &borrowed)).expect("sealed");
    let sealed = folder.path().join("bundle.age");
    std::fs::File::create_new(&sealed)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &sealer.finish().expect("sealed").0))
        .expect("written");

    let archive = folder.path().join("bundle.tar");
    run(Command::new(age).arg("-d").arg("-i").arg(&key.file).arg("-o").arg(&archive).arg(&sealed));
    run(Command::new(tar).arg("-x").arg("-C").arg(folder.path()).arg("-f").arg(&archive));
    let top = folder.path().join(bundle.as_str());
    for (path, content) in &files {
        assert!(std::fs::read(top.join("data").join(path)).expect(path) == *content, "{path} changed");
    }
    for manifest in ["manifest-sha256.txt", "tagmanifest-sha256.txt"] {
        let checked = run(Command::new(&sha256sum).args(["--check", "--strict", manifest]).current_dir(&top));
        let lines = String::from_utf8(checked.stdout).expect("text");
        let expected = if manifest.starts_with("tag") { 5 } else { files.len() };
        assert!(lines.lines().count() == expected && lines.lines().all(|line| line.ends_with(": OK")), "{lines}");
    }
    run(Command::new(&bagit).arg("--validate").arg(&top));

    // The checks are real: a document that changed on the way to the reader fails both.
    let changed = top.join("data/empty");
    std::fs::OpenOptions::new()
        .append(true)
        .open(&changed)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"x"))
        .expect("changed");
    let check = Command::new(sha256sum).args(["--check", "manifest-sha256.txt"]).current_dir(&top).output();
    assert!(!check.expect("runs").status.success());
    assert!(!Command::new(bagit).arg("--validate").arg(&top).output().expect("runs").status.success());
}

#[test]
fn a_bag_packed_and_sealed_with_stock_tools_opens() {
    let tools = ["age", "age-keygen", "tar"].map(needs::tool);
    let [Some(age), Some(keygen), Some(tar)] = tools else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let key = Key::make(&keygen, folder.path());
    let files = awkward();
    let short: Vec<(&str, &[u8])> = files
        .iter()
        .filter(|(path, _)| path.len() < 160)
        .map(|(path, content)| (path.as_str(), &content[..]))
        .collect();
    let packed = Packed::make(folder.path(), &short);
    // The order is part of the normal form, so the names are listed; an ustar archive of GNU tar is otherwise as ours.
    let archive = packed.pack(&tar, &["--format=ustar"]).expect("ustar holds these");
    let sealed = folder.path().join("bundle.age");
    run(Command::new(&age).arg("-r").arg(&key.recipient).arg("-o").arg(&sealed).arg(&archive));
    let armoured = folder.path().join("bundle.age.asc");
    run(Command::new(&age).arg("-a").arg("-r").arg(&key.recipient).arg("-o").arg(&armoured).arg(&archive));
    for (number, sealed) in [sealed, armoured].iter().enumerate() {
        let out = folder.path().join(format!("out-{number}"));
        let reader =
            seal::open(std::fs::File::open(sealed).expect("sealed"), &key.identities).expect("our key opens it");
        let opened = open_bag(reader, &out, Extent::WholeBag, LIMITS, |_| Ok(())).expect("opens");
        assert_eq!(opened.descriptor.bundle, packed.bundle);
        for (path, content) in &short {
            assert!(std::fs::read(out.join("data").join(path)).expect(path) == *content, "{path} changed");
        }
    }
}

/// What of stock tar's other forms is the normal form, and what a sender must ask tar to leave out.
#[test]
fn a_long_path_of_stock_tar_is_read_when_its_extension_says_nothing_else() {
    let Some(tar) = needs::tool("tar") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let files = awkward();
    let all: Vec<(&str, &[u8])> = files.iter().map(|(path, content)| (path.as_str(), &content[..])).collect();
    let packed = Packed::make(folder.path(), &all);
    let open = |archive: &Path| -> Result<OpenedBag, ExtractError> {
        let out = folder.path().join("out");
        let opened =
            open_bag(std::fs::File::open(archive).expect("packed"), &out, Extent::Documents, LIMITS, |_| Ok(()));
        if out.exists() {
            std::fs::remove_dir_all(&out).expect("removed");
        }
        opened
    };
    let path_only = ["--format=pax", "--pax-option=delete=atime,delete=ctime,delete=mtime"];
    open(&packed.pack(&tar, &path_only).expect("packed")).expect("pax with paths only");
    // Times in an extension are one more thing that two readers may read differently: refused, with words that say so.
    let error = open(&packed.pack(&tar, &["--format=pax"]).expect("packed")).expect_err("times");
    assert!(error.to_string().contains("an extension other than one path and one size"), "{error}");
    let error = open(&packed.pack(&tar, &["--format=gnu"]).expect("packed")).expect_err("GNU's own form");
    assert!(error.to_string().contains("a header that is not ustar"), "{error}");
    assert!(packed.pack(&tar, &["--format=ustar"]).is_none(), "ustar itself holds no such path");
}

#[test]
fn a_bag_of_the_bagit_suite_is_refused_as_a_bundle_of_ours() {
    let (Some(suite), Some(tar)) = (needs::data("bagit-suite/v1.0"), needs::tool("tar")) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut bags = 0;
    for kind in ["valid", "invalid"] {
        for entry in suite.join(kind).read_dir().expect("a folder") {
            let name = entry.expect("an entry").file_name();
            let archive = folder.path().join("bag.tar");
            let top = BundleId::random();
            run(Command::new(&tar)
                .args(["--format=ustar", "--sort=name", "--owner=0", "--group=0", "-cf"])
                .arg(&archive)
                .arg("-C")
                .arg(suite.join(kind))
                .arg(format!("--transform=s,^[^/]*,{top},"))
                .arg(&name));
            let out = folder.path().join("out");
            let file = std::fs::File::open(&archive).expect("packed");
            let error = open_bag(file, &out, Extent::Documents, LIMITS, |_| Ok(())).expect_err("refused");
            assert!(matches!(error, ExtractError::Form(_) | ExtractError::Digest { .. }), "{name:?}: {error}");
            bags += 1;
        }
    }
    assert_eq!(bags, 5);
}

/// The five bags of the suite are no bundles to begin with. Their faults, made in a bag of ours, are refused for themselves.
#[test]
fn each_fault_of_the_bagit_suite_is_refused_in_a_bundle_of_ours() {
    let Some(tar) = needs::tool("tar") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let faults: [Fault; 8] = [
        ("none", |_| (), ""),
        (
            "whitespace in the declaration",
            |top| edit(top, "bagit.txt", |text| text.replace("1.0\n", "1.0 \n")),
            "bagit.txt",
        ),
        (
            "a file listed twice",
            |top| edit(top, "manifest-sha256.txt", |text| format!("{text}{text}")),
            "names a file twice",
        ),
        (
            "a file listed twice, unlike",
            |top| {
                edit(top, "manifest-sha256.txt", |text| format!("{text}{}  data/a.txt\n", "0".repeat(64)));
            },
            "names a file twice",
        ),
        (
            "a file that no manifest lists",
            |top| {
                edit(top, "manifest-sha256.txt", |text| text.split_inclusive('\n').skip(1).collect());
            },
            "data/a.txt is not the file",
        ),
        (
            "a file that is missing",
            |top| {
                edit(top, "manifest-sha256.txt", |text| format!("{text}{}  data/c.txt\n", "0".repeat(64)));
            },
            "data/c.txt, which is not there",
        ),
        (
            "a count that is wrong",
            |top| edit(top, "bag-info.txt", |text| text.replace("Oxum: 3.2", "Oxum: 4.2")),
            "counts otherwise",
        ),
        (
            "line ends of Windows",
            |top| edit(top, "manifest-sha256.txt", |text| text.replace('\n', "\r\n")),
            "data/a.txt is not the file",
        ),
    ];
    for (number, (fault, make, words)) in faults.into_iter().enumerate() {
        let place = folder.path().join(number.to_string());
        std::fs::create_dir(&place).expect("a folder");
        let packed = Packed::make(&place, &[("a.txt", b"a"), ("b.txt", b"bb")]);
        make(&place.join(packed.bundle.as_str()));
        let archive = packed.pack(&tar, &["--format=ustar"]).expect("packed");
        let file = std::fs::File::open(&archive).expect("packed");
        match open_bag(file, &place.join("out"), Extent::Documents, LIMITS, |_| Ok(())) {
            Ok(_) => assert!(words.is_empty(), "{fault} was accepted"),
            Err(error) => assert!(!words.is_empty() && error.to_string().contains(words), "{fault}: {error}"),
        }
    }
}

/// What is wrong, how it is made, and words of the refusal.
type Fault = (&'static str, fn(&Path), &'static str);

/// Changes one tag file, and the tag manifest so that it agrees.
fn edit(top: &Path, name: &str, change: fn(String) -> String) {
    let read = |name: &str| std::fs::read_to_string(top.join(name)).expect("a tag file");
    let write = |name: &str, text: &str| {
        std::fs::File::create(top.join(name))
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .expect("written");
    };
    let digest = |text: &str| medseal::id::Digest::of(text.as_bytes()).to_string();
    let old = read(name);
    let new = change(old.clone());
    assert_ne!(old, new, "{name} did not change");
    write(name, &new);
    write("tagmanifest-sha256.txt", &read("tagmanifest-sha256.txt").replace(&digest(&old), &digest(&new)));
}

/// A size beyond eleven octal digits, as stock tar lists it.
#[test]
fn a_file_of_nine_gigabytes_has_its_size_in_an_extension_that_tar_and_medseal_read() {
    let Some(tar) = needs::tool("tar") else { return };
    let bytes = 9_000_000_000_u64;
    let mut archive = Vec::new();
    // The header is enough: nobody needs nine gigabytes to see whether it is understood.
    medseal::bundle::tar_write::TarWriter::new(&mut archive).file("bundle/data/scan.dcm", bytes).expect("a header");
    let limits = TarLimits { entries_max: 10, bytes_max: 1 << 40 };
    let mut entries = medseal::bundle::tar_read::Entries::new(&archive[..], limits);
    let mut entry = entries.next_file().expect("a header").expect("a file");
    assert_eq!((entry.path.as_str(), entry.bytes), ("bundle/data/scan.dcm", bytes));
    assert!(entry.read(&mut [0; 1]).is_err(), "the content is missing");
    drop(entries);
    let small = TarLimits { entries_max: 10, bytes_max: bytes - 1 };
    let refused = medseal::bundle::tar_read::Entries::new(&archive[..], small).next_file().map(|_| ());
    assert!(matches!(refused, Err(TarError::Limit { what: "bytes", .. })), "{refused:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("big.tar");
    std::fs::File::create_new(&file)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &archive))
        .expect("written");
    let listed = Command::new(tar).arg("-tvf").arg(&file).output().expect("tar runs");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("9000000000"), "{listed:?}");
}

/// An age key made by `age-keygen`.
struct Key {
    file: PathBuf,
    recipient: String,
    identities: Identities,
}

impl Key {
    fn make(keygen: &Path, folder: &Path) -> Self {
        let file = folder.join("key.txt");
        run(Command::new(keygen).arg("-o").arg(&file));
        let text = std::fs::read_to_string(&file).expect("a key");
        let recipient = text.split_once("# public key: ").and_then(|(_, rest)| rest.lines().next()).expect("a key");
        let identities = Identities::parse(&text).expect("our reader takes it");
        Self { recipient: recipient.to_owned(), identities, file }
    }
}

/// A bag unpacked on the disk, to be packed again by stock tar.
struct Packed {
    folder: PathBuf,
    bundle: BundleId,
    names: Vec<String>,
}

impl Packed {
    fn make(folder: &Path, files: &[(&str, &[u8])]) -> Self {
        let bundle = BundleId::random();
        let archive = bag(&bundle, files);
        open_bag(&archive[..], &folder.join(bundle.as_str()), Extent::WholeBag, LIMITS, |_| Ok(())).expect("opens");
        let tags = ["medseal.json", "index.html", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt"];
        let names = std::iter::once("bagit.txt".to_owned())
            .chain(files.iter().map(|(path, _)| format!("data/{path}")))
            .chain(tags.map(str::to_owned))
            .map(|name| format!("{bundle}/{name}"))
            .collect();
        Self { folder: folder.to_owned(), bundle, names }
    }

    /// `None` when tar says that the form cannot hold it.
    fn pack(&self, tar: &Path, options: &[&str]) -> Option<PathBuf> {
        let archive = self.folder.join("packed.tar");
        let done = Command::new(tar)
            .args(options)
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(&self.folder)
            .arg("--")
            .args(&self.names)
            .output()
            .expect("tar runs");
        done.status.success().then_some(archive)
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
