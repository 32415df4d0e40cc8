//! Is a bag refused whose files stand where they do not belong, or whose descriptor says something else than it holds?
//!
//! Every archive here is a good tar with right digests; only the bag is wrong.

#![allow(clippy::needless_range_loop, clippy::type_complexity, reason = "a table of broken bags, edited by place")]

use std::io::{Read as _, Write as _};

use medseal::bundle::descriptor::Descriptor;
use medseal::bundle::extract::{ExtractError, check_bag};
use medseal::bundle::tar_read::{Entries, TarLimits};
use medseal::bundle::tar_write::TarWriter;
use medseal::id::{BundleId, Digest};

use crate::bundle_bag::{bag, bag_saying};

const LIMITS: TarLimits = TarLimits { entries_max: 100, bytes_max: 1 << 20 };
const TOP: &str = "bundle-0123456789abcdef";
const FILES: [(&str, &[u8]); 3] = [("a.txt", b"one"), ("b.txt", b"two"), ("c/d.txt", b"three")];

#[test]
fn a_descriptor_that_lies_is_refused() {
    type Lie = (&'static str, fn(&mut Descriptor));
    let lies: [Lie; 10] = [
        ("another format", |said| said.format = "medseal-bundle@v2".to_owned()),
        ("another bundle", |said| said.bundle = BundleId::random()),
        ("a document less", |said| drop(said.documents.pop())),
        ("a document more", |said| said.documents.push(said.documents[0].clone())),
        ("a document twice, another not", |said| said.documents[1] = said.documents[0].clone()),
        ("another path", |said| said.documents[0].path = "z.txt".parse().expect("a path")),
        ("two paths exchanged", |said| {
            let path = said.documents[0].path.clone();
            said.documents[0].path = std::mem::replace(&mut said.documents[1].path, path);
        }),
        ("another size", |said| said.documents[0].bytes += 1),
        ("another digest", |said| said.documents[0].sha256 = Digest::of(b"another")),
        ("no documents at all", |said| said.documents.clear()),
    ];
    check_bag(&bag(&top(), &FILES)[..], LIMITS).expect("the truth is accepted");
    for (what, lie) in lies {
        let error = check_bag(&bag_saying(&top(), &FILES, lie)[..], LIMITS).expect_err(what);
        assert!(matches!(error, ExtractError::Descriptor(_)), "{what}: {error}");
        assert_eq!(error.reason().code(), "NOT_NORMAL_FORM", "{what}");
    }
}

#[test]
fn files_that_stand_elsewhere_than_they_should_are_refused() {
    let good = unpacked(&bag(&top(), &FILES));
    let names: Vec<&str> = good.iter().map(|(path, _)| path.split_once('/').expect("a top folder").1).collect();
    assert_eq!(names[..5], ["bagit.txt", "data/a.txt", "data/b.txt", "data/c/d.txt", "medseal.json"]);
    assert_eq!(names.len(), 9);
    check_bag(&packed(&good)[..], LIMITS).expect("packed again, it is the same bag");
    let mut wrong: Vec<(String, Vec<(String, Vec<u8>)>)> = Vec::new();
    for at in 0..good.len() - 1 {
        let mut files = good.clone();
        files.swap(at, at + 1);
        wrong.push((format!("{} before {}", names[at + 1], names[at]), files));
    }
    for at in 0..good.len() {
        let mut files = good.clone();
        files.remove(at);
        wrong.push((format!("no {}", names[at]), files));
    }
    for name in
        ["extra.txt", "fetch.txt", "manifest-md5.txt", "datax/e.txt", "data/zzz.txt", "data/e/manifest-sha256.txt"]
    {
        for at in 0..=good.len() {
            let mut files = good.clone();
            files.insert(at, (format!("{TOP}/{name}"), b"more".to_vec()));
            wrong.push((format!("{name} as file {at}"), files));
        }
    }
    for (what, change) in [("another top folder", "bundle-zzzzzzzzzzzzzzzz/"), ("no top folder", ""), ("two", "x/y/")] {
        let mut files = good.clone();
        files[2].0 = files[2].0.replace(&format!("{TOP}/"), change);
        wrong.push((what.to_owned(), files));
    }
    let renamed = good.iter().map(|(path, content)| (path.replace(TOP, "records"), content.clone())).collect();
    wrong.push(("a top folder that is no bundle id".to_owned(), renamed));
    for (what, files) in wrong {
        let error = check_bag(&packed(&files)[..], LIMITS).expect_err(&what);
        assert!(matches!(error, ExtractError::Form(_) | ExtractError::Digest { .. }), "{what}: {error}");
    }
}

#[test]
fn a_document_of_another_bag_is_no_document_of_this_one() {
    let mut files = unpacked(&bag(&top(), &FILES));
    files[1].1 = b"eno".to_vec();
    let error = check_bag(&packed(&files)[..], LIMITS).expect_err("refused");
    assert!(matches!(&error, ExtractError::Digest { path } if path == "data/a.txt"), "{error}");
    assert_eq!(error.reason().code(), "TAMPERED");
}

fn top() -> BundleId {
    TOP.parse().expect("an id")
}

fn unpacked(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut entries = Entries::new(archive, LIMITS);
    let mut files = Vec::new();
    while let Some(mut entry) = entries.next_file().expect("a good archive") {
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("content");
        files.push((entry.path.to_string(), content));
    }
    files
}

fn packed(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (path, content) in files {
        let mut file = tar.file(path, content.len() as u64).expect("a file");
        file.write_all(content).expect("written");
        file.finish().expect("as long as announced");
    }
    tar.finish().expect("an archive")
}
