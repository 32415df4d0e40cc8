//! A consent manager of India's health network for tests: a real RSA key made with openssl, and what it signs.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::needs;

/// A manager with its private key, and the key folder of an institution that trusts it.
pub(crate) struct Manager {
    folder: tempfile::TempDir,
    openssl: PathBuf,
}

impl Manager {
    /// A manager with a new key; its public half lies at [`Manager::public`]. `None` without openssl.
    pub(crate) fn new() -> Option<Self> {
        let manager = Self { openssl: needs::tool("openssl")?, folder: tempfile::tempdir().expect("a folder") };
        let made = Command::new(&manager.openssl)
            .args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"])
            .arg(manager.private())
            .stderr(Stdio::null())
            .status();
        assert!(made.expect("openssl runs").success());
        let half = Command::new(&manager.openssl)
            .args(["pkey", "-pubout", "-in"])
            .arg(manager.private())
            .arg("-out")
            .arg(manager.public())
            .status();
        assert!(half.expect("openssl runs").success());
        Some(manager)
    }

    fn private(&self) -> PathBuf {
        self.folder.path().join("manager.key")
    }

    /// The public key, as the manager publishes it.
    pub(crate) fn public(&self) -> PathBuf {
        self.folder.path().join("manager.pem")
    }

    /// Makes the institution whose key folder this is trust the manager under the name `sbx`.
    pub(crate) fn trust_in(&self, keys: &Path) -> PathBuf {
        let folder = keys.join("consent-managers");
        fs::create_dir_all(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("a mode");
        let file = folder.join("sbx.pem");
        fs::copy(self.public(), &file).expect("copied");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a mode");
        file
    }

    /// The signature over exactly these bytes, as base64.
    pub(crate) fn sign(&self, bytes: &[u8]) -> String {
        let mut openssl = Command::new(&self.openssl)
            .args(["dgst", "-sha256", "-sign"])
            .arg(self.private())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl runs");
        openssl.stdin.take().expect("a pipe").write_all(bytes).expect("written");
        let output = openssl.wait_with_output().expect("openssl ends");
        assert!(output.status.success());
        BASE64.encode(output.stdout)
    }

    /// The notification of a granted artefact with this text.
    pub(crate) fn granted(&self, detail: &Value) -> String {
        let text = detail.to_string();
        notification(detail["consentId"].as_str().expect("an id"), "GRANTED", &text, &self.sign(text.as_bytes()))
    }
}

/// A notification with this text of an artefact, byte for byte.
pub(crate) fn notification(id: &str, status: &str, detail: &str, signature: &str) -> String {
    format!(
        r#"{{"requestId":"5f7a535d-a3fd-416b-b069-c97d021fbacd","timestamp":"2026-11-22T06:32:59.560Z","notification":{{"consentDetail":{detail},"status":"{status}","signature":"{signature}","consentId":"{id}","grantAcknowledgement":false}}}}"#
    )
}

/// The notification that an artefact has ended, as the network sends it: without the artefact's text.
pub(crate) fn ended(id: &str, status: &str) -> String {
    json!({ "requestId": "7b1e", "timestamp": "2026-11-23T06:32:59.560Z",
        "notification": { "status": status, "consentId": id } })
    .to_string()
}

/// The text of an artefact: discharge summaries and diagnostic reports from 2025 on may be stored by one recipient.
pub(crate) fn detail() -> Value {
    json!({
        "schemaVersion": "v3",
        "consentId": "3fa85f64-5717-4562-b3fc-2c963f66ab01",
        "createdAt": "2026-11-22T06:30:00.000Z",
        "lastUpdated": "2026-11-22T06:30:00.000Z",
        "patient": { "id": "asha.example@sbx" },
        "purpose": { "text": "Care Management", "code": "CAREMGT", "refUri": "http://terminology.hl7.org/ValueSet/v3-PurposeOfUse" },
        "hip": { "id": "HIP-EX-01", "name": "Example Hospital" },
        "hiu": { "id": "HIU-EX-07", "name": "Example Institute" },
        "consentManager": { "id": "sbx" },
        "requester": { "name": "Dr Example", "identifier": { "type": "REGNO", "value": "EX-1", "system": "https://www.nmc.org.in" } },
        "hiTypes": ["DiagnosticReport", "DischargeSummary"],
        "permission": {
            "accessMode": "STORE",
            "dateRange": { "from": "2025-01-01T00:00:00.000Z", "to": "2026-11-22T00:00:00.000Z" },
            "dataEraseAt": "2036-02-22T00:00:00.000Z",
            "frequency": { "unit": "HOUR", "value": 1, "repeats": 0 }
        }
    })
}

/// The patient of [`detail`], as a case names her.
pub(crate) const PATIENT: &str = "https://healthid.ndhm.gov.in/abha-address|asha.example@sbx";
