//! Two gateways on loopback, from the command line to "delivered": `cargo bench --bench exchange`.
//!
//! Beside it, in the same run, what the machine allows: SHA-256 and durable writes on the same disk. The sizes may be
//! changed by `MEDSEAL_BENCH_MB` (1 GiB), `MEDSEAL_BENCH_SMALL` (200 bundles) and `MEDSEAL_BENCH_LARGE_MB` (4 GiB).

#![allow(clippy::print_stdout, reason = "a measurement prints what it found")]

#[path = "../tests/suite/site.rs"]
mod site;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::site::{Pair, medseal};

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        // Compiled by `cargo test --all-targets`, which wants no numbers.
        return;
    }
    let size =
        |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"));
    let (one, small, large) =
        (size("MEDSEAL_BENCH_MB", 1024), size("MEDSEAL_BENCH_SMALL", 200), size("MEDSEAL_BENCH_LARGE_MB", 4096));
    let pair = Pair::ready();
    limits(&pair);
    end_to_end(&pair, one);
    small_bundles(&pair, small);
    memory(&pair, large);
}

/// What one core hashes and the disk takes, over 1 GiB.
fn limits(pair: &Pair) {
    let block = noise(1 << 20, 1);
    let begun = Instant::now();
    let mut hash = Sha256::new();
    for _ in 0..1024 {
        hash.update(&block);
    }
    let digest = hash.finalize();
    println!("{:<44}{:>10.0} MB/s  ({:02x})", "SHA-256, one core", rate(1024, begun.elapsed()), digest[0]);
    let path = pair.folder.path().join("limit");
    let begun = Instant::now();
    let mut file = File::create_new(&path).expect("a file");
    for _ in 0..1024 {
        file.write_all(&block).expect("written");
    }
    file.sync_data().expect("synced");
    println!("{:<44}{:>10.0} MB/s", "write and fdatasync", rate(1024, begun.elapsed()));
    std::fs::remove_file(path).expect("removed");
}

/// One bundle, from the command line until it is delivered.
fn end_to_end(pair: &Pair, mib: u64) {
    let file = file_of(pair.folder.path(), mib);
    let begun = Instant::now();
    let sent = send(pair, &file, &["--wait"]).ok();
    assert_eq!(sent.text("state"), "delivered", "{}", sent.stdout);
    println!("{:<44}{:>10.0} MB/s", format!("send of {mib} MiB to delivered"), rate(mib, begun.elapsed()));
    std::fs::remove_file(file).expect("removed");
}

/// Many small bundles, sent by several commands at one time, from the first command until the last is delivered.
fn small_bundles(pair: &Pair, count: u64) {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || {
                let file = pair.folder.path().join(format!("small-{lane}.bin"));
                for number in (lane..count).step_by(usize::try_from(LANES).expect("a few lanes")) {
                    medseal::durable::replace(&file, &noise(100_000, number), 0o600).expect("written");
                    send(pair, &file, &[]).ok();
                }
            });
        }
    });
    let queued = begun.elapsed();
    while !pair.hospital.run(&["queue"]).ok().json["items"].as_array().expect("a list").is_empty() {
        assert!(begun.elapsed() < Duration::from_mins(30), "it never ends: {}", pair.hospital.log());
    }
    let rate = |time: Duration| f64::from(u32::try_from(count).expect("small")) / time.as_secs_f64();
    println!("{:<44}{:>10.1} bundles/s", format!("{count} bundles of 100 KB, all queued"), rate(queued));
    println!("{:<44}{:>10.1} bundles/s", "the same, all delivered", rate(begun.elapsed()));
}

/// How much more memory each process takes while a large bundle passes than before.
fn memory(pair: &Pair, mib: u64) {
    let file = file_of(pair.folder.path(), mib);
    let daemons = [&pair.hospital, &pair.institute];
    let idle = daemons.map(|site| peak(site.daemon_id()));
    let begun = Instant::now();
    let mut sending =
        command(&pair.hospital.home, &["send", file.to_str().expect("a path"), "--case", &pair.case, "--wait"]);
    sending.stdout(Stdio::piped());
    let sender = watched(&mut sending.spawn().expect("medseal runs"));
    println!("{:<44}{:>10.0} MB/s", format!("send of {mib} MiB to delivered"), rate(mib, begun.elapsed()));
    let item = pair.institute.run(&["inbox"]).ok();
    let bundle = item.json["items"][0]["bundle"].as_str().expect("it arrived").to_owned();
    let out = pair.folder.path().join("opened");
    let begun = Instant::now();
    let mut opening = command(&pair.institute.home, &["open", &bundle, "--out", out.to_str().expect("a path")]);
    let opener = watched(&mut opening.stdout(Stdio::null()).spawn().expect("medseal runs"));
    println!("{:<44}{:>10.0} MB/s", format!("open of {mib} MiB"), rate(mib, begun.elapsed()));
    let [hospital, institute] = [0, 1].map(|which| peak(daemons[which].daemon_id()) - idle[which]);
    for (name, kib) in [
        ("sending daemon, growth", hospital),
        ("receiving daemon, growth", institute),
        ("send, peak", sender),
        ("open, peak", opener),
    ] {
        println!("{name:<44}{kib:>10} KiB");
        assert!(kib <= 64 << 10, "{name}: {kib} KiB");
    }
}

fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = medseal();
    command.arg("--home").arg(home).arg("--json").args(args).stdin(Stdio::null());
    command
}

fn send(pair: &Pair, file: &Path, more: &[&str]) -> site::Ran {
    let mut args = vec!["send", file.to_str().expect("a path"), "--case", &pair.case];
    args.extend_from_slice(more);
    pair.hospital.run(&args)
}

/// Waits for the end of a command and gives the most memory that it was seen with, in KiB.
fn watched(child: &mut Child) -> u64 {
    let mut most = 0;
    loop {
        if let Some(status) = child.try_wait().expect("our child") {
            let mut said = String::new();
            if let Some(mut stdout) = child.stdout.take() {
                stdout.read_to_string(&mut said).expect("text");
            }
            assert!(status.success(), "{status}: {said}");
            return most;
        }
        most = most.max(peak(child.id()));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The high-water mark of a process's resident memory, in KiB; zero once it has ended.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

fn file_of(folder: &Path, mib: u64) -> PathBuf {
    let path = folder.join(format!("scan-{mib}.bin"));
    let mut file = File::create_new(&path).expect("a file");
    let block = noise(1 << 20, mib);
    for _ in 0..mib {
        file.write_all(&block).expect("written");
    }
    file.sync_data().expect("synced");
    path
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let blocks = (0_u64..).flat_map(|block| Sha256::digest([seed.to_be_bytes(), block.to_be_bytes()].concat()));
    blocks.take(bytes).collect()
}

/// How many commands send at one time.
const LANES: u64 = 4;

#[allow(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
fn rate(mib: u64, time: Duration) -> f64 {
    (mib << 20) as f64 / 1e6 / time.as_secs_f64()
}
