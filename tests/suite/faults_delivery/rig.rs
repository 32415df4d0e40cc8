//! Two gateways, random faults, and what must hold after them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::crash_release::{all_is_well, logs_verify};
use crate::site::{Pair, Site, add_consent};

pub(super) const MIB: u64 = 1 << 20;

/// Where the faults come from: `SplitMix64`, so that the same seed gives the same ones. Says the seed when a test fails.
pub(super) struct Faults {
    seed: u64,
    state: u64,
    /// How many faults a test makes.
    pub(super) rounds: u64,
}

impl Faults {
    pub(super) fn from_environment() -> Self {
        let seed = setting("MEDSEAL_SEED", 1);
        Self { seed, state: seed, rounds: setting("MEDSEAL_FAULTS", 20) }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Says what was done.
    #[allow(clippy::print_stdout, reason = "the numbers of a long run are wanted")]
    pub(super) fn told(&self, line: fmt::Arguments<'_>) {
        println!("{line}; seed {}", self.seed);
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.told(format_args!(
                "failed; MEDSEAL_SEED and MEDSEAL_FAULTS={} make the same faults again",
                self.rounds
            ));
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// Two gateways that try again every second, ready to send.
pub(super) fn pair_of(make: impl FnOnce(&Path) -> (Site, Site)) -> Pair {
    let folder = tempfile::tempdir().expect("a folder");
    let (hospital, institute) = make(folder.path());
    for (key, value) in [("delay_s_first", 1), ("delay_s_max", 1), ("attempts_max", 150)] {
        set(&hospital, key, value);
    }
    let mut pair = Pair::of(folder, hospital, institute);
    pair.consent = add_consent(&pair.hospital, pair.folder.path(), &pair.institute, "DE");
    pair
}

/// Changes one number of a gateway that does not run yet.
pub(super) fn set(site: &Site, key: &str, value: u64) {
    let path = site.home.join("medseal.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    let is_it = |line: &str| line.split_once(" = ").is_some_and(|(name, _)| name == key);
    assert_eq!(text.lines().filter(|line| is_it(line)).count(), 1, "{key} in {text}");
    let lines = text.lines().map(|line| if is_it(line) { format!("{key} = {value}\n") } else { format!("{line}\n") });
    medseal::durable::replace(&path, lines.collect::<String>().as_bytes(), 0o644).expect("written");
}

/// A file of noise, different every time.
pub(super) fn noise(folder: &Path, name: &str, bytes: u64, faults: &mut Faults) -> PathBuf {
    let path = folder.join(name);
    let noise: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| faults.next().to_le_bytes()).collect();
    std::fs::File::create_new(&path).and_then(|mut file| file.write_all(&noise)).expect("written");
    path
}

/// Every bundle that the clerk was told of, and every other that the hospital knows, is delivered, lies at the institute
/// once, opens to the same bytes, and stands once in either log.
pub(super) fn arrived_once(pair: &Pair, sent: &[(String, PathBuf)]) {
    all_is_well(pair);
    let (receipts, received) = (entries(&pair.hospital, "receipt"), entries(&pair.institute, "inbox"));
    for entries in [&receipts, &received] {
        assert!(entries.values().all(|times| *times == 1), "more than once: {entries:?}");
    }
    assert_eq!(receipts, received);
    for (bundle, path) in sent {
        assert!(received.contains_key(bundle), "{bundle} was lost");
        let out = pair.folder.path().join(format!("opened-{bundle}"));
        pair.institute.run(&["open", bundle, "--out", out.to_str().expect("a path")]).ok();
        let opened = std::fs::read(out.join(path.file_name().expect("a name"))).expect("opened");
        assert!(opened == std::fs::read(path).expect("sent"), "{bundle} opens to other bytes");
    }
    logs_verify(pair);
}

/// How often each bundle stands in entries of this kind. A dispatch of a bundle that lies there already is entered as one
/// that came again.
fn entries(site: &Site, kind: &str) -> BTreeMap<String, usize> {
    let shown = site.run(&["audit", "show"]).ok();
    let mut times = BTreeMap::new();
    let is_first = |entry: &&Value| entry["kind"] == kind && entry["again"] != true;
    for entry in shown.json["items"].as_array().expect("a list").iter().filter(is_first) {
        *times.entry(entry["bundle"].as_str().expect("an id").to_owned()).or_default() += 1;
    }
    times
}
