//! `medseal doctor`: looks at everything that an operator answers for, and says what to do.
//!
//! Rule: it changes nothing; a finding comes with the command or file that mends it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::answer::{items, text};
use super::break_glass::tasks;
use super::failure::{Outcome, Status};
use crate::client::{Api, ApiError};
use crate::clock::{Clock, Timestamp, read_stamp};
use crate::config::{Config, Home};
use crate::keys::{ConsentManagers, Keys};
use crate::policy::Policy;
use crate::reason::Reason;

/// Checks configuration, permissions, disk, keys, policies, partners, the gateway and its log.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: medseal doctor\nExit status 0: all well or only remarks; 1: something must be mended."
)]
pub(super) struct Doctor {}

/// How a check came out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Well,
    Remark,
    Mend,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Remark => "remark",
            Self::Mend => "mend",
        }
    }
}

#[derive(Debug)]
struct Check {
    what: &'static str,
    verdict: Verdict,
    found: String,
    remedy: String,
}

impl Check {
    fn well(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Well, found: found.into(), remedy: String::new() }
    }

    fn remark(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Remark, found: found.into(), remedy: remedy.into() }
    }

    fn mend(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Mend, found: found.into(), remedy: remedy.into() }
    }
}

impl Doctor {
    #[allow(clippy::unused_self, reason = "every verb has this shape")]
    pub(super) fn run(self, context: &Context) -> Outcome {
        let home = context.home()?;
        let now = Clock::system().now();
        let mut checks = vec![configuration(&home), permissions(&home), disk(&home), keys(&home, now), policies(&home)];
        checks.extend(consent_managers(&home));
        checks.extend(staff(&home));
        checks.extend(gateway(&home, now));
        let sick = checks.iter().any(|check| check.verdict == Verdict::Mend);
        if context.out.is_json() {
            let checks: Vec<Value> = checks
                .iter()
                .map(|check| {
                    let verdict = check.verdict.word();
                    json!({ "check": check.what, "verdict": verdict, "found": check.found, "remedy": check.remedy })
                })
                .collect();
            context.out.object(&json!({ "ok": !sick, "items": checks }))?;
        } else {
            for check in &checks {
                context.out.line(format!("{:<7} {:<14} {}", check.verdict.word(), check.what, check.found))?;
                if !check.remedy.is_empty() {
                    context.out.line(format!("{:22} do: {}", "", check.remedy))?;
                }
            }
        }
        Ok(if sick { Status::Refused } else { Status::Done })
    }
}

fn configuration(home: &Home) -> Check {
    match Config::read(&home.config()) {
        Ok(config) => Check::well("configuration", format!("{} ({})", config.id, config.name)),
        Err(error) => {
            Check::mend("configuration", chain(error), "correct medseal.toml; deploy/medseal.toml shows every key")
        }
    }
}

/// What only the gateway's own user may read.
/// People without a way in, or none where some are needed, are noticed before a bundle waits for them.
fn staff(home: &Home) -> Option<Check> {
    let staff = Config::read(&home.config()).ok()?.staff;
    match (staff.users.len(), staff.socket) {
        (0, _) => None,
        (_, None) => {
            let remedy = "name `socket` under [staff] in medseal.toml; docs/APPROVAL.md says where";
            Some(Check::remark("staff", "people are listed who have no socket to reach the gateway", remedy))
        }
        (people, Some(socket)) => Some(Check::well("staff", format!("{people} people, at {}", socket.display()))),
    }
}

