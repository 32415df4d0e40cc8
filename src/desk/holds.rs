//! Legal holds: while one stands, nothing of the patient is destroyed, neither by an erasure nor by a recall.
//!
//! Rule: placing one and lifting one each take two people of the staff. What one person asks for forbids at once, for as
//! long as an approval counts, and never allows anything.

use serde::{Deserialize, Serialize};

use super::{Staff, free_text};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::clock;
use crate::gateway::{Gateway, put};
use crate::id::{PatientIdentifier, SubjectId};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::{ErasureRecord, HoldRecord, Word};
use crate::store::{Delete, Expect, Space};

/// What `hold place` and `hold lift` are given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskHold {
    /// The patient.
    pub patient: PatientIdentifier,
    /// Why; sealed under the patient's key.
    pub reason: String,
}

impl std::fmt::Debug for AskHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AskHold(hidden)")
    }
}

/// What `hold confirm` is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmHold {
    /// The patient.
    pub patient: PatientIdentifier,
}

impl std::fmt::Debug for ConfirmHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConfirmHold(hidden)")
    }
}

/// A hold as the staff sees it.
#[derive(Debug, Serialize)]
pub struct HoldView {
    /// The patient's pseudonym.
    pub subject: SubjectId,
    /// `asked`, `placed`, `lift-asked`, `lifted` or `lapsed`.
    pub state: &'static str,
    /// Whether it forbids destruction now.
    pub forbids: bool,
    /// Who asked for it.
    pub asked_by: String,
    /// When.
    pub asked: String,
    /// Until when it forbids without a second person; absent once it is confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_until: Option<String>,
    /// Who confirmed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<String>,
    /// Who asked to lift it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lift_asked_by: Option<String>,
    /// Who confirmed that it is lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifted_by: Option<String>,
}

/// Asks for a hold; it forbids at once and waits for a second person.
pub async fn place(gateway: &Gateway, staff: Staff, asked: AskHold) -> Result<HoldView, Problem> {
    let reason = free_text("reason", &asked.reason, &gateway.config.limits)?;
    let (subject, word) = (subject(gateway, &asked.patient)?, word(gateway, staff)?);
    let now = gateway.now();
    let row = gateway.hold_of(&subject)?;
    if row.as_ref().is_some_and(|row| row.value.forbids(now)) {
        return Err(Problem::conflict("a hold stands on this patient already").hint("`medseal hold list` shows it"));
    }
    let life = jiff::SignedDuration::from_secs(i64::from(gateway.config.staff.approval_s_max));
    let hold = HoldRecord {
        subject: subject.clone(),
        asked: word,
        asked_until: clock::stamp(now + life),
        confirmed: None,
        lift_asked: None,
        lifted: None,
    };
    let expect = row.map_or(Expect::Absent, |row| row.unchanged());
    enter(gateway, staff, hold, expect, "place-asked", Some(&reason)).await
}

/// Asks that a hold be lifted; it stands until a second person confirms.
pub async fn lift(gateway: &Gateway, staff: Staff, asked: AskHold) -> Result<HoldView, Problem> {
    let reason = free_text("reason", &asked.reason, &gateway.config.limits)?;
    let (subject, word) = (subject(gateway, &asked.patient)?, word(gateway, staff)?);
    let Some(row) =
        gateway.hold_of(&subject)?.filter(|row| row.value.confirmed.is_some() && row.value.lifted.is_none())
    else {
        return Err(Problem::conflict("no confirmed hold stands on this patient")
            .hint("one that nobody has confirmed lapses by itself; `medseal hold list` says when"));
    };
    let expect = row.unchanged();
    let hold = HoldRecord { lift_asked: Some(word), ..row.value };
    enter(gateway, staff, hold, expect, "lift-asked", Some(&reason)).await
}

