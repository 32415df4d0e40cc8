//! What does the log do when the kernel refuses: a disk that is full or broken, at any call that writes, syncs or renames?

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise, in its helpers too")]

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use medseal::audit::log::{Change, Log, LogParts, OnFailure, Place};
use medseal::store::Store;
use medseal::store::sled::SledStore;

use crate::log_faults::{home_on_disk, reopened, store_dir};
use crate::log_home::{Home, note};
use crate::needs;

/// The environment variable that makes this test program the process whose calls fail.
const CHILD: &str = "MEDSEAL_TEST_FAULTY_HOME";

/// The calls that are made to fail, each in turn, and how.
const CALLS: [(&str, &str); 9] = [
    ("pwrite64", "EIO"),
    ("pwrite64", "ENOSPC"),
    ("write", "ENOSPC"),
    ("fdatasync", "EIO"),
    ("fdatasync", "ENOSPC"),
    ("fsync", "EIO"),
    ("sync_file_range", "EIO"),
    ("rename,renameat,renameat2", "EIO"),
    ("rename,renameat,renameat2", "ENOSPC"),
];

/// Which call of a thread fails.
const WHEN: [u32; 4] = [1, 2, 7, 30];

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_acknowledged_after_a_call_failed() {
    if let Some(home) = std::env::var_os(CHILD) {
        return write(Path::new(&home));
    }
    let Some(strace) = needs::tool("strace") else { return };
    for (calls, error) in CALLS {
        // One home for all: what a fault leaves behind is where the next one begins.
        let home = home_on_disk();
        let (mut acknowledged, mut failed): (Vec<Place>, u32) = (Vec::new(), 0);
        for when in WHEN {
            let trace = home.path().join("trace");
            let ended = Command::new("timeout")
                .arg(PATIENCE_S)
                .arg(&strace)
                .args(["-f", "-qq", "-e"])
                .arg(format!("trace=write,pwrite64,{calls}"))
                .arg("-e")
                .arg(format!("inject={calls}:error={error}:when={when}"))
                .arg("-o")
                .arg(&trace)
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", THIS, "--nocapture", "--test-threads=1"])
                .env(CHILD, home.path())
                .output()
                .unwrap();
            assert_ne!(
                ended.status.code(),
                Some(124),
                "{calls} {error} {when}: whoever waits for the disk waits for ever"
            );
            let told = String::from_utf8_lossy(&ended.stdout).into_owned();
            let places: Vec<Place> =
                told.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("place ")?).ok()).collect();
            let trace = std::fs::read_to_string(&trace).unwrap();
            assert_eq!(
                trace.contains("\"place "),
                !places.is_empty(),
                "acknowledgements are seen in the trace: {trace}"
            );
            assert!(!trace.contains("ptrace("), "this machine traces no calls: {trace}");
            if let Some((_, after)) = trace.split_once("(INJECTED)") {
                failed += 1;
                // What is no matter of the disk may go on: the reader of the standard output is no disk.
                let is_of_the_disk = !calls.starts_with("write");
                assert!(!is_of_the_disk || !after.contains("\"place "), "{calls} {error} {when}: {after}");
            }
            acknowledged.extend(places);
            reopened(&home, &acknowledged);
        }
        assert!(failed > 0, "{calls} was never made to fail");
        assert!(!acknowledged.is_empty(), "{calls}: nothing was ever acknowledged");
    }
}

/// Appends entries one after the other, as a gateway does, and prints each place once it is acknowledged.
fn write(home: &Path) {
    let store: Arc<dyn Store> = Arc::new(SledStore::open(&store_dir(home)).unwrap());
    let log = Log::open(LogParts { on_failure: OnFailure::Abort, ..Home::parts_of(home, &store) }).unwrap();
    for at in 0..60 {
        let recorded = log.append_blocking(note(&at.to_string()), Change::default()).unwrap();
        let place = serde_json::to_string(recorded.place()).unwrap();
        drop(writeln!(std::io::stdout().lock(), "\nplace {place}"));
    }
    log.close().unwrap();
}

/// How long one of them may take, in seconds: far more than it does.
const PATIENCE_S: &str = "60";

const THIS: &str = "syscall_faults::nothing_acknowledged_is_lost_and_nothing_is_acknowledged_after_a_call_failed";