fn permissions(home: &Home) -> Check {
    let secret = [home.path().to_owned(), home.keys(), home.subjects(), home.store(), home.vault()];
    let owner = std::fs::metadata(home.path()).map(|metadata| metadata.uid());
    for path in secret {
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => {
                return Check::mend(
                    "permissions",
                    format!("{}: {error}", path.display()),
                    "restore it from the backup",
                );
            }
        };
        if path == home.path() || path == home.keys() || path == home.subjects() {
            let mode = metadata.permissions().mode() & 0o077;
            if mode != 0 {
                let found = format!("{} may be entered by others", path.display());
                return Check::mend("permissions", found, format!("chmod 700 {}", path.display()));
            }
        }
        if owner.as_ref().is_ok_and(|owner| *owner != metadata.uid()) {
            let found = format!("{} belongs to another user than the home", path.display());
            return Check::mend("permissions", found, format!("chown -R the gateway's user {}", path.display()));
        }
    }
    Check::well("permissions", "home, keys and subjects are the gateway's alone")
}

fn disk(home: &Home) -> Check {
    let min = Config::read(&home.config()).map_or(1 << 30, |config| config.limits.disk_free_bytes_min);
    match rustix::fs::statvfs(home.path()) {
        Err(error) => Check::mend("disk", error.to_string(), "look at the file system"),
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let says = format!("{} MiB free, {} MiB are kept free", free >> 20, min >> 20);
            if free < min {
                Check::mend("disk", says, "make room: nothing is sealed or received until then")
            } else if free < min.saturating_mul(4) {
                Check::remark("disk", says, "make room soon")
            } else {
                Check::well("disk", says)
            }
        }
    }
}

fn keys(home: &Home, now: Timestamp) -> Check {
    let held = match Keys::open(&home.keys()).and_then(|keys| keys.inventory(now)) {
        Ok(held) => held,
        Err(error) => return Check::mend("keys", chain(error), "keys/README.md says what belongs there"),
    };
    let ending = held.iter().filter_map(|held| Some((held.days_left?, held.kind))).min();
    let reader = held.iter().any(|held| held.kind == "age" && !held.present);
    let place = if reader { "; the reader's key is kept elsewhere" } else { "" };
    match ending {
        Some((days, kind)) if days < 0 => {
            Check::mend("keys", format!("{kind} ended {} days ago", -days), "renew it; keys/README.md says how")
        }
        Some((days, kind)) if days < DAYS_LEFT_MIN => {
            Check::remark("keys", format!("{kind} ends in {days} days"), "renew it; keys/README.md says how")
        }
        Some((days, kind)) => Check::well("keys", format!("first to end: {kind}, in {days} days{place}")),
        None => Check::well("keys", format!("none ends by itself{place}")),
    }
}

/// Whose signatures under consent artefacts count; nothing where no artefacts are taken.
fn consent_managers(home: &Home) -> Option<Check> {
    const WHAT: &str = "consent keys";
    let takes = Config::read(&home.config()).is_ok_and(|config| config.abdm.hip.is_some());
    match ConsentManagers::of(&home.keys()).list() {
        Err(error) => Some(Check::mend(WHAT, chain(error), "keys/README.md says what belongs into consent-managers/")),
        Ok(known) if known.is_empty() && !takes => None,
        Ok(known) if known.is_empty() => {
            let remedy = "put NAME.pem into keys/consent-managers/; keys/README.md";
            Some(Check::remark(WHAT, "abdm.hip is set, but no consent manager's key is here", remedy))
        }
        Ok(known) => {
            let names: Vec<String> = known.into_iter().map(|manager| manager.id).collect();
            Some(Check::well(WHAT, format!("consent managers: {}", names.join(", "))))
        }
    }
}

fn policies(home: &Home) -> Check {
    match Policy::load(&home.policies()) {
        Ok(policy) => Check::well("policies", format!("{} rules", policy.rules().count())),
        Err(error) => {
            let remedy = format!("medseal policy check {}", home.policies().display());
            Check::mend("policies", chain(error), remedy)
        }
    }
}

