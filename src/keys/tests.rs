//! Tests of the key folder as a whole.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use super::*;

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn made() -> (tempfile::TempDir, PathBuf, Keys) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("keys");
    let keys = Keys::create(&dir, &"st-mary".parse().unwrap(), "127.0.0.1", now()).unwrap();
    (home, dir, keys)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

const PRIVATE: [&str; 7] = [CA_KEY, TLS_KEY, AGE_KEY, SIGN_KEY, LOG_KEY, WITNESS_KEY, SUBJECTS_KEY];

#[test]
fn a_new_folder_opens_again_with_the_same_keys() {
    let (_home, dir, made) = made();
    let opened = Keys::open(&dir).unwrap();
    assert_eq!(opened.id().as_str(), "st-mary");
    assert_eq!(opened.signer().public(), made.signer().public());
    assert_eq!(opened.log_signer().public(), made.log_signer().public());
    assert_eq!(opened.age_recipients(), made.age_recipients());
    assert_eq!(opened.subjects_key().mac("a", b"b"), made.subjects_key().mac("a", b"b"));
    assert_eq!(opened.tls_chain(), made.tls_chain());
}

#[test]
fn every_private_file_is_its_owners_alone() {
    let (_home, dir, _keys) = made();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o700);
    for entry in fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let allowed = if PRIVATE.contains(&name.as_str()) { 0o600 } else { 0o644 };
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o7777, allowed, "{name}");
    }
}

#[test]
fn a_mode_that_lets_others_in_is_refused_for_every_private_file() {
    let (_home, dir, _keys) = made();
    for name in PRIVATE {
        for mode in [0o640, 0o604, 0o660, 0o610, 0o700, 0o4600] {
            chmod(&dir.join(name), mode);
            let refused = Keys::open(&dir).unwrap_err();
            assert!(matches!(refused, KeysError::Mode { found, .. } if found == mode), "{name} {mode:o}: {refused}");
        }
        chmod(&dir.join(name), 0o400);
        Keys::open(&dir).unwrap();
    }
}

#[test]
fn a_public_file_that_others_may_write_is_refused() {
    let (_home, dir, _keys) = made();
    for name in [CA_CERTIFICATE, TLS_CERTIFICATE, AGE_RECIPIENTS] {
        chmod(&dir.join(name), 0o664);
        assert!(matches!(Keys::open(&dir), Err(KeysError::Mode { found: 0o664, .. })), "{name}");
        chmod(&dir.join(name), 0o644);
    }
}

#[test]
fn a_folder_that_others_may_enter_is_refused() {
    let (_home, dir, _keys) = made();
    for mode in [0o750, 0o701, 0o755] {
        chmod(&dir, mode);
        let refused = Keys::open(&dir).unwrap_err();
        assert!(matches!(refused, KeysError::Mode { allowed: 0o700, .. }), "{mode:o}: {refused}");
        assert!(refused.hint().unwrap().starts_with("chmod 700 "));
    }
}

#[test]
fn links_pipes_and_folders_are_refused() {
    let (home, dir, _keys) = made();
    for name in PRIVATE {
        let (path, aside) = (dir.join(name), home.path().join("aside"));
        fs::copy(&path, &aside).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&aside, &path).unwrap();
        assert!(matches!(Keys::open(&dir), Err(KeysError::Link { .. })), "{name} as a link");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(Keys::open(&dir), Err(KeysError::NotAFile { .. })), "{name} as a folder");
        fs::remove_dir(&path).unwrap();
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rustix::fs::Mode::RUSR, 0).unwrap();
        assert!(matches!(Keys::open(&dir), Err(KeysError::NotAFile { .. })), "{name} as a pipe");
        fs::remove_file(&path).unwrap();
        fs::copy(&aside, &path).unwrap();
        Keys::open(&dir).unwrap();
    }
    let link = home.path().join("link");
    symlink(&dir, &link).unwrap();
    assert!(matches!(Keys::open(&link), Err(KeysError::Link { .. })));
}

#[test]
fn a_file_of_another_account_is_refused() {
    let (_home, dir, _keys) = made();
    let path = dir.join(SIGN_KEY);
    // Only root may give a file away; elsewhere there is nothing to ask.
    if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
        assert!(matches!(Keys::open(&dir), Err(KeysError::Owner { found: 65_534, .. })));
    }
}

