//! Does what was acknowledged survive a power cut?
//!
//! A writer works in a file system of its own and says what it was told is durable; at a random moment the rig takes
//! what the block device holds, without the page cache, and looks what is there. `MEDSEAL_CUTS` sets the number of cuts
//! (30), `MEDSEAL_SEED` their moments (1).
//!
//! Limits: the device has no volatile cache of its own, and the writer, not the kernel, is stopped while it is copied.

#[path = "../suite/needs.rs"]
mod needs;
mod beginnings;
mod rig;
mod store;
mod vault;

use std::path::Path;

use rig::{Acks, Rig, Subject};

#[test]
fn no_acknowledged_entry_is_lost_in_a_power_cut() {
    let Some(mut rig) = Rig::new() else { return };
    let cuts = setting("MEDSEAL_CUTS", 30);
    let tally = rig.cut(Subject::Store, cuts, |_| false);
    assert_eq!(tally.faults, Vec::<String>::new(), "of {cuts} cuts");
    assert!(tally.acknowledged > cuts, "the writer did next to nothing: {tally:?}");
}

#[test]
fn the_same_cuts_lose_entries_when_the_fdatasync_is_left_out() {
    let Some(mut rig) = Rig::new() else { return };
    // Ends at the first loss: the kernel may by chance have written everything before a cut.
    let tally = rig.cut(Subject::StoreWithoutFdatasync, 100, |tally| !tally.faults.is_empty());
    assert!(!tally.faults.is_empty(), "the rig would not see a loss: {tally:?}");
}

#[test]
fn no_published_blob_is_lost_or_short_after_a_power_cut() {
    let Some(mut rig) = Rig::new() else { return };
    let cuts = setting("MEDSEAL_CUTS", 30).div_ceil(3);
    let tally = rig.cut(Subject::Vault, cuts, |_| false);
    assert_eq!(tally.faults, Vec::<String>::new(), "of {cuts} cuts");
    assert!(tally.acknowledged > cuts, "the writer did next to nothing: {tally:?}");
}

#[test]
fn a_store_and_a_vault_are_whole_from_the_moment_they_are_made() {
    let Some(mut rig) = Rig::new() else { return };
    let cuts = setting("MEDSEAL_CUTS", 30).div_ceil(3);
    let tally = rig.cut(Subject::Beginnings, cuts, |_| false);
    assert_eq!(tally.faults, Vec::<String>::new(), "of {cuts} cuts");
    assert!(tally.acknowledged > 0, "every cut came too early: {tally:?}");
}

/// Not a question of its own: the rig starts this test in another process, to be cut off in the middle.
#[test]
fn the_writer_writes_until_it_is_cut() {
    let Some(dir) = std::env::var_os(rig::WRITER) else { return };
    let dir = Path::new(&dir);
    let acks = Acks::from_environment();
    match Subject::from_environment() {
        Subject::Store => store::write(dir, &acks, medseal::store::sled::SledStore::open),
        Subject::StoreWithoutFdatasync => {
            store::write(dir, &acks, medseal::store::sled::SledStore::open_without_fdatasync);
        }
        Subject::Vault => vault::write(dir, &acks),
        Subject::Beginnings => beginnings::write(dir, &acks),
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}
