//! `medseal audit witness`: a witness on an officer's own computer, without a gateway.
//!
//! Rule: it signs one history of a log. What it signs is remembered on the disk first; without its memory it signs
//! nothing, unless it is told that it never signed before.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::compare::read_note;
use super::keys::read_key;
use crate::audit::note::{Checkpoint, LogKey, Origin, WitnessKey};
use crate::audit::witness::{Refusal, Submission, read_proof};
use crate::cli::Context;
use crate::cli::failure::{Failure, Outcome, Status};
use crate::clock::Clock;
use crate::durable;
use crate::id::Digest;
use crate::keys::{KeysError, LoneWitness};
use crate::reason::Reason;

/// Signs under a log's checkpoint as a witness of its own: if it continues what this witness signed last.
#[derive(Args, Debug)]
#[command(after_help = "Examples, on the officer's computer:\n  \
    medseal audit witness --key officer.key --init st-mary/officer          (once; prints the key for witness-policy)\n  \
    medseal audit witness --key officer.key --state st-mary.seen --log log.vkey --first checkpoint > signed\n  \
    medseal audit witness --key officer.key --state st-mary.seen --log log.vkey checkpoint --proof growth > signed\n\
    On the gateway: `medseal audit checkpoint --since N --proof growth > checkpoint` before, and\n\
    `medseal audit checkpoint --add signed` after. N is what the state file says on its second line.\n\
    Keep the state file: who restores an old one, or says --first again, may sign two histories.")]
pub(in crate::cli) struct Witness {
    /// The witness's own key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Makes the key, for a witness of this name, and prints what others know it by.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["note", "state", "log", "proof", "first"])]
    init: Option<Origin>,
    /// What this witness signed last of this log.
    #[arg(long, value_name = "FILE", required_unless_present = "init")]
    state: Option<PathBuf>,
    /// The log's key: NAME+KEYID+BASE64, or a file that holds it, from the card of its institution.
    #[arg(long, value_name = "VKEY|FILE", required_unless_present = "init")]
    log: Option<String>,
    /// The checkpoint.
    #[arg(required_unless_present = "init")]
    note: Option<PathBuf>,
    /// The proof that it continues what this witness signed last.
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// This witness never signed under this log before.
    #[arg(long)]
    first: bool,
}

impl Witness {
    pub(super) fn run(self, context: &Context) -> Outcome {
        if let Some(name) = &self.init {
            let key = LoneWitness::create(&self.key, name.as_str()).map_err(no_key)?;
            let vkey = WitnessKey::new(name.clone(), key.signer().public());
            if context.out.is_json() {
                context.out.object(&json!({ "witness": vkey }))?;
            } else {
                context.out.line(format!("witness {name} {vkey}"))?;
            }
            return Ok(Status::Done);
        }
        let (Some(state), Some(log), Some(note)) = (&self.state, &self.log, &self.note) else {
            return Err(Failure::bad_input(Reason::BadInput, "--state, --log and a checkpoint are needed"));
        };
        self.sign(context, state, read_key(log)?, note)
    }

    fn sign(&self, context: &Context, state: &Path, log: LogKey, path: &Path) -> Outcome {
        let key = LoneWitness::open(&self.key).map_err(no_key)?;
        let name: Origin = key.name().parse().map_err(|error| Failure::unable(format!("the key's name: {error}")))?;
        let note = String::from_utf8(read_note(path)?).map_err(|error| Failure::unable(error.to_string()))?;
        let keys = [log];
        let seen = self.seen(state, &keys)?;
        let proof = match &self.proof {
            Some(path) => read_proof(&std::fs::read(path).with_context(|| path.display().to_string())?)
                .map_err(|error| Failure::bad_input(Reason::BadInput, format!("{}: {error}", path.display())))?,
            None => Vec::new(),
        };
        let last = seen.as_ref().map(|(_, seen)| seen);
        let submission = Submission { old: last.map_or(0, |last| last.size), proof, note };
        let next = match submission.decide(&keys, last) {
            Ok(next) => next,
            Err(refusal) => return Err(self.refused(state, &submission, seen.as_ref(), &refusal)),
        };
        if last != Some(&next) {
            durable::replace(state, submission.note.as_bytes(), 0o600).with_context(|| state.display().to_string())?;
        }
        let line = next.cosign(&name, key.signer(), Clock::system().now());
        let signed = Checkpoint::merge(&submission.note, &line).map_err(|error| Failure::unable(error.to_string()))?;
        if context.out.is_json() {
            context.out.object(&json!({ "checkpoint": signed, "line": line, "entries": next.size }))?;
        } else {
            context.out.bytes(signed.as_bytes())?;
        }
        Ok(Status::Done)
    }

    /// What this witness signed last: nothing only if its owner says so.
    fn seen(&self, state: &Path, keys: &[LogKey]) -> Result<Option<(String, Checkpoint)>, Failure> {
        let what = state.display();
        match (std::fs::read_to_string(state), self.first) {
            (Err(why), true) if why.kind() == std::io::ErrorKind::NotFound => Ok(None),
            (Err(why), false) if why.kind() == std::io::ErrorKind::NotFound => {
                Err(Failure::refused(Reason::BadInput, format!("{what} is missing: what was signed last is not known"))
                    .hint("say --first if this witness never signed under this log; else bring the file back"))
            }
            (Err(why), _) => Err(Failure::unable(format!("{what}: {why}"))),
            (Ok(_), true) => {
                Err(Failure::refused(Reason::BadInput, format!("{what} says that this is not the first time"))
                    .hint("leave --first away"))
            }
            (Ok(note), false) => match Checkpoint::open(note.as_bytes(), keys) {
                Ok(seen) => Ok(Some((note, seen))),
                Err(why) => Err(Failure::refused(Reason::BadSignature, format!("{what} is not what was seen: {why}"))
                    .hint("bring the file back; a state file belongs to one log and its key")),
            },
        }
    }

    fn refused(
        &self,
        state: &Path,
        submission: &Submission,
        seen: Option<&(String, Checkpoint)>,
        refusal: &Refusal,
    ) -> Failure {
        let claimed = Checkpoint::claimed(submission.note.as_bytes()).ok();
        let (Refusal::Inconsistent, Some((note, seen)), Some(claimed)) = (refusal, seen, claimed) else {
            return Failure::refused(Reason::BadSignature, format!("not signed: {refusal}"))
                .hint("the checkpoint must be of this log, and not older than what this witness signed last");
        };
        if self.proof.is_none() && claimed.size != seen.size {
            return Failure::bad_input(Reason::BadInput, format!("it must be shown to continue {} entries", seen.size))
                .hint(format!("on the gateway: medseal audit checkpoint --since {} --proof FILE", seen.size));
        }
        let told = format!("brought now\n\n{}\nsigned before\n\n{note}", submission.to_body());
        let kept = format!("{}.refused-{}", state.display(), &Digest::of(told.as_bytes()).to_string()[..16]);
        let says = match durable::write_new(Path::new(&kept), told.as_bytes(), 0o600) {
            Ok(()) => format!("{kept} holds both notes; keep it, and call the institution's officer"),
            Err(why) => format!("keep both notes yourself: {kept}: {why}"),
        };
        Failure::refused(Reason::BadSignature, "not signed: the log is not a continuation of what was signed before")
            .hint(says)
    }
}

fn no_key(error: KeysError) -> Failure {
    Failure::unable(format!("{:#}", anyhow::Error::new(error)))
        .hint("--init NAME makes a key in a new file; only you may read it, and one run at a time uses it")
}