/// What only the running gateway can say.
fn gateway(home: &Home, now: Timestamp) -> Vec<Check> {
    let serve = format!("medseal --home {} serve", home.path().display());
    let api = match Api::connect(home) {
        Ok(api) => api,
        Err(error) => return vec![Check::mend("gateway", error.to_string(), serve)],
    };
    let facts = match api.get("/v1/gateway") {
        Ok(facts) => facts,
        Err(error) => return vec![Check::mend("gateway", error.to_string(), "read the gateway's own log")],
    };
    let mut checks =
        vec![Check::well("gateway", format!("serves as {}, version {}", text(&facts, "id"), text(&facts, "software")))];
    checks.push(log(&api));
    checks.extend(witnesses(&api));
    checks.extend(clock(&api, now));
    checks.extend(partners(&api, now));
    checks.push(queue(&api));
    checks.extend(emergencies(&api));
    checks.extend(retention(&api));
    checks
}

fn log(api: &Api) -> Check {
    let keep = "keep store/ and head/ as they are; restore the newest backup beside them and compare";
    match api.get("/v1/audit/verify") {
        Err(error) => Check::mend("log", error.to_string(), keep),
        Ok(report) if report.get("ok") == Some(&Value::Bool(true)) => {
            Check::well("log", format!("{} entries verified", text(&report, "entries")))
        }
        Ok(report) => {
            let finding = report.get("finding").cloned().unwrap_or_default();
            let found = format!("entry {}: {}", text(&finding, "seq"), text(&finding, "kind"));
            Check::mend("log", found, keep)
        }
    }
}

/// Whether partners sign under the log, and what they say of it.
fn witnesses(api: &Api) -> Option<Check> {
    let answer = api.get("/v1/audit/witnesses").ok()?;
    let (entries, countersigned) = (text(&answer, "entries"), text(&answer, "countersigned"));
    let found = format!("enough have signed under {countersigned} of {entries} entries");
    let alarms = answer.get("alarms").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if let Some(alarm) = alarms.iter().find(|alarm| alarm.get("evidence").is_some()) {
        let says = format!("since {}: {}", text(alarm, "since"), text(alarm, "what"));
        let remedy = "keep both logs as they are, `medseal audit alarms`, and call the partner's officer";
        return Some(Check::mend("witness", says, remedy));
    }
    if !alarms.is_empty() {
        return Some(Check::mend("witness", found, "medseal partner ping: somebody must be able to sign"));
    }
    let any = answer.get("witnesses").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    Some(if any {
        Check::well("witness", found)
    } else {
        Check::remark("witness", "no partner has signed under the log since the start", "medseal partner list")
    })
}

/// A clock that was set back is seen by the newest entry of the log.
fn clock(api: &Api, now: Timestamp) -> Option<Check> {
    let checkpoint = api.text("/v1/audit/checkpoint").ok()?;
    let newest = checkpoint.lines().nth(1)?.parse::<u64>().ok()?.checked_sub(1)?;
    let entry = api.text(&format!("/v1/audit/entries?from={newest}&limit=1")).ok()?;
    let at = read_stamp(&text(&serde_json::from_str::<Value>(&entry).ok()?, "_t"))?;
    let behind = at.duration_since(now).as_secs();
    Some(if behind > CLOCK_S_MAX {
        let found = format!("it stands {behind} s before the newest entry of the log");
        Check::mend("clock", found, "set it: a decision goes by this clock; then medseal audit replay --all")
    } else {
        Check::well("clock", "not before the newest entry of the log")
    })
}

