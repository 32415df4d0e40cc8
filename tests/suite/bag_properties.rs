//! Do random trees round-trip, and does no damage and no nonsense get through?

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;

use medseal::bundle::extract::{Extent, ExtractError, OpenedBag, open_bag};
use medseal::bundle::path::{BundlePath, PathSet};
use medseal::bundle::tar_read::{Entries, TarLimits};
use medseal::bundle::tar_write::TarWriter;
use medseal::id::BundleId;
use medseal::seal::{self, Identities};
use proptest::prelude::*;

use crate::bundle_bag::bag;

const LIMITS: TarLimits = TarLimits { entries_max: 200, bytes_max: 1 << 24 };
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

/// Names from letters, spaces, dots and other scripts; long enough to need the prefix and the extension now and then.
fn trees() -> impl Strategy<Value = BTreeMap<BundlePath, Vec<u8>>> {
    let part = prop_oneof![4 => "[a-cA-C0 ._äß病-]{1,6}", 1 => "[a-z]{60,120}"];
    let path = proptest::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"));
    let content = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..1200),
        1 => (any::<u8>(), 0_usize..200_000).prop_map(|(byte, length)| vec![byte; length]),
    ];
    proptest::collection::vec((path, content), 0..12).prop_map(|files| {
        let mut paths = PathSet::default();
        files
            .into_iter()
            .filter_map(|(path, content)| Some((path.parse::<BundlePath>().ok()?, content)))
            .filter(|(path, _)| paths.add(path).is_ok())
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_as_it_went_in(tree in trees()) {
        let files: Vec<(&str, &[u8])> = tree.iter().map(|(path, content)| (path.as_str(), &content[..])).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("out");
        let opened = open(&sealed(&bag(&BundleId::random(), &files)), &out).expect("opens");
        prop_assert_eq!(opened.descriptor.documents.len(), tree.len());
        for (path, content) in &tree {
            prop_assert_eq!(&std::fs::read(out.join(path.as_str())).expect("the document"), content, "{}", path);
        }
        prop_assert_eq!(folder.path().read_dir().expect("a folder").count(), 1, "only the documents");
    }

    #[test]
    fn a_sealed_bundle_with_any_damage_is_refused_and_leaves_nothing(
        at in any::<prop::sample::Index>(), flip in 1_u8.., cut in any::<bool>(),
    ) {
        let mut file = sealed(&bag(&BundleId::random(), &[("a.txt", b"content"), ("b.bin", &vec![7; 150_000])]));
        let at = at.index(file.len());
        if cut { file.truncate(at) } else { file[at] ^= flip }
        let folder = tempfile::tempdir().expect("a folder");
        prop_assert!(open(&file, &folder.path().join("out")).is_err());
        prop_assert_eq!(folder.path().read_dir().expect("a folder").count(), 0, "something was left behind");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_of_archives_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        prop_assert!(read(&bytes).is_err());
    }

    /// Headers with a right checksum and random fields get past the first check.
    #[test]
    fn no_header_makes_the_reader_of_archives_panic_or_give_more_than_there_is(
        fields in proptest::collection::vec((0_usize..500, prop_oneof![Just(0_u8), Just(b'0'), Just(b'x'), any::<u8>()]), 0..6),
        kind in prop::sample::select(b"0x5g12L7\0".to_vec()),
        size in 0_usize..1600,
        record in "[0-9]{0,3} ?(path|size|mtime)?=?[a-z0-9./]{0,12}\n?",
        content in proptest::collection::vec(any::<u8>(), 0..2048),
    ) {
        let mut block = [0_u8; 512];
        block[..6].copy_from_slice(b"a/data");
        block[100..108].copy_from_slice(b"0000644\0");
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        for (at, value) in fields {
            block[at] = value;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let archive = [&block[..], record.as_bytes(), &content].concat();
        let given = read(&archive).unwrap_or_else(|given| given);
        prop_assert!(given <= archive.len());
    }

    #[test]
    fn what_the_writer_writes_the_reader_reads(tree in trees()) {
        let mut writer = TarWriter::new(Vec::new());
        for (path, content) in &tree {
            let mut file = writer.file(path.as_str(), content.len() as u64).expect("begun");
            file.write_all(content).and_then(|()| file.finish()).expect("written");
        }
        let archive = writer.finish().expect("ended");
        prop_assert_eq!(archive.len() % 512, 0);
        let mut entries = Entries::new(&archive[..], LIMITS);
        for (path, content) in &tree {
            let mut entry = entries.next_file().expect("reads").expect("a file");
            prop_assert_eq!(&entry.path, path);
            let mut found = Vec::new();
            // Every other file is passed over unread.
            if content.len() % 2 == 0 {
                entry.read_to_end(&mut found).expect("reads");
                prop_assert_eq!(&found, content);
            }
        }
        prop_assert!(tree.is_empty() || entries.next_file().expect("reads").is_none());
    }
}

/// How much content an archive gave, and whether it was accepted.
fn read(archive: &[u8]) -> Result<usize, usize> {
    let mut entries = Entries::new(archive, LIMITS);
    let mut given = 0;
    loop {
        match entries.next_file() {
            Ok(Some(mut entry)) => {
                let mut content = Vec::new();
                let read = entry.read_to_end(&mut content);
                given += content.len();
                if read.is_err() {
                    return Err(given);
                }
            }
            Ok(None) => return Ok(given),
            Err(_) => return Err(given),
        }
    }
}

fn sealed(archive: &[u8]) -> Vec<u8> {
    let identity: age::x25519::Identity = IDENTITY.parse().expect("an identity");
    let mut writer = seal::seal(&[identity.to_public().to_string()], Vec::new()).expect("a recipient");
    writer.write_all(archive).expect("sealed");
    writer.finish().expect("sealed").0
}

fn open(sealed: &[u8], out: &Path) -> Result<OpenedBag, String> {
    let identities = Identities::parse(IDENTITY).expect("an identity");
    let reader = seal::open(sealed, &identities).map_err(|error| error.to_string())?;
    open_bag(reader, out, Extent::Documents, LIMITS, |_| Ok(())).map_err(|error: ExtractError| error.to_string())
}
