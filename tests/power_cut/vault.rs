//! What is written to the vault, and what must be there after a cut: every acknowledged blob, and none that is short.

use std::io::Read as _;
use std::path::Path;

use medseal::vault::{BlobName, Vault};

use crate::rig::{Acks, Random};

/// Publishes blob after blob until the process is killed; goes on where a life before ended.
pub(crate) fn write(dir: &Path, acks: &Acks) {
    let vault = if dir.exists() { Vault::open(dir, 0) } else { Vault::create(dir, 0) }.expect("a vault");
    let mut count = vault.list().expect("listed").len() as u64;
    for left in vault.list_partials().expect("listed") {
        let partial = vault.resume(&left).expect("resumed").expect("a partial");
        assert_eq!(*partial.name(), name(count), "one blob at a time");
        // What was never synced may be missing in any place, so all of it is written again.
        fill(&partial, count);
        count += 1;
    }
    acks.acknowledge(count);
    loop {
        fill(&vault.begin(&name(count)).expect("begun"), count);
        count += 1;
        acks.acknowledge(count);
    }
}

/// How many blobs there are, or what is wrong.
pub(crate) fn check(dir: &Path, acknowledged: Option<u64>) -> Result<u64, String> {
    if acknowledged.is_none() && !dir.exists() {
        return Ok(0);
    }
    let vault = Vault::open(dir, 0).map_err(|error| error.to_string())?;
    let blobs = vault.list().map_err(|error| error.to_string())?;
    let count = blobs.len() as u64;
    if count < acknowledged.unwrap_or(0) {
        return Err(format!("only {count} blobs are there"));
    }
    for (number, blob) in (0..).zip(&blobs) {
        let mut found = Vec::new();
        let mut file = vault.read(blob).map_err(|error| error.to_string())?;
        file.read_to_end(&mut found).map_err(|error| error.to_string())?;
        if *blob != name(number) || found != content(number) {
            return Err(format!("{blob} is {} bytes long, not whole", found.len()));
        }
    }
    let partials = vault.list_partials().map_err(|error| error.to_string())?;
    if partials.iter().any(|partial| *partial != name(count)) {
        return Err(format!("{partials:?} beside {count} blobs"));
    }
    Ok(count)
}

/// Writes a blob in two segments, the second one first, and publishes it.
fn fill(partial: &medseal::vault::Partial, number: u64) {
    let bytes = content(number);
    let middle = bytes.len() / 2;
    partial.write_at(middle as u64, &bytes[middle..]).expect("written");
    if number.is_multiple_of(2) {
        partial.sync().expect("synced");
    }
    partial.write_at(0, &bytes[..middle]).expect("written");
    partial.publish(bytes.len() as u64).expect("published");
}

fn name(number: u64) -> BlobName {
    format!("bundle-{number:016x}").parse().expect("a name")
}

fn content(number: u64) -> Vec<u8> {
    let mut random = Random(number);
    let bytes = random.between(0, 100_000);
    random.bytes(bytes)
}