fn partners(api: &Api, now: Timestamp) -> Vec<Check> {
    let list = match api.get("/v1/partners") {
        Ok(list) => list,
        Err(error) => return vec![Check::mend("partners", error.to_string(), "read the gateway's own log")],
    };
    let partners = items(&list);
    if partners.is_empty() {
        let remedy = "medseal partner add CARD --fingerprint FP";
        return vec![Check::remark("partners", "none is registered", remedy)];
    }
    partners
        .iter()
        .map(|partner| {
            let id = text(partner, "id");
            if text(partner, "standing") != "active" {
                return Check::remark("partner", format!("{id} is suspended"), format!("medseal partner resume {id}"));
            }
            let days = read_stamp(&text(partner, "expires"))
                .map(|end| end.duration_since(now).as_secs().div_euclid(24 * 3600));
            if let Some(days) = days.filter(|days| *days < DAYS_LEFT_MIN) {
                let found = format!("the card of {id} ends in {days} days");
                return Check::remark("partner", found, "ask for its new card, then medseal partner add");
            }
            match ping(api, &id) {
                Ok(skew) if skew.unsigned_abs() > SKEW_S_MAX => {
                    let found = format!("the clocks of {id} and of this gateway are {} s apart", skew.unsigned_abs());
                    Check::remark("partner", found, "set the clock that is wrong; medseal needs no more than minutes")
                }
                Ok(_) => Check::well("partner", format!("{id} answers")),
                Err(error) => Check::remark("partner", format!("{id}: {error}"), format!("medseal partner ping {id}")),
            }
        })
        .collect()
}

/// How far the partner's clock is ahead of ours, in seconds.
fn ping(api: &Api, id: &str) -> Result<i64, ApiError> {
    let pong = api.post(&format!("/v1/partners/{id}/ping"), &json!({}))?;
    let at = |name| read_stamp(&text(&pong, name)).map(Timestamp::as_second);
    Ok(at("time").zip(at("our_time")).map_or(0, |(theirs, ours)| theirs - ours))
}

fn queue(api: &Api) -> Check {
    match api.get("/v1/queue") {
        Err(error) => Check::mend("queue", error.to_string(), "read the gateway's own log"),
        Ok(queue) => {
            let stuck = items(&queue).iter().find(|bundle| text(bundle, "reason") == Reason::Internal.code());
            let waiting = items(&queue).len();
            match (stuck, waiting) {
                (Some(bundle), _) => {
                    let id = text(bundle, "bundle");
                    let found =
                        format!("{id} cannot leave: its sealed file in the vault is gone, changed or unreadable");
                    Check::mend("queue", found, format!("look at the disk and the gateway's own log, send {id} anew"))
                }
                (None, 0) => Check::well("queue", "nothing waits"),
                (None, 1) => Check::well("queue", "1 bundle waits or is on its way; medseal queue says for what"),
                (None, _) => Check::well(
                    "queue",
                    format!("{waiting} bundles wait or are on their way; medseal queue says for what"),
                ),
            }
        }
    }
}

/// What may go because its time is over is a person's decision; doctor says that there is something.
fn retention(api: &Api) -> Option<Check> {
    let due = match api.post("/v1/retention", &json!({})) {
        Err(error) => return Some(Check::mend("retention", error.to_string(), "read the gateway's own log")),
        Ok(due) => due["may_go"].as_u64().unwrap_or_default(),
    };
    let found = format!("{due} sealed files or patients are past their time");
    (due > 0).then(|| Check::remark("retention", found, "medseal audit retention, then the same with --apply"))
}

/// What is owed after an emergency is a person's task; doctor keeps asking until it is done.
fn emergencies(api: &Api) -> Vec<Check> {
    match api.get("/v1/emergencies") {
        Err(error) => vec![Check::mend("break-glass", error.to_string(), "read the gateway's own log")],
        Ok(list) => items(&list)
            .iter()
            .filter(|bundle| !tasks(bundle).is_empty())
            .map(|bundle| {
                let found = format!("{} left without a consent", text(bundle, "bundle"));
                Check::remark("break-glass", found, tasks(bundle).replace('\n', "; "))
            })
            .collect(),
    }
}

fn chain(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::new(error))
}

/// Less than this, and a person should act, in days.
const DAYS_LEFT_MIN: i64 = 30;

/// More than this behind the log, and the clock was set back, in seconds.
const CLOCK_S_MAX: i64 = 60;

/// More than this between two clocks is worth a remark, in seconds.
const SKEW_S_MAX: u64 = 60;
