//! Stock tools read what medseal writes, and medseal reads what they write: ssh-keygen, age, openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use medseal::audit::note::LogKey;
use medseal::clock::Timestamp;
use medseal::keys::Keys;
use medseal::partner::{LogVkey, log_name};
use medseal::signature::{Namespace, VerifyingKey, allowed_signers_line};

use crate::needs;

struct Home {
    _folder: tempfile::TempDir,
    root: PathBuf,
    keys: Keys,
}

impl Home {
    fn new(host: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().to_owned();
        let id = "st-mary".parse().expect("an id");
        let keys = Keys::create(&root.join("keys"), &id, host, now()).expect("keys");
        Self { _folder: folder, root, keys }
    }

    fn key(&self, name: &str) -> PathBuf {
        self.root.join("keys").join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root.join(name);
        medseal::durable::replace(&path, bytes, 0o600).expect("written");
        path
    }
}

/// ssh-keygen and openssl judge by the system's clock.
fn now() -> Timestamp {
    medseal::clock::Clock::system().now()
}

fn ran(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the tool runs")
}

fn verify_with_ssh_keygen(program: &Path, allowed: &Path, namespace: &str, signature: &Path, message: &Path) -> bool {
    let message = fs::File::open(message).expect("the message");
    let mut command = Command::new(program);
    command.args(["-Y", "verify", "-I", "st-mary", "-n", namespace, "-f"]).arg(allowed).arg("-s").arg(signature);
    command.stdin(message).output().expect("ssh-keygen runs").status.success()
}

#[test]
fn ssh_keygen_accepts_our_signatures_for_their_namespace_only() {
    let Some(ssh_keygen) = needs::tool("ssh-keygen") else { return };
    let home = Home::new("127.0.0.1");
    let message = b"{\"state\":\"stored\"}";
    let armoured = home.keys.signer().sign(Namespace::Receipt, message);
    let (receipt, signature) = (home.file("receipt.json", message), home.file("receipt.json.sig", armoured.as_bytes()));
    let allowed = home.key("allowed_signers");
    assert!(verify_with_ssh_keygen(&ssh_keygen, &allowed, "medseal-receipt@v1", &signature, &receipt));
    assert!(!verify_with_ssh_keygen(&ssh_keygen, &allowed, "medseal-dispatch@v1", &signature, &receipt));
    let forged = home.file("forged.json", b"{\"state\":\"lost\"}");
    assert!(!verify_with_ssh_keygen(&ssh_keygen, &allowed, "medseal-receipt@v1", &signature, &forged));
    let other = Home::new("127.0.0.1");
    assert!(!verify_with_ssh_keygen(
        &ssh_keygen,
        &other.key("allowed_signers"),
        "medseal-receipt@v1",
        &signature,
        &receipt
    ));
}

#[test]
fn ssh_keygen_keeps_to_the_dates_of_a_key() {
    let Some(ssh_keygen) = needs::tool("ssh-keygen") else { return };
    let home = Home::new("127.0.0.1");
    let armoured = home.keys.signer().sign(Namespace::Opinion, b"opinion");
    let (message, signature) = (home.file("opinion", b"opinion"), home.file("opinion.sig", armoured.as_bytes()));
    let day = |days: i64| Timestamp::from_second(now().as_second() + days * 86_400).expect("a time");
    for (from, until, counts) in [(-1, 1, true), (1, 2, false), (-2, -1, false)] {
        let dates = Some((day(from), day(until)));
        let line = allowed_signers_line(home.keys.id(), &home.keys.signer().public(), dates);
        let allowed = home.file("allowed", line.as_bytes());
        let verified = verify_with_ssh_keygen(&ssh_keygen, &allowed, "medseal-opinion@v1", &signature, &message);
        assert_eq!(verified, counts, "{line}");
    }
}

#[test]
fn a_signature_made_by_ssh_keygen_verifies_here() {
    let Some(ssh_keygen) = needs::tool("ssh-keygen") else { return };
    let home = Home::new("127.0.0.1");
    let message = home.file("receipt.json", b"{\"state\":\"stored\"}");
    // Once with the key that medseal made, once with one that ssh-keygen made.
    let own = home.root.join("own");
    let made = ran(Command::new(&ssh_keygen).args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&own));
    assert!(made.status.success(), "{made:?}");
    for key in [home.key("sign.key"), own] {
        let mut sign = Command::new(&ssh_keygen);
        sign.args(["-q", "-Y", "sign", "-n", "medseal-receipt@v1", "-f"]).arg(&key).arg(&message);
        let signed = ran(&mut sign);
        assert!(signed.status.success(), "{signed:?}");
        let signature = home.root.join("receipt.json.sig");
        let armoured = fs::read_to_string(&signature).expect("the signature");
        fs::remove_file(&signature).expect("removed");
        let listed = ran(Command::new(&ssh_keygen).arg("-y").arg("-f").arg(&key));
        let line = String::from_utf8(listed.stdout).expect("text");
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        let public: VerifyingKey = words.join(" ").parse().expect("a key line");
        let bytes = fs::read(&message).expect("the message");
        assert_eq!(public.verify(Namespace::Receipt, &bytes, &armoured), Ok(()));
        assert!(public.verify(Namespace::Dispatch, &bytes, &armoured).is_err());
        assert!(public.verify(Namespace::Receipt, b"{\"state\":\"lost\"}", &armoured).is_err());
    }
}

