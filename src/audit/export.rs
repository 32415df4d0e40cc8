//! Exports: a folder that anyone can verify without the gateway, with Python and openssl alone.
//!
//! Rule: an export holds exactly what its checkpoint covers, byte for byte; the writer refuses to make one that would
//! not verify.

mod check;
mod earlier;
mod proofs;
mod range;
mod read;
mod tiles;
mod writer;

use crate::audit::note::{Checkpoint, LogKey};

pub use check::{ExportReport, verify_export};
pub use earlier::Stamped;
pub use range::{Range, RangeWriter, gap};
pub use read::{read_entries, read_note};
pub use writer::{ExportError, ExportWriter, Exported};

/// The stand-alone verifier, for whoever does not want to trust this program.
pub const VERIFY_PY: &str = include_str!("../../deploy/verify.py");

/// The files that say again, for other tools, what the checkpoint and the key say.
fn derived(checkpoint: &Checkpoint, key: &LogKey, signature: &[u8]) -> [(&'static str, Vec<u8>); 5] {
    [
        ("checkpoint.body", checkpoint.body().into_bytes()),
        ("checkpoint.sig", signature.to_vec()),
        ("keys/log.pem", key.to_pem().into_bytes()),
        (KEY, format!("{key}\n").into_bytes()),
        ("policy", format!("log {key}\nquorum none\n").into_bytes()),
    ]
}

fn entries_name(first: u64, last: u64) -> String {
    format!("entries-{first:012}-{last:012}.jsonl")
}

fn is_entries_name(name: &str) -> bool {
    let numbers = name.strip_prefix("entries-").and_then(|rest| rest.strip_suffix(".jsonl"));
    let is_number = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.and_then(|numbers| numbers.split_once('-')).is_some_and(|(first, last)| is_number(first) && is_number(last))
}

const ENTRIES_PER_FILE: u64 = 1_000_000;
const CHECKPOINT: &str = "checkpoint";
const DETAILS: &str = "details.jsonl";
const KEY: &str = "log.vkey";
/// The folder of the checkpoints of the log's past.
const PAST: &str = "checkpoints";
const STAMPS: &str = "stamps";
const RANGE: &str = "range";
const SUMS: &str = "SHA256SUMS";

const README: &str = "\
This folder is an export of a medseal log. Nothing of medseal is needed to verify it.

    python3 verify.py --key KEY

KEY is the log's key as you got it from the institution, for instance from its card. Without --key it is only shown that
the export agrees with itself, and the exit code is 3: compare the key that is shown by telephone. With --trusted-checkpoint FILE the log must also continue an
older checkpoint that you kept. The exit code is 0 if all is well and 1 if not; the first bad entry is named.

If there is a file range, this is a stretch of the log and not the whole: range says from which entry to which, and
first.tlog-proof and last.tlog-proof (C2SP tlog-proof) show that both ends are in the signed log. There is no tile/.

proofs/N.tlog-proof, if there is any, proves entry N alone, which proofs/N.entry repeats: hand on both.

By hand:

    sha256sum -c SHA256SUMS
    openssl pkeyutl -verify -rawin -pubin -inkey keys/log.pem -in checkpoint.body -sigfile checkpoint.sig

checkpoints/N, if there are any, are the notes that the log signed earlier, of its first N entries; verify.py compares
each with the lines. stamps/N.note, if it is there, is a signed note of the log of N entries, and stamps/N.tsr the time
stamp over it (RFC 3161) by an authority outside. verify.py checks that the stamp is over this note, and the note of these
lines; the authority's own signature you check with the certificate of an authority that you trust:

    openssl ts -verify -data stamps/N.note -in stamps/N.tsr -CAfile authority.pem

Each line of entries-*.jsonl is one entry. Its _prev is the SHA-256 over one zero byte and the line before it:

    ( printf '\\0'; sed -n 5p entries-000000000000-*.jsonl | tr -d '\\n' ) | sha256sum

is the _prev of line 6. The same hashes are the leaves of the tree (RFC 6962) whose root stands in checkpoint
(C2SP signed-note and tlog-checkpoint). tile/ holds entries and tree once more as C2SP tlog-tiles lays them out, for
clients of such logs; verify.py compares them with the lines. details.jsonl, if it is there, holds the opened details of entries: det in the
entry is HMAC-SHA256 under the salt over \"medseal-detail-v1\", a zero byte, the number, a zero byte and the detail.
";
