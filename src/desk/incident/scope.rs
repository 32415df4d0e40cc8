//! What an incident is about: a key, a partner, an account, a stretch of time, or several of these at once.
//!
//! Rule: what a key reaches is told in words and taken wide: in doubt somebody is affected.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::{Timestamp, stamp};
use crate::gateway::Gateway;
use crate::id::{Digest, InstitutionId};
use crate::partner::{Partner, parse_fingerprint};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::store::Space;

/// What `incident` is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskIncident {
    /// A key that somebody else has: its fingerprint, or an age recipient.
    #[serde(default)]
    pub key: Option<String>,
    /// A partner at whom it happened.
    #[serde(default)]
    pub partner: Option<InstitutionId>,
    /// An account of ours that somebody else used.
    #[serde(default)]
    pub account: Option<u32>,
    /// The first moment, a day in UTC or a time.
    #[serde(default)]
    pub from: Option<String>,
    /// The last moment.
    #[serde(default)]
    pub to: Option<String>,
    /// When it became known; now, if nothing is said.
    #[serde(default)]
    pub known_at: Option<String>,
    /// Whether names and identifiers are in the answer.
    #[serde(default)]
    pub names: bool,
}

/// The same, understood.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) reach: Reach,
    pub(super) partner: Option<InstitutionId>,
    pub(super) account: Option<u32>,
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
    pub(super) known_at: Timestamp,
    /// What the scope is, in words.
    pub(super) words: Vec<String>,
}

/// What a key opens, or lets somebody pretend.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// No key is named.
    Unnamed,
    /// What was sealed to this recipient.
    SealedTo(String),
    /// What was exchanged with this partner.
    Partner(InstitutionId),
    /// Everything that was exchanged.
    Exchanged,
    /// Everybody on file.
    Everybody,
}

impl Scope {
    pub(super) fn of(gateway: &Gateway, asked: &AskIncident) -> Result<Self, Problem> {
        let now = gateway.now();
        let mut words = Vec::new();
        let reach = match asked.key.as_deref().map(str::trim) {
            None => Reach::Unnamed,
            Some(key) => {
                let (reach, says) = reach(gateway, key)?;
                words.push(says);
                reach
            }
        };
        if let Some(partner) = &asked.partner {
            let known = gateway.known_partner(partner)?;
            words.push(format!("what left for or came from {} ({partner})", known.card().name));
        }
        if let Some(uid) = asked.account {
            words.push(format!("what the account {} (uid:{uid}) did", gateway.people.name(uid)));
        }
        let (from, to) = (read(asked.from.as_deref(), false)?, read(asked.to.as_deref(), true)?);
        if let (Some(from), Some(to)) = (from, to)
            && to < from
        {
            return Err(Problem::bad_input(Reason::BadInput, "--to is before --from"));
        }
        if from.is_some() || to.is_some() {
            let end = |at: Option<Timestamp>, open: &str| at.map_or_else(|| open.to_owned(), stamp);
            words.push(format!("from {} to {}", end(from, "the beginning of the log"), end(to, "now")));
        }
        if words.is_empty() {
            return Err(Problem::bad_input(Reason::BadInput, "nothing says what the incident is about")
                .hint("name a key (--key), a partner (--partner), an account (--account) or times (--from, --to)"));
        }
        let known_at = read(asked.known_at.as_deref(), false)?.unwrap_or(now);
        if known_at > now {
            return Err(Problem::bad_input(Reason::BadInput, "--known-at is in the future"));
        }
        Ok(Self { reach, partner: asked.partner.clone(), account: asked.account, from, to, known_at, words })
    }

    /// For the entry that says that this was asked.
    pub(super) fn facts(&self, asked: &AskIncident) -> Value {
        let mut facts = serde_json::Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            value.map(|value| facts.insert(name.to_owned(), value));
        };
        set("key", asked.key.as_deref().map(|key| json!(Digest::of(key.trim().as_bytes()))));
        set("partner", self.partner.as_ref().map(|partner| json!(partner)));
        set("account", self.account.map(|uid| json!(format!("uid:{uid}"))));
        set("from", self.from.map(|at| json!(stamp(at))));
        set("to", self.to.map(|at| json!(stamp(at))));
        Value::Object(facts)
    }

    /// Whether this moment is in it.
    pub(super) fn covers(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at <= to)
    }

    /// Whether it is only about what a partner holds, and not about what lies here.
    pub(super) const fn is_elsewhere(&self) -> bool {
        self.partner.is_some() || matches!(self.reach, Reach::Partner(_) | Reach::SealedTo(_) | Reach::Exchanged)
    }
}

/// What somebody who has this key reaches.
fn reach(gateway: &Gateway, key: &str) -> Result<(Reach, String), Problem> {
    let digest = parse_fingerprint(key).ok().map(|digest| digest.to_string());
    let is = |found: &str| found == key || digest.as_deref() == Some(found);
    let ours = gateway.keys.inventory(gateway.now()).map_err(|error| Problem::internal("the keys", &error))?;
    if let Some(held) = ours.iter().find(|held| is(&held.fingerprint)) {
        let (reach, says) = match held.kind {
            "age" => {
                (Reach::SealedTo(key.to_owned()), "it opens what was sealed to it, if the sealed file is had, too")
            }
            "subjects" => (Reach::Everybody, "with the folder subjects/ it opens everything on file"),
            "log" | "witness" => {
                (Reach::Exchanged, "it opens nothing; the log's word on all of this can be forged with it")
            }
            _ => {
                (Reach::Exchanged, "it opens nothing; whoever has it can pose as us, on the line or under a statement")
            }
        };
        return Ok((reach, format!("our {} key: {says}", held.kind)));
    }
    for row in gateway.rows::<Partner>(Space::Partner, b"")? {
        let partner = row.value;
        let card = partner.card();
        if card.age.iter().any(|age| is(&age.value.to_string())) {
            let says =
                format!("a reading key of {}: it opens what was sealed to it, if the sealed file is had, too", card.id);
            return Ok((Reach::SealedTo(key.to_owned()), says));
        }
        let signing = card.signing.iter().any(|signing| is(&signing.value.fingerprint()));
        let tls = card.tls.iter().any(|tls| is(&Digest::of(tls.value.der()).to_string()));
        if signing || tls || is(&partner.fingerprint().to_string()) {
            let says = format!("a key of {}: whoever has it can pose as that institution", card.id);
            return Ok((Reach::Partner(card.id.clone()), says));
        }
    }
    // A reading key that is on no card any more is still the key to what was sealed to it.
    if key.starts_with("age1") {
        return Ok((Reach::SealedTo(key.to_owned()), format!("what was sealed to {key}")));
    }
    Err(Problem::not_found("no key of ours and no key of a partner has this fingerprint")
        .hint("`medseal key list` shows ours, `medseal partner show ID` a partner's; a key from an old card: name the partner"))
}

/// A day (its first or last moment, in UTC) or a time.
fn read(text: Option<&str>, last: bool) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let bad = || Problem::bad_input(Reason::BadInput, "a time must look like 2026-01-31 or 2026-01-31T10:00:00Z");
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Some(at));
    }
    let day = text.parse::<jiff::civil::Date>().map_err(|_| bad())?;
    let day = if last { day.tomorrow().map_err(|_| bad())? } else { day };
    let at = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| bad())?.timestamp();
    Ok(Some(if last { at - jiff::SignedDuration::from_micros(1) } else { at }))
}