#[test]
fn the_signing_key_of_ssh_keygen_opens_here() {
    let Some(ssh_keygen) = needs::tool("ssh-keygen") else { return };
    let home = Home::new("127.0.0.1");
    let own = home.root.join("own");
    let made = ran(Command::new(&ssh_keygen).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&own));
    assert!(made.status.success(), "{made:?}");
    medseal::durable::replace(&home.key("sign.key"), &fs::read(&own).expect("the key"), 0o600).expect("written");
    let public = fs::read_to_string(own.with_extension("pub")).expect("the public key");
    let keys = Keys::open(&home.root.join("keys")).expect("it opens");
    assert!(public.starts_with(&keys.signer().public().to_string()));
    // Another algorithm, and a key behind a passphrase, are refused by name.
    for (name, more) in [("ecdsa", ["-t", "ecdsa", "-N", ""]), ("locked", ["-t", "ed25519", "-N", "secret"])] {
        let other = home.root.join(name);
        assert!(ran(Command::new(&ssh_keygen).arg("-q").args(more).arg("-f").arg(&other)).status.success());
        medseal::durable::replace(&home.key("sign.key"), &fs::read(&other).expect("the key"), 0o600).expect("written");
        let refused = Keys::open(&home.root.join("keys")).expect_err("no such key is taken").to_string();
        assert!(refused.contains("sign.key") && refused.contains("without a passphrase"), "{refused}");
    }
}

#[test]
fn age_seals_to_our_recipient_and_opens_with_our_identity_file() {
    let Some(age) = needs::tool("age") else { return };
    let home = Home::new("127.0.0.1");
    let (plain, sealed) = (home.file("plain", b"a letter"), home.root.join("plain.age"));
    let recipients = home.key("age.pub");
    let seal = ran(Command::new(&age).arg("-R").arg(&recipients).arg("-o").arg(&sealed).arg(&plain));
    assert!(seal.status.success(), "{seal:?}");
    let open = ran(Command::new(&age).arg("-d").arg("-i").arg(home.key("age.key")).arg(&sealed));
    assert_eq!(open.stdout, b"a letter", "{open:?}");
    let other = Home::new("127.0.0.1");
    let closed = ran(Command::new(&age).arg("-d").arg("-i").arg(other.key("age.key")).arg(&sealed));
    assert!(!closed.status.success() && closed.stdout.is_empty());
}

#[test]
fn age_keygen_knows_our_identity_and_its_own_opens_here() {
    let Some(age_keygen) = needs::tool("age-keygen") else { return };
    let home = Home::new("127.0.0.1");
    let shown = ran(Command::new(&age_keygen).arg("-y").arg(home.key("age.key")));
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), home.keys.age_recipients()[0]);
    let made = ran(&mut Command::new(&age_keygen)).stdout;
    medseal::durable::replace(&home.key("age.key"), &made, 0o600).expect("written");
    let public = ran(Command::new(&age_keygen).arg("-y").arg(home.key("age.key"))).stdout;
    medseal::durable::replace(&home.key("age.pub"), &public, 0o644).expect("written");
    let keys = Keys::open(&home.root.join("keys")).expect("it opens");
    assert_eq!(keys.age_recipients()[0], String::from_utf8_lossy(&public).trim());
}

#[test]
fn openssl_verifies_our_leaf_and_shows_its_name() {
    let Some(openssl) = needs::tool("openssl") else { return };
    for (host, shown, check) in [
        ("192.0.2.7", "IP Address:192.0.2.7", ["-verify_ip", "192.0.2.7"]),
        ("gateway.st-mary.example", "DNS:gateway.st-mary.example", ["-verify_hostname", "gateway.st-mary.example"]),
    ] {
        let home = Home::new(host);
        for purpose in ["sslserver", "sslclient"] {
            let mut verify = Command::new(&openssl);
            verify.args(["verify", "-x509_strict", "-purpose", purpose]).args(check).arg("-CAfile");
            let verified = ran(verify.arg(home.key("ca.crt")).arg(home.key("tls.crt")));
            assert!(verified.status.success(), "{verified:?}");
        }
        let mut show = Command::new(&openssl);
        show.args(["x509", "-noout", "-ext", "subjectAltName,extendedKeyUsage,basicConstraints", "-in"]);
        let text = String::from_utf8(ran(show.arg(home.key("tls.crt"))).stdout).expect("text");
        assert!(text.contains(shown) && text.contains("CA:FALSE"), "{text}");
        assert!(text.contains("TLS Web Server Authentication, TLS Web Client Authentication"), "{text}");
        let mut show = Command::new(&openssl);
        show.args(["x509", "-noout", "-subject", "-ext", "basicConstraints,keyUsage", "-in"]);
        let text = String::from_utf8(ran(show.arg(home.key("ca.crt"))).stdout).expect("text");
        assert!(text.contains("CN = st-mary") && text.contains("CA:TRUE, pathlen:0"), "{text}");
        let other = Home::new(host);
        let verified =
            ran(Command::new(&openssl).arg("verify").arg("-CAfile").arg(other.key("ca.crt")).arg(home.key("tls.crt")));
        assert!(!verified.status.success());
    }
}

#[test]
fn openssl_reads_the_log_key_and_the_tls_keys() {
    let Some(openssl) = needs::tool("openssl") else { return };
    let home = Home::new("127.0.0.1");
    for name in ["log.key", "ca.key", "tls.key"] {
        let checked = ran(Command::new(&openssl).args(["pkey", "-noout", "-check", "-in"]).arg(home.key(name)));
        assert!(checked.status.success(), "{name}: {checked:?}");
    }
    let mut public = Command::new(&openssl);
    let der = ran(public.args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(home.key("log.key"))).stdout;
    assert!(der.ends_with(&home.keys.log_signer().public()));
}

#[test]
fn the_logs_own_notes_know_the_key_on_a_card() {
    let home = Home::new("127.0.0.1");
    let name = log_name(home.keys.id());
    let public = home.keys.log_signer().public();
    let key = LogKey::new(name.parse().expect("a name"), public);
    assert_eq!(LogVkey::of(&name, &public).to_string(), key.to_string());
}
