//! Cases: opened with a question, shown, closed with an outcome.

use serde::{Deserialize, Serialize};

use super::{Staff, free_text};
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::bundle::descriptor::DescribedPatient;
use crate::clock;
use crate::gateway::{Gateway, Row, put};
use crate::id::{BundleId, CaseId, InstitutionId, PatientIdentifier, Purpose};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::{CasePrivate, CaseRecord, InboxRecord, OpinionRead, Outcome, Side, State};
use crate::store::Space;

/// What `case open` is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenCase {
    /// The patient's identifier.
    pub patient: PatientIdentifier,
    /// The institution that is asked.
    pub partner: InstitutionId,
    /// Why data is sent, a code of v3-ActReason.
    pub purpose: Purpose,
    /// What is asked.
    pub question: String,
    /// The patient's name, to compare with the documents.
    #[serde(default)]
    pub name: Option<String>,
    /// The patient's date of birth, `YYYY-MM-DD`.
    #[serde(default)]
    pub birth_date: Option<String>,
}

impl std::fmt::Debug for OpenCase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenCase(hidden)")
    }
}

/// A case as the staff sees it.
#[derive(Serialize)]
pub struct CaseView {
    /// The case.
    pub case: CaseId,
    /// Whether we ask or answer.
    pub side: &'static str,
    /// The other institution.
    pub partner: InstitutionId,
    /// Why data is sent.
    pub purpose: Purpose,
    /// `open` or `closed`.
    pub state: &'static str,
    /// When it was opened.
    pub opened: String,
    /// When it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// The patient, as `SYSTEM|VALUE`; absent in the list and where it is not known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// The patient as documents are compared with them; absent like `patient`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub described: Option<DescribedPatient>,
    /// What is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The bundles sent, with their state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<SentBundle>,
    /// The bundles received.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub received: Vec<BundleId>,
    /// What the opened opinions say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opinions: Vec<OpinionRead>,
}

impl std::fmt::Debug for CaseView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CaseView(hidden)")
    }
}

/// A bundle of a case, in its list.
#[derive(Debug, Serialize)]
pub struct SentBundle {
    /// The bundle.
    pub bundle: BundleId,
    /// Where it stands.
    pub state: State,
}

/// Opens a case.
pub async fn open(gateway: &Gateway, staff: Staff, request: OpenCase) -> Result<CaseId, Problem> {
    gateway.partner(&request.partner)?;
    let question = free_text("question", &request.question, &gateway.config.limits)?;
    let patient = DescribedPatient {
        identifiers: vec![request.patient.clone()],
        name: request.name.as_deref().map(|name| free_text("name", name, &gateway.config.limits)).transpose()?,
        birth_date: request.birth_date.as_deref().map(birth_date).transpose()?,
    };
    let subject = gateway.new_subject(&request.patient)?;
    let record = CaseRecord {
        case: CaseId::random(),
        side: Side::Ours,
        subject: subject.clone(),
        partner: request.partner,
        purpose: request.purpose,
        opened: clock::stamp(gateway.now()),
        closed: None,
    };
    let private = CasePrivate { patient: Some(patient), question, ..CasePrivate::default() };
    let event = Happened::case_opened(&record.case, &record.side, &record.partner, record.purpose.as_str(), &subject);
    let puts = gateway.new_case(&record, &private)?;
    gateway.enter(event.by(staff.uid), Change { puts, ..Change::default() }).await?;
    Ok(record.case)
}

/// Every case, ours and those that partners sent.
pub fn list(gateway: &Gateway) -> Result<Vec<CaseView>, Problem> {
    Ok(gateway.rows::<CaseRecord>(Space::Case, b"")?.into_iter().map(|row| view(&row.value)).collect())
}

/// One case with everything known of it.
pub fn show(gateway: &Gateway, case: &CaseId) -> Result<CaseView, Problem> {
    let record = find(gateway, case)?.value;
    let private = gateway.case_private(&record)?;
    let mut shown = view(&record);
    shown.patient = private.patient.as_ref().and_then(|patient| patient.identifiers.first()).map(ToString::to_string);
    shown.described = private.patient;
    shown.question = (!private.question.is_empty()).then_some(private.question);
    shown.outcome = private.outcome;
    shown.opinions = private.opinions;
    shown.sent = gateway
        .bundles_of(&record.subject)?
        .into_iter()
        .filter(|row| row.value.case == *case && row.value.side == record.side)
        .map(|row| SentBundle { bundle: row.value.bundle.clone(), state: row.value.state() })
        .collect();
    shown.received = gateway
        .rows::<InboxRecord>(Space::Inbox, format!("{}/", record.partner).as_bytes())?
        .into_iter()
        .filter(|row| row.value.case == *case)
        .map(|row| row.value.bundle)
        .collect();
    Ok(shown)
}

