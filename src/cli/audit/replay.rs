//! `medseal audit replay`: decisions of the past, taken again from what is kept, beside what the log says of them.
//!
//! Rule: it exits 0 only when every decision asked for was taken again and came out as recorded.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::answer::{list, text};
use crate::cli::failure::{Failure, Outcome, Status};
use crate::reason::Reason;

/// Takes recorded decisions again and compares them with the log.
#[derive(Args, Debug)]
#[command(after_help = "Examples: medseal audit replay 17\n          medseal audit replay --all --allow-erased\n\
    Each yes and each no is taken again from the facts sealed in its entry, the stored documents, the consents in the\n\
    versions that were read, and the policy set of that day. What differs is printed. A decision that cannot be taken\n\
    again, because its patient was erased or another version of medseal made it, is listed, and the exit status is 1;\n\
    `medseal audit verify` checks that the entries themselves are unchanged.")]
pub(in crate::cli) struct Replay {
    /// One entry, by its number; every decision of the log when it is left out.
    seq: Option<u64>,
    /// Every decision of the log.
    #[arg(long, conflicts_with = "seq")]
    all: bool,
    /// Accept decisions about patients whose data was erased: they are listed and do not make the exit status 1.
    #[arg(long)]
    allow_erased: bool,
}

impl Replay {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let found = self.ask(context)?;
        if let Some(seq) = self.seq
            && found.decisions == 0
        {
            return Err(Failure::bad_input(Reason::NotFound, format!("entry {seq} records no decision"))
                .hint("`medseal audit show` lists the entries; decisions are release, refusal and intake"));
        }
        let excused = |one: &Value| self.allow_erased && one.get("erased") == Some(&Value::Bool(true));
        let ok = found.deviations.is_empty() && found.not_replayed.iter().all(excused);
        found.print(context, ok)?;
        Ok(if ok { Status::Done } else { Status::Refused })
    }

    fn ask(&self, context: &Context) -> Result<Found, Failure> {
        let api = context.api()?;
        let mut found = Found::default();
        let mut from = self.seq.unwrap_or(0);
        loop {
            let limit = self.seq.map_or(PAGE, |_| 1);
            let page = api.get(&format!("/v1/audit/replay?from={from}&limit={limit}"))?;
            let count = |name| page.get(name).and_then(Value::as_u64).unwrap_or(0);
            found.decisions += count("decisions");
            found.equal += count("equal");
            found.deviations.extend(list(&page, "deviations").iter().cloned());
            found.not_replayed.extend(list(&page, "not_replayed").iter().cloned());
            match page.get("next").and_then(Value::as_u64) {
                Some(next) if self.seq.is_none() => from = next,
                _ => return Ok(found),
            }
        }
    }
}

/// What all pages found together.
#[derive(Default)]
struct Found {
    decisions: u64,
    equal: u64,
    deviations: Vec<Value>,
    not_replayed: Vec<Value>,
}

impl Found {
    fn print(&self, context: &Context, ok: bool) -> Result<(), Failure> {
        let Self { decisions, equal, deviations, not_replayed } = self;
        if context.out.is_json() {
            return context.out.object(&json!({
                "ok": ok, "decisions": decisions, "equal": equal, "deviations": deviations, "not_replayed": not_replayed,
            }));
        }
        for one in deviations {
            context.out.line(format!("entry {}: {} differs", text(one, "seq"), text(one, "what")))?;
            context.out.line(format!("    recorded  {}", text(one, "recorded")))?;
            context.out.line(format!("    found     {}", text(one, "found")))?;
        }
        for one in not_replayed {
            context.out.line(format!("entry {}: cannot be replayed: {}", text(one, "seq"), text(one, "why")))?;
        }
        let apart = decisions - equal - not_replayed.len() as u64;
        context.out.line(format!(
            "{decisions} decisions: {equal} came out as recorded, {apart} otherwise, {} cannot be replayed",
            not_replayed.len()
        ))?;
        if !deviations.is_empty() {
            context.out.say("error: a decision does not come out as it is recorded");
            context.out.say(
                "hint: keep store/, subjects/ and policies/ as they are, and call whoever answers for the gateway",
            );
        }
        Ok(())
    }
}

/// How many entries are asked for at a time: a decision on many documents takes a while.
const PAGE: usize = 250;
