//! Does every bundle end in one state, at most once delivered, whatever fails on the way?
//!
//! Two whole gateways in one process, with real TLS, the real protocol, the real release and real vaults, over the store
//! in memory. A list of steps is drawn from a seed: bundles are sent, consents withdrawn, lines cut or held at a byte,
//! either side dies at a write, clocks jump, cards change, disks fill. Afterwards everything is healed and started, the
//! queue runs dry, and both sides are compared. `MEDSEAL_SEEDS` sets the number of seeds, `MEDSEAL_SEED` the first.
//!
//! Limits: the steps are the same for a seed, and the moment at which two threads meet is not; a seed that fails may have
//! to be run more than once. A line is refused or reset, never silent, and time passes between attempts only.

#![allow(clippy::print_stdout, reason = "a simulation tells what it saw")]

mod disk;
mod judge;
mod marks;
mod plan;
mod side;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use plan::Step;
use world::{Template, World};

#[test]
fn every_bundle_ends_in_one_state_and_arrives_at_most_once_whatever_fails() {
    let (seeds, first) = (setting("MEDSEAL_SEEDS", 500), setting("MEDSEAL_SEED", 1));
    let next = AtomicU64::new(first);
    let (failed, tally) = (Mutex::new(Vec::new()), Mutex::new(BTreeMap::<String, u32>::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let template = Template::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || failed.lock().expect("a lock").len() >= FAILURES_MAX {
                        return;
                    }
                    let steps = plan::steps(seed);
                    match catch_unwind(AssertUnwindSafe(|| run(&template, &steps))) {
                        Ok(counts) => {
                            let mut tally = tally.lock().expect("a lock");
                            for (what, count) in counts {
                                *tally.entry(what).or_default() += count;
                            }
                        }
                        Err(why) => {
                            let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                            failed.lock().expect("a lock").push(format!("seed {seed}: {why}\n  {steps:?}"));
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("a lock");
    let tally = tally.into_inner().expect("a lock");
    assert!(failed.is_empty(), "{} of {seeds} seeds failed:\n{}", failed.len(), failed.join("\n"));
    // A run in which nothing of this happens shows nothing.
    for what in ["delivered", "cancelled", "recalled"] {
        assert!(seeds < 100 || tally.contains_key(what), "no bundle was {what}: {tally:#?}");
    }
    println!("{seeds} seeds from {first}: {tally:#?}");
}

/// Carries the steps out, lets everything come to rest, and judges it. Says what happened how often.
fn run(template: &Template, steps: &[Step]) -> BTreeMap<String, u32> {
    let mut world = World::new(template);
    for step in steps {
        world.take(*step);
    }
    world.settle();
    let ended = judge::judge(&world);
    let mut tally = std::mem::take(&mut world.tally);
    for (state, count) in ended {
        *tally.entry(state.to_owned()).or_default() += count;
    }
    tally
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// After so many failures the rest tells nothing new.
const FAILURES_MAX: usize = 5;