/// Closes a case of ours. What waits is cancelled with it.
pub async fn close(gateway: &Gateway, staff: Staff, case: &CaseId, outcome: Outcome) -> Result<CaseView, Problem> {
    // A bundle that changes state at the same moment makes the write fail as a whole: then look again.
    for _ in 1..RACES_MAX {
        let was_open = find(gateway, case)?.value.closed.is_none();
        match close_once(gateway, staff, case, outcome).await {
            Err(problem) if problem.code == Reason::Conflict && problem.status == 409 && was_open => {}
            answer => return answer,
        }
    }
    close_once(gateway, staff, case, outcome).await
}

async fn close_once(gateway: &Gateway, staff: Staff, case: &CaseId, outcome: Outcome) -> Result<CaseView, Problem> {
    let row = find(gateway, case)?;
    if row.value.side != Side::Ours {
        return Err(Problem::conflict(format!("{case} is the partner's case; only they can close it")));
    }
    if row.value.closed.is_some() {
        return Err(Problem::conflict(format!("{case} is closed already")));
    }
    let expect = row.unchanged();
    let now = gateway.now();
    let mut record = row.value;
    record.closed = Some(clock::stamp(now));
    let mut details = gateway.case_private(&record)?;
    details.outcome = Some(outcome);
    let puts = gateway.seal_parts(Space::Case, &row.key, &record.subject, &details)?;
    let mut change = Change { puts, ..Change::default() };
    change.puts.push(put(Space::Case, &row.key, &record, expect));
    for bundle in gateway.bundles_of(&record.subject)? {
        let waits = matches!(bundle.value.state(), State::Waiting | State::Approval)
            && bundle.value.open_attempts().next().is_none();
        if waits && bundle.value.case == *case {
            crate::release::cancel(&mut change, bundle, Reason::CaseClosed, now);
        }
    }
    gateway.enter(Happened::case_closed(case, &record.subject, outcome).by(staff.uid), change).await?;
    show(gateway, case)
}

/// The case with this id: ours, or the one partner's that has it.
pub fn find(gateway: &Gateway, case: &CaseId) -> Result<Row<CaseRecord>, Problem> {
    if let Some(row) = gateway.row(Space::Case, &CaseRecord::key(&Side::Ours, case))? {
        return Ok(row);
    }
    let mut found: Vec<Row<CaseRecord>> = gateway
        .rows::<CaseRecord>(Space::Case, b"theirs/")?
        .into_iter()
        .filter(|row| row.value.case == *case)
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(row), true) => Ok(row),
        // Two partners chose the same id: with 80 random bits, one of them did so on purpose.
        (Some(_), false) => Err(Problem::conflict(format!("more than one partner has a case {case}"))),
        (None, _) => Err(Problem::not_found(format!("there is no case {case}")).hint("`medseal case list` shows them")),
    }
}

fn birth_date(text: &str) -> Result<String, Problem> {
    text.parse::<jiff::civil::Date>()
        .map(|date| date.to_string())
        .map_err(|_| Problem::bad_input(Reason::BadInput, "a birth date must look like 1968-03-14"))
}

fn view(record: &CaseRecord) -> CaseView {
    CaseView {
        case: record.case.clone(),
        side: if record.side == Side::Ours { "ours" } else { "theirs" },
        partner: record.partner.clone(),
        purpose: record.purpose.clone(),
        state: if record.closed.is_some() { "closed" } else { "open" },
        opened: record.opened.clone(),
        closed: record.closed.clone(),
        patient: None,
        described: None,
        question: None,
        outcome: None,
        sent: Vec::new(),
        received: Vec::new(),
        opinions: Vec::new(),
    }
}

/// How often a closing looks again when bundles change under it.
const RACES_MAX: usize = 20;
