//! Do ssh-keygen, age, curl, openssl and Python agree with two real gateways about what they exchanged?

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::needs;
use crate::site::{Pair, Site};

fn ran(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the tool runs")
}

fn put(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    medseal::durable::replace(&path, text.as_bytes(), 0o600).expect("written");
    path
}

/// Whether ssh-keygen finds the signature good, with the key that the signer's own folder names.
fn signed_by(signer: &Site, kind: &str, message: &Path, signature: &Path) -> bool {
    let mut verify = Command::new("ssh-keygen");
    verify.args(["-Y", "verify", "-I", signer.id, "-n", kind, "-f"]).arg(signer.home.join("keys/allowed_signers"));
    verify.arg("-s").arg(signature).stdin(fs::File::open(message).expect("a message"));
    verify.output().expect("ssh-keygen runs").status.success()
}

#[test]
fn ssh_keygen_verifies_the_dispatch_and_the_receipt_that_were_kept() {
    let Some(_) = needs::tool("ssh-keygen") else { return };
    let pair = Pair::ready();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    let folder = pair.folder.path();
    let item = pair.institute.run(&["inbox", &bundle]).ok();
    let status = pair.hospital.run(&["status", &bundle]).ok();
    let receipt = |field: &str| status.json["receipt"][field].as_str().expect("a receipt").to_owned();
    for (signer, other, kind, text, signature) in [
        (&pair.hospital, &pair.institute, "medseal-dispatch@v1", item.text("dispatch"), item.text("signature")),
        (&pair.institute, &pair.hospital, "medseal-receipt@v1", receipt("text"), receipt("signature")),
    ] {
        let (message, signature) = (put(folder, "message", &text), put(folder, "signature", &signature));
        assert!(signed_by(signer, kind, &message, &signature), "{kind}: {text}");
        assert!(!signed_by(signer, "medseal-opinion@v1", &message, &signature), "another kind of statement");
        assert!(!signed_by(other, kind, &message, &signature), "another institution");
        let forged = put(
            folder,
            "forged",
            &text.replacen("stored", "opened", 1).replacen(&bundle, "bundle-0000000000000000", 1),
        );
        assert!(!signed_by(signer, kind, &forged, &signature), "other bytes");
    }
    let receipt: serde_json::Value = serde_json::from_str(&receipt("text")).expect("JSON");
    assert_eq!(receipt["dispatch"], medseal::id::Digest::of(item.text("dispatch").as_bytes()).to_string());
}

#[test]
fn age_and_tar_open_what_was_received() {
    let Some(_) = needs::tool("age") else { return };
    let pair = Pair::ready();
    let bundle = pair.send(&["--wait"]).ok().text("bundle");
    let folder = pair.folder.path().join("reader");
    pair.institute.run(&["inbox", &bundle, "--save", folder.to_str().expect("a path")]).ok();
    let opened = ran(Command::new("sh")
        .args(["-c", "age -d -i \"$1\" \"$2\" | tar -x -C \"$3\" && cd \"$3\"/* && sha256sum --quiet -c manifest-sha256.txt tagmanifest-sha256.txt", "sh"])
        .arg(pair.institute.home.join("keys/age.key"))
        .arg(folder.join(format!("{bundle}.age")))
        .arg(&folder));
    assert!(opened.status.success(), "{opened:?}");
    let bag = folder.join(&bundle);
    let same = ran(Command::new("diff").arg("-r").arg(pair.documents()).arg(bag.join("data")));
    assert!(same.status.success(), "{same:?}");
    let closed = ran(Command::new("age")
        .args(["-d", "-i"])
        .arg(pair.hospital.home.join("keys/age.key"))
        .arg(folder.join(format!("{bundle}.age"))));
    assert!(!closed.status.success() && closed.stdout.is_empty(), "the sender itself cannot open it");
}