#[test]
fn an_existing_folder_is_never_written() {
    let (_home, dir, keys) = made();
    let again = Keys::create(&dir, &"st-mary".parse().unwrap(), "127.0.0.1", now());
    assert!(matches!(again, Err(KeysError::Exists { .. })));
    assert_eq!(Keys::open(&dir).unwrap().signer().public(), keys.signer().public());
}

#[test]
fn the_age_identity_and_the_authoritys_key_may_be_away_and_nothing_else() {
    let (_home, dir, mut keys) = made();
    fs::remove_file(dir.join(AGE_KEY)).unwrap();
    fs::remove_file(dir.join(CA_KEY)).unwrap();
    let opened = Keys::open(&dir).unwrap();
    assert_eq!(opened.age_recipients(), keys.age_recipients());
    assert!(opened.age_identity().unwrap().is_none());
    assert!(matches!(keys.renew_tls("127.0.0.1", now()), Err(KeysError::Missing { .. })));
    let away: Vec<_> = opened.inventory(now()).unwrap().into_iter().filter(|held| !held.present).collect();
    assert_eq!(away.iter().map(|held| held.kind).collect::<Vec<_>>(), ["authority", "age"]);
    for name in [CA_CERTIFICATE, TLS_KEY, TLS_CERTIFICATE, AGE_RECIPIENTS, SIGN_KEY, LOG_KEY, SUBJECTS_KEY] {
        let bytes = fs::read(dir.join(name)).unwrap();
        fs::remove_file(dir.join(name)).unwrap();
        assert!(matches!(Keys::open(&dir), Err(KeysError::Missing { .. })), "{name}");
        crate::durable::write_new(&dir.join(name), &bytes, 0o600).unwrap();
    }
}

#[test]
fn parts_of_another_folder_do_not_fit() {
    let (_home, dir, _keys) = made();
    let (_other_home, other, _other_keys) = made();
    for name in [CA_KEY, CA_CERTIFICATE, TLS_KEY, TLS_CERTIFICATE, AGE_KEY, AGE_RECIPIENTS] {
        let bytes = fs::read(dir.join(name)).unwrap();
        crate::durable::replace(&dir.join(name), &fs::read(other.join(name)).unwrap(), 0o600).unwrap();
        let refused = Keys::open(&dir).unwrap_err();
        assert!(matches!(refused, KeysError::Mismatch { .. }), "{name}: {refused}");
        crate::durable::replace(&dir.join(name), &bytes, 0o600).unwrap();
    }
    Keys::open(&dir).unwrap();
}

#[test]
fn a_file_of_nonsense_is_named_and_not_shown() {
    let (_home, dir, _keys) = made();
    for name in PRIVATE {
        let bytes = fs::read(dir.join(name)).unwrap();
        crate::durable::replace(&dir.join(name), b"hunter2", 0o600).unwrap();
        let refused = Keys::open(&dir).unwrap_err();
        let shown = format!("{refused} {refused:?}");
        assert!(shown.contains(name) && !shown.contains("hunter2"), "{shown}");
        crate::durable::replace(&dir.join(name), &bytes, 0o600).unwrap();
    }
}

#[test]
fn a_renewed_leaf_keeps_the_authority_and_changes_the_key() {
    let (_home, dir, mut keys) = made();
    let (before, authority) = (keys.tls_chain().to_vec(), keys.ca_certificate().clone());
    let old_key = keys.tls_private_key().secret_der().to_vec();
    let later = "2027-11-01T00:00:00Z".parse().unwrap();
    keys.renew_tls("gateway.st-mary.example", later).unwrap();
    assert_ne!(keys.tls_chain(), before);
    assert_eq!(*keys.ca_certificate(), authority);
    let opened = Keys::open(&dir).unwrap();
    assert_eq!(opened.tls_chain(), keys.tls_chain());
    assert_ne!(opened.tls_private_key().secret_der(), old_key);
    let tls = opened.inventory(later).unwrap().into_iter().find(|held| held.kind == "tls").unwrap();
    assert_eq!(tls.days_left, Some(397));
    assert_eq!(fs::read_to_string(dir.join(TLS_KEY)).unwrap().matches("BEGIN PRIVATE KEY").count(), 1);
}

