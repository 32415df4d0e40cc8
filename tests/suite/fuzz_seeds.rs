//! Do the seeds of the fuzz targets still lead where they should, and does what the targets share still compile?

use std::fs;
use std::path::{Path, PathBuf};

use medseal::audit::note::{Checkpoint, LogKey};
use medseal::audit::stamp;
use medseal::audit::tlog_proof::EntryProof;
use medseal::audit::trust::TrustPolicy;
use medseal::consent::{Consent, Notice};
use medseal::id::Purpose;
use medseal::json;
use medseal::leaf::Leaf;
use medseal::signature::NoteSigner;

#[path = "../../fuzz/fuzz_targets/asked/mod.rs"]
mod asked;

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let files = fs::read_dir(folder).expect("seeds").map(|entry| entry.expect("an entry").path());
    files.map(|path| (path.clone(), fs::read(path).expect("a seed"))).collect()
}

#[test]
fn the_seeds_of_consents_are_read_and_a_denial_overrides_those_that_permit() {
    let treat: Purpose = "TREAT".parse().expect("a purpose");
    let mut permitting = 0;
    for (path, bytes) in seeds("consent") {
        let patient =
            Consent::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display())).patient().clone();
        let alone = asked::granted(vec![Consent::parse(&bytes)], &patient, &treat, None);
        permitting += usize::from(alone.is_some());
        let denied = vec![Consent::parse(&bytes), Consent::parse(asked::dissent(&patient).as_bytes())];
        assert!(asked::granted(denied, &patient, &treat, None).is_none(), "{}", path.display());
        let same = asked::consent(&patient, &serde_json::json!({"code": "TREAT"}), &serde_json::json!([]));
        assert!(asked::granted(vec![Consent::parse(same.as_bytes())], &patient, &treat, None).is_none());
    }
    assert!(permitting >= 2, "a target that never sees a yes finds nothing: {permitting}");
}

#[test]
fn the_other_seeds_are_what_their_targets_take() {
    let notices = seeds("abdm").iter().filter(|(_, bytes)| matches!(Notice::read(bytes), Ok(Some(_)))).count();
    assert_eq!(notices, 1);
    let strict = seeds("json").iter().filter(|(_, bytes)| json::check(bytes, 1000).is_ok()).count();
    assert_eq!(strict, 1);
    assert!(seeds("leaf").iter().all(|(_, bytes)| Leaf::read(bytes).is_ok()));
    let signer = NoteSigner::from_seed(&[7; 32]);
    let key = LogKey::new("st-mary.example/audit".parse().expect("a name"), signer.public());
    for (path, bytes) in seeds("evidence") {
        let text = || std::str::from_utf8(&bytes).expect("text");
        let taken = match path.file_name().and_then(|name| name.to_str()).expect("a name") {
            "key" => text().parse() == Ok(key.clone()),
            "note" => Checkpoint::open(&bytes, std::slice::from_ref(&key)).is_ok(),
            "policy" => text().parse::<TrustPolicy>().is_ok(),
            "proof" => EntryProof::parse(&bytes).is_ok(),
            "stamp" => stamp::read(&bytes).is_ok(),
            other => panic!("what is {other}?"),
        };
        assert!(taken, "{}", path.display());
    }
    for (path, bytes) in seeds("terminology") {
        let lines = String::from_utf8(bytes).expect("text").split('\n').count();
        assert_eq!(lines, 4, "{}", path.display());
    }
}