#[test]
fn curl_and_openssl_get_nothing_without_a_partners_certificate_and_tls_13() {
    let (Some(_), Some(_)) = (needs::tool("curl"), needs::tool("openssl")) else { return };
    let mut pair = Pair::ready();
    // Debian's OpenSSL 3.0 has no ML-KEM, so it cannot offer the key exchange that gateways demand of each other by
    // default. Everything else about the line is as it always is.
    pair.institute.stop();
    let path = pair.institute.home.join("medseal.toml");
    let text = fs::read_to_string(&path).expect("a configuration");
    assert!(text.contains("post_quantum = \"require\""), "{text}");
    let relaxed = text.replace("post_quantum = \"require\"", "post_quantum = \"prefer\"");
    medseal::durable::replace(&path, relaxed.as_bytes(), 0o644).expect("written");
    pair.institute.start();

    let stranger = ping(&pair, None);
    assert!(!stranger.status.success() && stranger.stdout.is_empty(), "{stranger:?}");
    let partner = ping(&pair, Some(&pair.hospital));
    let pong: serde_json::Value = serde_json::from_slice(&partner.stdout).unwrap_or_else(|_| panic!("{partner:?}"));
    assert_eq!(pong["institution"], pair.institute.id);
    let unknown = Site::init(pair.folder.path(), "st-mary", "IN");
    let unknown = ping(&pair, Some(&unknown));
    assert!(!unknown.status.success() && unknown.stdout.is_empty(), "{unknown:?}");

    let shake = |home: &Path, version: &str| {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-brief", "-verify_return_error", "-connect"]);
        client.arg(format!("localhost:{}", pair.institute.port)).arg(version);
        client.arg("-CAfile").arg(pair.institute.home.join("keys/ca.crt"));
        ran(client.arg("-cert").arg(home.join("keys/tls.crt")).arg("-key").arg(home.join("keys/tls.key")))
    };
    let current = shake(&pair.hospital.home, "-tls1_3");
    assert!(current.status.success(), "{current:?}");
    let outdated = shake(&pair.hospital.home, "-tls1_2");
    assert!(!outdated.status.success(), "{outdated:?}");

    // As shipped, a partner without post-quantum key exchange gets no line at all.
    pair.institute.stop();
    medseal::durable::replace(&path, text.as_bytes(), 0o644).expect("written");
    pair.institute.start();
    let classical = ping(&pair, Some(&pair.hospital));
    assert!(!classical.status.success() && classical.stdout.is_empty(), "{classical:?}");
}

/// What curl gets from the institute with the certificate of this site.
fn ping(pair: &Pair, caller: Option<&Site>) -> Output {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--cacert"]).arg(pair.institute.home.join("keys/ca.crt"));
    if let Some(caller) = caller {
        let keys = caller.home.join("keys");
        curl.arg("--cert").arg(keys.join("tls.crt")).arg("--key").arg(keys.join("tls.key"));
    }
    ran(curl.arg(format!("https://localhost:{}/exchange/v1/ping", pair.institute.port)))
}

#[test]
fn python_verifies_the_log_of_a_release_and_names_an_edited_byte() {
    let (Some(python), Some(_)) = (needs::tool("python3"), needs::tool("openssl")) else { return };
    let pair = Pair::ready();
    pair.send(&["--wait"]).ok();
    for site in [&pair.hospital, &pair.institute] {
        let export = pair.folder.path().join(format!("log-{}", site.id));
        site.run(&["audit", "export", export.to_str().expect("a path")]).ok();
        let check = || ran(Command::new(&python).args(["verify.py", "--key", "log.vkey"]).current_dir(&export));
        let whole = check();
        assert_eq!(whole.status.code(), Some(0), "{whole:?}");
        let entries = fs::read_dir(&export).expect("a folder").map(|entry| entry.expect("an entry").path());
        let is_entries =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("entries-"));
        let entries = entries.into_iter().find(is_entries).expect("a file of entries");
        let mut bytes = fs::read(&entries).expect("entries");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        medseal::durable::replace(&entries, &bytes, 0o644).expect("written");
        let edited = check();
        assert_eq!(edited.status.code(), Some(1), "{edited:?}");
    }
}