#[test]
fn a_renewal_cut_short_leaves_a_leaf_that_works() {
    let (_home, dir, mut keys) = made();
    let (old_key, old_leaf) = (fs::read(dir.join(TLS_KEY)).unwrap(), fs::read(dir.join(TLS_CERTIFICATE)).unwrap());
    keys.renew_tls("127.0.0.1", now()).unwrap();
    let (new_key, new_leaf) = (fs::read(dir.join(TLS_KEY)).unwrap(), fs::read(dir.join(TLS_CERTIFICATE)).unwrap());
    let both = [new_key.clone(), old_key.clone()].concat();
    for (key, leaf) in [(&old_key, &old_leaf), (&both, &old_leaf), (&both, &new_leaf), (&new_key, &new_leaf)] {
        crate::durable::replace(&dir.join(TLS_KEY), key, 0o600).unwrap();
        crate::durable::replace(&dir.join(TLS_CERTIFICATE), leaf, 0o644).unwrap();
        Keys::open(&dir).unwrap();
    }
    crate::durable::replace(&dir.join(TLS_KEY), &old_key, 0o600).unwrap();
    assert!(matches!(Keys::open(&dir), Err(KeysError::Mismatch { .. })));
}

#[test]
fn a_host_that_no_certificate_can_hold_is_refused_before_anything_is_written() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("keys");
    for host in ["", "a b", "ends.with.port:8443", "https://host"] {
        let refused = Keys::create(&dir, &"st-mary".parse().unwrap(), host, now());
        assert!(matches!(refused, Err(KeysError::Host { .. })), "{host:?}");
        assert!(!dir.exists());
    }
    for (name, host) in [("a", "::1"), ("b", "[2001:db8::1]"), ("c", "localhost"), ("d", "gw.hospital.example")] {
        Keys::create(&home.path().join(name), &"st-mary".parse().unwrap(), host, now()).unwrap();
    }
}

#[test]
fn debug_shows_nothing_of_a_private_file() {
    let (_home, dir, keys) = made();
    let inventory = keys.inventory(now()).unwrap();
    let shown = format!(
        "{keys:?} {:?} {:?} {:?} {inventory:?} {:?}",
        keys.signer(),
        keys.log_signer(),
        keys.subjects_key(),
        keys.tls_private_key(),
    );
    for name in PRIVATE {
        let text = fs::read_to_string(dir.join(name)).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("-----")) {
            let is_public_part = name == SIGN_KEY;
            // The OpenSSH form holds the public half too; signature.rs looks for the seed of a `Signer`.
            assert!(is_public_part || !shown.contains(&line[..line.len().min(16)]), "{name}");
        }
    }
    // PKCS#8 of P-256 holds the secret number at 36..68; bytes would be shown in decimal or in hexadecimal.
    let secret = keys.tls_private_key().secret_der()[36..68].to_vec();
    assert_eq!(keys.tls_key[31..36], [2, 1, 1, 4, 32]);
    for window in secret.windows(4) {
        let [a, b, c, d] = window.try_into().unwrap();
        for form in [format!("{a:02x}{b:02x}{c:02x}{d:02x}"), format!("{a}, {b}, {c}, {d}")] {
            assert!(!shown.contains(&form), "a TLS key's bytes are shown");
        }
    }
}

#[test]
fn a_leaf_and_its_key_of_another_authority_do_not_fit() {
    let (_home, dir, _keys) = made();
    let (_other_home, other, _other_keys) = made();
    for name in [TLS_KEY, TLS_CERTIFICATE] {
        crate::durable::replace(&dir.join(name), &fs::read(other.join(name)).unwrap(), 0o600).unwrap();
    }
    let refused = Keys::open(&dir).unwrap_err();
    assert!(matches!(refused, KeysError::Mismatch { with: CA_CERTIFICATE, .. }), "{refused}");
}

#[test]
fn a_folder_from_before_there_were_witnesses_gets_the_key_and_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("keys");
    let made = Keys::create(&dir, &"st-mary".parse().unwrap(), "localhost", now()).unwrap();
    assert!(made.witness_signer().is_some_and(|witness| witness.public() != made.log_signer().public()));
    fs::remove_file(dir.join(WITNESS_KEY)).unwrap();
    let mut old = Keys::open(&dir).unwrap();
    assert!(old.witness_signer().is_none());
    assert!(old.add_missing().unwrap() && !old.add_missing().unwrap());
    let again = Keys::open(&dir).unwrap();
    assert_eq!(again.witness_signer().unwrap().public(), old.witness_signer().unwrap().public());

    fs::remove_file(dir.join(WITNESS_KEY)).unwrap();
    fs::copy(dir.join(LOG_KEY), dir.join(WITNESS_KEY)).unwrap();
    assert!(Keys::open(&dir).is_err(), "one key in both roles");
}
