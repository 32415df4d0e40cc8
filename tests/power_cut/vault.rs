//! What is written to the vault, and what must be there after a cut: every acknowledged blob, and none that is short.

use std::io::Read as _;
use std::path::Path;

use medseal::vault::{BlobName, Vault};

use crate::rig::{Acks, Random};

/// Publishes blob after blob until the process is killed; goes on where a life before ended.
///
/// The acknowledgement of a published blob is three times the number of blobs; one more says that the next is begun, two
/// more that its first half is synced.
pub(crate) fn write(dir: &Path, acks: &Acks) {
    let vault = if dir.exists() { Vault::open(dir, 0) } else { Vault::create(dir, 0) }.expect("a vault");
    let mut count = vault.list().expect("listed").len() as u64;
    let mut left = vault.list_partials().expect("listed").first().cloned();
    if left.is_none() {
        acks.acknowledge(count * STEPS);
    }
    loop {
        let partial = match left.take() {
            Some(name) => vault.resume(&name).expect("resumed").expect("a partial"),
            None => vault.begin(&name(count)).expect("begun"),
        };
        assert_eq!(*partial.name(), name(count), "one blob at a time");
        acks.acknowledge(count * STEPS + 1);
        rest(count, 0);
        let bytes = content(count);
        let middle = bytes.len() / 2;
        partial.write_at(0, &bytes[..middle]).expect("written");
        partial.sync().expect("synced");
        acks.acknowledge(count * STEPS + 2);
        rest(count, 1);
        partial.write_at(middle as u64, &bytes[middle..]).expect("written");
        partial.publish(bytes.len() as u64).expect("published");
        count += 1;
        acks.acknowledge(count * STEPS);
        rest(count, 3);
    }
}

/// Sometimes nothing follows for a while that would sync what an acknowledged step left undone.
fn rest(count: u64, phase: u64) {
    if count % 4 == phase {
        std::thread::sleep(std::time::Duration::from_millis(40));
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
    let acknowledged = acknowledged.unwrap_or(0);
    if count < acknowledged / STEPS {
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
    let steps = acknowledged.saturating_sub(count * STEPS);
    begun(&vault, count, steps)?;
    Ok(count * STEPS + steps)
}

/// What was acknowledged of a blob that is not published: after one step its partial, after two steps half its bytes.
fn begun(vault: &Vault, number: u64, steps: u64) -> Result<(), String> {
    if steps == 0 {
        return Ok(());
    }
    let partial = vault.resume(&name(number)).map_err(|error| error.to_string())?;
    let partial = partial.ok_or_else(|| format!("partial {number} is not there"))?;
    let bytes = content(number);
    let mut found = vec![0; if steps == 2 { bytes.len() / 2 } else { 0 }];
    let read = partial.reader().map_err(|error| error.to_string())?.read_exact(&mut found);
    read.map_err(|error| format!("partial {number}: {error}"))?;
    if bytes.starts_with(&found) { Ok(()) } else { Err(format!("partial {number} is not what was synced")) }
}

fn name(number: u64) -> BlobName {
    format!("bundle-{number:016x}").parse().expect("a name")
}

fn content(number: u64) -> Vec<u8> {
    let mut random = Random(number);
    let bytes = random.between(0, 100_000);
    random.bytes(bytes)
}

/// Begun, half synced, published.
const STEPS: u64 = 3;
