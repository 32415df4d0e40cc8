//! Scans beside a consent: kept in the vault, each sealed whole under the subject's key.
//!
//! Rule: a scan is never on the disk in clear, and its name says only beside which consent it lies.

use std::io::Read as _;

use zeroize::Zeroizing;

use super::Gateway;
use crate::id::{ConsentId, SubjectId};
use crate::problem::Problem;
use crate::vault::{BlobName, Vault, VaultError};

impl Gateway {
    /// Seals the scans and makes them durable; the first has the number 1.
    pub async fn keep_evidence(
        &self,
        consent: &ConsentId,
        subject: &SubjectId,
        scans: Vec<Vec<u8>>,
    ) -> Result<(), Problem> {
        if scans.is_empty() {
            return Ok(());
        }
        let (vault, key) = (self.vault.clone(), self.known_person(subject)?.key);
        let consent = consent.clone();
        let work = move || {
            for (number, scan) in (1..).zip(scans) {
                let scan = Zeroizing::new(scan);
                let name = BlobName::evidence(&consent, number);
                keep(&vault, &name, &key.seal(&context(&name), &scan))?;
            }
            Ok(())
        };
        blocking(work).await?.map_err(|error: VaultError| match error {
            VaultError::Full { .. } => Problem::try_again(error.reason(), error.to_string()),
            other => Problem::internal("the vault", &other),
        })
    }

    /// Opens the scan with this number.
    pub async fn read_evidence(
        &self,
        consent: &ConsentId,
        subject: &SubjectId,
        number: u32,
    ) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let (vault, key) = (self.vault.clone(), self.known_person(subject)?.key);
        let name = BlobName::evidence(consent, number);
        let work = move || {
            let mut sealed = Vec::new();
            let mut blob = vault.read(&name).map_err(|error| Problem::internal("the vault", &error))?;
            blob.read_to_end(&mut sealed).map_err(|error| Problem::internal("the vault", &error))?;
            key.open(&context(&name), &sealed).map_err(|error| Problem::internal("a scan beside a consent", &error))
        };
        blocking(work).await?
    }
}

fn keep(vault: &Vault, name: &BlobName, sealed: &[u8]) -> Result<(), VaultError> {
    let bytes = u64::try_from(sealed.len()).expect("a length fits in 64 bits");
    vault.room(bytes)?;
    let partial = vault.begin(name)?;
    partial.write_at(0, sealed)?;
    partial.publish(bytes)
}

/// Binds the sealed bytes to their place, so that one scan cannot stand for another.
fn context(name: &BlobName) -> Vec<u8> {
    format!("medseal-evidence-v1\0{name}").into_bytes()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal("a task", &error))
}
