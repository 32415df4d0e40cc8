//! Does a bundle arrive exactly once between two real gateways, whatever is cut, killed, full, read-only or out of time?
//!
//! The steps of a release at which a gateway may die have tests of their own (`crash_release`); here the moments are
//! random, and the same seed gives the same ones. `MEDSEAL_FAULTS` says how many cuts and kills, `MEDSEAL_SEED` which.

mod clocks;
mod disk;
mod disks;
mod proxy;
mod rig;

use std::path::PathBuf;
use std::time::Duration;

use crate::crash_release::{ended, send};
use crate::site::{Site, free_port};

use proxy::Proxy;
use rig::{Faults, MIB, arrived_once, noise, pair_of, set};

#[test]
fn a_transfer_that_is_cut_at_random_offsets_arrives_once() {
    let mut faults = Faults::from_environment();
    let port = free_port();
    let proxy = Proxy::to(port);
    let pair = pair_of(|folder| {
        let hospital = Site::init(folder, "tallinn-east", "EE");
        set(&hospital, "concurrent_per_partner", BUNDLES_AT_ONCE);
        (hospital, Site::init_behind(folder, "nordhafen", "DE", port, proxy.port()))
    });
    let mut sent = Vec::new();
    while proxy.cuts() < faults.rounds {
        assert!(sent.len() as u64 <= faults.rounds, "hardly anything is cut: {} cuts", proxy.cuts());
        // A large one is cut among its segments, a small one in handshake, offer, handover and receipt.
        let bytes = if sent.len() % 2 == 0 { LARGE_BYTES } else { 0 };
        let path = noise(pair.folder.path(), &format!("scan-{}.bin", sent.len()), bytes + 100, &mut faults);
        let cuts_before = proxy.cuts();
        proxy.cut_after((0..CUTS_EACH).map(|_| faults.below(bytes + TALK_BYTES)).collect());
        let bundle = ended(send(&pair, path.to_str().expect("a path"))).ok().text("bundle");
        pair.hospital.wait_for(&bundle, &["delivered"]);
        let (cuts, forwarded) = (proxy.cuts() - cuts_before, proxy.let_go());
        // Each cut costs what was under way at that moment, and no more than that.
        let most = bytes + SEGMENTS_AT_ONCE * SEGMENT_BYTES * cuts + (cuts + SEGMENTS_AT_ONCE) * TALK_BYTES;
        assert!(forwarded <= most, "{forwarded} bytes for {bytes}, cut {cuts} times: more than {most}");
        sent.push((bundle, path));
    }
    arrived_once(&pair, &sent);
    faults.told(format_args!("{} cuts, {} bundles", proxy.cuts(), sent.len()));
}

#[test]
fn whoever_is_killed_at_any_moment_delivers_every_bundle_once() {
    let mut faults = Faults::from_environment();
    let mut pair = pair_of(|folder| (Site::init(folder, "tallinn-east", "EE"), Site::init(folder, "nordhafen", "DE")));
    let mut sent: Vec<(String, PathBuf)> = Vec::new();
    for round in 0..faults.rounds {
        let bytes = if round % 4 == 0 { 20 * MIB } else { 100 };
        let path = noise(pair.folder.path(), &format!("scan-{round}.bin"), bytes, &mut faults);
        let sending = send(&pair, path.to_str().expect("a path"));
        std::thread::sleep(Duration::from_millis(faults.below(KILL_MS_MAX)));
        let whom = faults.below(3);
        if whom != 0 {
            pair.hospital.kill();
        }
        if whom != 1 {
            pair.institute.kill();
        }
        if whom != 1 {
            pair.institute.start();
        }
        if whom != 0 {
            pair.hospital.start();
        }
        // A clerk who was told of no bundle sends again; one who was told never needs to.
        let told = ended(sending);
        if told.status == 0 {
            sent.push((told.text("bundle"), path));
        }
    }
    assert!(sent.len() as u64 >= faults.rounds / 4, "hardly anything was sent: {}", sent.len());
    arrived_once(&pair, &sent);
    faults.told(format_args!("{} kills, {} bundles told to the clerk", faults.rounds, sent.len()));
}

/// How many bundles may travel at one time: of each, two segments then.
const BUNDLES_AT_ONCE: u64 = 8;
const SEGMENTS_AT_ONCE: u64 = 2;
const SEGMENT_BYTES: u64 = 8 * MIB;

/// Two segments under way are a quarter of it: what a cut may cost is far from all of it.
const LARGE_BYTES: u64 = 64 * MIB;

/// About what one connection says beside the segments: handshake, offer, header, dispatch, receipt.
const TALK_BYTES: u64 = 24 << 10;

/// How often one bundle is cut.
const CUTS_EACH: usize = 4;

/// The latest moment of a kill after a bundle was given to the gateway, in milliseconds: a large one has arrived by then.
const KILL_MS_MAX: u64 = 1500;