/// A second person confirms what the first has asked for: the hold, or that it is lifted.
pub async fn confirm(gateway: &Gateway, staff: Staff, asked: ConfirmHold) -> Result<HoldView, Problem> {
    let (subject, word) = (subject(gateway, &asked.patient)?, word(gateway, staff)?);
    let nothing = || Problem::conflict("nothing about a hold on this patient waits for a second person");
    let row = gateway.hold_of(&subject)?.ok_or_else(nothing)?;
    let (expect, mut hold) = (row.unchanged(), row.value);
    let (asked, action) = match (&hold.confirmed, &hold.lift_asked, &hold.lifted) {
        (None, _, _) if hold.forbids(gateway.now()) => (&hold.asked, "placed"),
        (Some(_), Some(asked), None) => (asked, "lifted"),
        _ => return Err(nothing().hint("`medseal hold list` shows how far each is")),
    };
    if asked.by == staff.uid {
        let name = gateway.people.name(staff.uid);
        return Err(Problem::refused(
            Reason::Approver,
            format!("{name} asked for it; the second person must be another one"),
        ));
    }
    match action {
        "placed" => hold.confirmed = Some(word),
        _ => hold.lifted = Some(word),
    }
    enter(gateway, staff, hold, expect, action, None).await
}

/// Every hold that was ever asked for, by pseudonym.
pub fn list(gateway: &Gateway) -> Result<Vec<HoldView>, Problem> {
    let rows = gateway.rows::<HoldRecord>(Space::Index, b"hold/")?;
    Ok(rows.into_iter().map(|row| view(gateway, row.value)).collect())
}

async fn enter(
    gateway: &Gateway,
    staff: Staff,
    hold: HoldRecord,
    expect: Expect,
    action: &str,
    reason: Option<&str>,
) -> Result<HoldView, Problem> {
    let change = Change {
        puts: vec![put(Space::Index, &HoldRecord::key(&hold.subject), &hold, expect)],
        // An erasure that was recorded in between wins: there is nothing left to hold.
        deletes: vec![Delete { space: Space::Index, key: ErasureRecord::key(&hold.subject), expect: Expect::Absent }],
        ..Change::default()
    };
    gateway.enter(Happened::hold(&hold.subject, action, reason).by(staff.uid), change).await?;
    Ok(view(gateway, hold))
}

fn subject(gateway: &Gateway, patient: &PatientIdentifier) -> Result<SubjectId, Problem> {
    gateway.find_subject(patient)?.ok_or_else(|| Problem::not_found("nothing is on file under this identifier"))
}

/// A word counts only from a person: an account that medseal.toml lists under `[staff]`.
fn word(gateway: &Gateway, staff: Staff) -> Result<Word, Problem> {
    if gateway.people.has(staff.uid) {
        return Ok(Word { by: staff.uid, at: clock::stamp(gateway.now()) });
    }
    let name = gateway.people.name(staff.uid);
    let detail =
        format!("{name} is not one of the people under [staff] in medseal.toml: nobody knows whose word it is");
    Err(Problem::refused(Reason::Approver, detail)
        .hint("two people of the staff, each with an account of their own, do it"))
}

fn view(gateway: &Gateway, hold: HoldRecord) -> HoldView {
    let forbids = hold.forbids(gateway.now());
    let state = match (&hold.confirmed, &hold.lift_asked, &hold.lifted) {
        (_, _, Some(_)) => "lifted",
        (Some(_), Some(_), None) => "lift-asked",
        (Some(_), None, None) => "placed",
        (None, _, None) if forbids => "asked",
        (None, _, None) => "lapsed",
    };
    let name = |word: Option<&Word>| word.map(|word| gateway.people.name(word.by));
    HoldView {
        state,
        forbids,
        asked_by: gateway.people.name(hold.asked.by),
        asked_until: hold.confirmed.is_none().then_some(hold.asked_until),
        confirmed_by: name(hold.confirmed.as_ref()),
        lift_asked_by: name(hold.lift_asked.as_ref()),
        lifted_by: name(hold.lifted.as_ref()),
        asked: hold.asked.at,
        subject: hold.subject,
    }
}
