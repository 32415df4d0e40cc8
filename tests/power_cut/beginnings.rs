//! What is made once, and must be there after a cut from the moment that its maker was told so.

use std::fs;
use std::path::{Path, PathBuf};

use medseal::store::sled::SledStore;
use medseal::store::{Head, Store as _};
use medseal::vault::Vault;

use crate::rig::Acks;

/// Makes one store and one vault, and then rests, so that nothing that follows syncs what they left undone.
pub(crate) fn write(dir: &Path, acks: &Acks) {
    fs::create_dir_all(dir).expect("a folder");
    fs::File::open(dir.parent().expect("a parent")).and_then(|parent| parent.sync_all()).expect("synced");
    let made = (0..u64::MAX).find(|number| !store(dir, *number).exists()).expect("an end");
    // A life before may have been cut off between the two.
    if made > 0 && !vault(dir, made - 1).exists() {
        Vault::create(&vault(dir, made - 1), 0).expect("a vault");
    }
    acks.acknowledge(made * 2);
    SledStore::create(&store(dir, made)).expect("a store");
    acks.acknowledge(made * 2 + 1);
    std::thread::sleep(REST);
    Vault::create(&vault(dir, made), 0).expect("a vault");
    acks.acknowledge(made * 2 + 2);
    loop {
        std::thread::park();
    }
}

/// How many of both there are, or what is wrong.
pub(crate) fn check(dir: &Path, acknowledged: Option<u64>) -> Result<u64, String> {
    let mut found = 0;
    for number in 0.. {
        if !store(dir, number).exists() {
            break;
        }
        let head = SledStore::open(&store(dir, number)).and_then(|store| store.head());
        if head.map_err(|error| format!("store {number}: {error}"))? != Head::EMPTY {
            return Err(format!("store {number} is not empty"));
        }
        found = number * 2 + 1;
        if vault(dir, number).exists() {
            Vault::open(&vault(dir, number), 0).map_err(|error| format!("vault {number}: {error}"))?;
            found += 1;
        }
    }
    if found < acknowledged.unwrap_or(0) { Err(format!("only {found} are there")) } else { Ok(found) }
}

fn store(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("store-{number}"))
}

fn vault(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("vault-{number}"))
}

const REST: std::time::Duration = std::time::Duration::from_millis(30);
