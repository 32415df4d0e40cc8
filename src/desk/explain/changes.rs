//! What would turn a no into a yes: steps that a person can take, tried on the question before they are advised.
//!
//! Rule: nothing is advised that was not tried. Each way shown is a smallest set of steps with which the decision, asked
//! again as everything stands, says yes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan as _;
use serde::Serialize;

use super::needs::{Needs, listed};
use crate::bundle::document::Document;
use crate::clock::{self, Timestamp};
use crate::decision::{self, Approval, Gates, Kind, Permit, Request};
use crate::id::{ConsentId, Digest};
use crate::partner::{Standing, TransferBasis};
use crate::problem::Problem;

/// One way to a yes: steps that lead there together, and not without one of them.
#[derive(Clone, Debug, Serialize)]
pub struct Way {
    /// The steps.
    pub steps: Vec<Advice>,
    /// What follows: whether the bundle leaves by itself then.
    pub then: String,
}

/// One step, for a person.
#[derive(Clone, Debug, Serialize)]
pub struct Advice {
    /// What to do, in words.
    pub says: String,
    /// The command that does it, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The documents that it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<String>,
    /// What a new consent must say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<Needs>,
}

/// A step that may be tried.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Step {
    Resume,
    NewCard,
    Agree,
    Basis,
    NewCase,
    Approve(u32),
    StateLabels,
    StateClass,
    LeaveOut,
    Withdraw(ConsentId),
    NewConsent,
}

/// Finds the smallest sets of steps that lead to a yes. `fresh` reads the question anew for each try.
pub(super) fn ways(
    gates: &Gates,
    now: Timestamp,
    is_final: bool,
    fresh: impl Fn() -> Result<Request, Problem>,
) -> Result<Vec<Way>, Problem> {
    let steps = possible(&fresh()?, now);
    let mut found: Vec<Found> = Vec::new();
    for chosen in (1..=STEPS_MAX.min(steps.len())).flat_map(|size| choices(&steps, size)) {
        // Whatever leads there with fewer steps, and leaves no more behind, is the better advice.
        if found.iter().any(|known| known.left_out == 0 && known.is_within(&chosen)) {
            continue;
        }
        let mut request = fresh()?;
        let all = request.documents.len();
        if let Some(advice) = attempt(gates, &mut request, &chosen, now) {
            let left_out = all.saturating_sub(request.documents.len());
            if found.iter().any(|known| known.left_out <= left_out && known.is_within(&chosen)) {
                continue;
            }
            let again = is_final || chosen.iter().any(Step::makes_another_bundle);
            found.push(Found { steps: chosen, left_out, way: Way { steps: advice, then: then(&request, again) } });
        }
    }
    let mut ways: Vec<Way> = found.into_iter().take(WAYS_MAX).map(|found| found.way).collect();
    if ways.is_empty() {
        ways.extend(wait(gates, now, &fresh)?);
    }
    Ok(ways)
}

/// A way that was tried and leads to a yes.
struct Found {
    steps: Vec<Step>,
    left_out: usize,
    way: Way,
}

impl Found {
    fn is_within(&self, steps: &[Step]) -> bool {
        self.steps.iter().all(|step| steps.contains(step))
    }
}

/// The steps that would change something of this request.
fn possible(request: &Request, now: Timestamp) -> Vec<Step> {
    let (partner, records) = (&request.partner, request.kind == Kind::Records);
    let in_force = partner.agreement_from <= now && partner.agreement_until.is_none_or(|until| now < until);
    let named = [TransferBasis::Adequacy, TransferBasis::Scc, TransferBasis::UkIdta, TransferBasis::Attested];
    let candidates = [
        (Step::Resume, partner.standing != Standing::Active),
        (
            Step::NewCard,
            partner.card_expires <= now || !partner.has_valid_recipient_key && !partner.recipient_key_begins_later,
        ),
        (Step::Agree, records && !in_force),
        (Step::Basis, records && partner.country != request.origin_country && !named.contains(&partner.transfer_basis)),
        (Step::NewCase, records && (!request.case.open || !request.case.partners.contains(&partner.id))),
        (Step::Approve(1), request.confirmation.approvals.is_empty()),
        (Step::Approve(2), request.confirmation.approvals.len() < 2),
        (Step::StateLabels, request.documents.iter().any(|document| document.confidentiality.assumed)),
        (Step::StateClass, request.documents.iter().any(|document| document.class.is_none())),
        (Step::LeaveOut, request.documents.len() > 1),
    ];
    let mut steps: Vec<Step> = candidates.into_iter().filter(|(_, helps)| *helps).map(|(step, _)| step).collect();
    if records {
        let standing = request.consents.iter().filter(|kept| kept.withdrawn.is_none());
        steps.extend(standing.take(CONSENTS_TRIED).map(|kept| Step::Withdraw(kept.id.clone())));
        steps.push(Step::NewConsent);
    }
    steps
}

/// Every choice of `size` steps, in their order.
fn choices(steps: &[Step], size: usize) -> Vec<Vec<Step>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, first) in steps.iter().enumerate() {
        for mut rest in choices(&steps[at + 1..], size - 1) {
            rest.insert(0, first.clone());
            all.push(rest);
        }
    }
    all
}

/// Takes the steps on `request`; the advice, if the answer is yes then.
fn attempt(gates: &Gates, request: &mut Request, steps: &[Step], now: Timestamp) -> Option<Vec<Advice>> {
    let mut advice = Vec::new();
    for step in steps {
        advice.push(step.take(gates, request, now)?);
    }
    decision::decide(gates, request, now).is_ok().then_some(advice)
}

impl Step {
    /// Whether the bundle that could leave then is another one than the one asked about.
    const fn makes_another_bundle(&self) -> bool {
        matches!(self, Self::NewCase | Self::StateLabels | Self::StateClass | Self::LeaveOut | Self::NewCard)
    }

    /// Makes the request what it would be after this step; `None` when the step does nothing here.
    fn take(&self, gates: &Gates, request: &mut Request, now: Timestamp) -> Option<Advice> {
        let partner = request.partner.id.clone();
        let plain = |says: String, command: Option<String>| {
            Some(Advice { says, command, documents: Vec::new(), consent: None })
        };
        let year = now.checked_add((24 * 365).hours()).unwrap_or(now);
        match self {
            Self::Resume => {
                let removed = request.partner.standing == Standing::Removed;
                request.partner.standing = Standing::Active;
                if removed {
                    let command = "medseal partner add CARD --fingerprint FP".to_owned();
                    plain(format!("register {partner} again, by its card"), Some(command))
                } else {
                    plain(format!("resume the partner {partner}"), Some(format!("medseal partner resume {partner}")))
                }
            }
            Self::NewCard => {
                let ended = request.partner.card_expires <= now;
                request.partner.card_expires = request.partner.card_expires.max(year);
                request.partner.has_valid_recipient_key = true;
                request.partner.recipient_key_begins_later = false;
                if ended {
                    let says = format!("ask {partner} for its new card and register it");
                    plain(says, Some("medseal partner add CARD".to_owned()))
                } else {
                    plain(format!("seal the records to the key that is on the card of {partner} now"), None)
                }
            }
            Self::Agree => {
                (request.partner.agreement_from, request.partner.agreement_until) = (now, None);
                let command = "medseal partner add CARD --agreed-from DATE --agreed-until DATE".to_owned();
                plain(
                    format!("make an agreement with {partner} that is in force now, and record its dates"),
                    Some(command),
                )
            }
            Self::Basis => {
                request.partner.transfer_basis = TransferBasis::Scc;
                let command = "medseal partner add CARD --basis adequacy|scc|uk-idta".to_owned();
                plain(format!("state what makes a transfer to {} lawful", request.partner.country), Some(command))
            }
            Self::NewCase => {
                request.case.open = true;
                request.case.partners.insert(partner.clone());
                let purpose = &request.case.purpose;
                plain(
                    format!("open a new case with {partner}, if the question still stands"),
                    Some(format!(
                        "medseal case open --partner {partner} --purpose {purpose} --patient P --question TEXT"
                    )),
                )
            }
            Self::Approve(people) => {
                confirm(request, *people, now);
                let who = match people {
                    1 => "somebody of the staff other than the sender confirms it".to_owned(),
                    people => format!("{people} people of the staff other than the sender confirm it"),
                };
                plain(who, Some(format!("medseal approve {}", request.bundle)))
            }
            Self::StateLabels => {
                let assumed = |document: &&mut Document| document.confidentiality.assumed;
                let stated = request.documents.iter_mut().filter(assumed).map(|document| {
                    document.confidentiality.assumed = false;
                    document.path.to_string()
                });
                let documents: Vec<String> = stated.collect();
                let says =
                    "say how confidential each of these documents is (what was assumed is tried here)".to_owned();
                let command = Some(send_with_list(request));
                Some(Advice { says, command, documents, consent: None })
            }
            Self::StateClass => state_class(gates, request, now),
            Self::LeaveOut => leave_out(gates, request, now).map(|documents| {
                let count = documents.len();
                let says = if count == 1 {
                    "leave this document out".to_owned()
                } else {
                    format!("leave these {count} documents out")
                };
                Advice { says, command: None, documents, consent: None }
            }),
            Self::Withdraw(id) => {
                let before = request.consents.len();
                request.consents.retain(|kept| kept.id != *id);
                let says = format!("if the patient does not hold to {id} any more, record that");
                let command = Some(format!("medseal consent withdraw {id} --reason TEXT"));
                (request.consents.len() < before).then(|| plain(says, command)).flatten()
            }
            Self::NewConsent => {
                let needs = Needs::of(request);
                request.consents.push(needs.on_file(request, now));
                Some(Advice {
                    says: needs.in_words(),
                    command: Some("medseal consent add FILE".to_owned()),
                    documents: Vec::new(),
                    consent: Some(needs),
                })
            }
        }
    }
}

/// Says of the documents without a class that they are of one which a consent names, if that lets them go.
fn state_class(gates: &Gates, request: &mut Request, now: Timestamp) -> Option<Advice> {
    let classes: BTreeSet<String> = request
        .consents
        .iter()
        .filter(|kept| kept.withdrawn.is_none())
        .filter_map(|kept| kept.consent.as_ref().ok())
        .flat_map(|consent| consent.classes().into_iter().map(str::to_owned))
        .collect();
    let open: Vec<usize> =
        (0..request.documents.len()).filter(|index| request.documents[*index].class.is_none()).collect();
    let all = request.documents.clone();
    let lets_go: BTreeSet<String> = classes
        .into_iter()
        .take(CLASSES_TRIED)
        .filter(|class| {
            request.documents = open.iter().map(|index| all[*index].clone()).collect();
            for document in &mut request.documents {
                document.class = Some(class.clone());
            }
            decision::decide(gates, request, now).is_ok()
        })
        .collect();
    request.documents = all;
    let class = lets_go.first()?.clone();
    for index in &open {
        request.documents[*index].class = Some(class.clone());
    }
    let which = if lets_go.len() == 1 { "the class" } else { "one of the classes" };
    Some(Advice {
        says: format!("if they are of {which} {}, state so", listed(&lets_go)),
        command: Some(send_with_list(request)),
        documents: open.iter().map(|index| request.documents[*index].path.to_string()).collect(),
        consent: None,
    })
}

fn send_with_list(request: &Request) -> String {
    format!("medseal send PATH --case {} --documents LIST", request.case.id)
}

/// Drops the documents that cannot leave, and names them. Where no consent permits all that are left, those that one
/// consent permits stay.
fn leave_out(gates: &Gates, request: &mut Request, now: Timestamp) -> Option<Vec<String>> {
    let all = std::mem::take(&mut request.documents);
    let mut answers: BTreeMap<String, Option<Option<ConsentId>>> = BTreeMap::new();
    let mut permitted: BTreeMap<Option<ConsentId>, Vec<usize>> = BTreeMap::new();
    for (index, document) in all.iter().enumerate() {
        let alike = super::gates::likeness(document);
        if !answers.contains_key(&alike) {
            if answers.len() == KINDS_MAX {
                request.documents = all;
                return None;
            }
            request.documents = vec![document.clone()];
            let answer = decision::decide(gates, request, now).ok();
            let by = |permit: Permit| permit.consent().map(|(consent, _)| consent.clone());
            answers.insert(alike.clone(), answer.map(by));
        }
        if let Some(by) = &answers[&alike] {
            permitted.entry(by.clone()).or_default().push(index);
        }
    }
    let keep = |indexes: &BTreeSet<usize>| indexes.iter().map(|index| all[*index].clone()).collect::<Vec<Document>>();
    let mut staying: BTreeSet<usize> = permitted.values().flatten().copied().collect();
    request.documents = keep(&staying);
    if !staying.is_empty() && decision::decide(gates, request, now).is_err() {
        staying = permitted.into_values().max_by_key(Vec::len).unwrap_or_default().into_iter().collect();
        request.documents = keep(&staying);
    }
    let left_out: Vec<String> =
        (0..all.len()).filter(|index| !staying.contains(index)).map(|index| all[index].path.to_string()).collect();
    (!staying.is_empty() && !left_out.is_empty()).then_some(left_out)
}

/// Makes so many others stand behind the release as it is now.
fn confirm(request: &mut Request, people: u32, now: Timestamp) {
    let sealed = *request.confirmation.sealed.get_or_insert((Digest::of(b""), Digest::of(b"")));
    let until = now.checked_add(1.hours()).unwrap_or(now);
    let approval = |by| Approval {
        by,
        at: clock::stamp(now),
        until: clock::stamp(until),
        sealed_sha256: sealed.0,
        manifest_sha256: sealed.1,
        card: request.partner.card,
        consents: request.consents_digest(),
    };
    let others = (0..=people).filter(|by| *by != request.confirmation.sent_by).take(people as usize);
    request.confirmation.approvals = others.map(approval).collect();
}

fn then(request: &Request, again: bool) -> String {
    match (request.kind, again) {
        (Kind::Records, true) => "send the records again".to_owned(),
        (Kind::Opinion, true) => "give the opinion again".to_owned(),
        (_, false) => "the bundle leaves by itself at its next attempt".to_owned(),
    }
}

/// Whether time alone mends it: the first day from which the answer is yes.
fn wait(gates: &Gates, now: Timestamp, fresh: &impl Fn() -> Result<Request, Problem>) -> Result<Option<Way>, Problem> {
    let mut request = fresh()?;
    let today = now.to_zoned(request.zone.clone()).date();
    for days in 1..=DAYS_TRIED {
        let Ok(day) = today.checked_add(days.days()) else { break };
        let Ok(noon) = day.at(12, 0, 0, 0).to_zoned(request.zone.clone()) else { break };
        request.read_at = noon.timestamp();
        if decision::decide(gates, &request, noon.timestamp()).is_ok() {
            let says = format!("wait until {day}: nothing else is missing then");
            let steps = vec![Advice { says, command: None, documents: Vec::new(), consent: None }];
            return Ok(Some(Way { steps, then: then(&request, false) }));
        }
    }
    Ok(None)
}

/// More steps at once are no advice.
const STEPS_MAX: usize = 3;
/// More ways than these are not shown.
const WAYS_MAX: usize = 4;
/// So many consents on file are tried for being withdrawn.
const CONSENTS_TRIED: usize = 4;
/// So many classes that consents name are tried for documents that state none.
const CLASSES_TRIED: usize = 20;
/// So many days ahead are tried.
const DAYS_TRIED: i64 = 366;
/// With more kinds of documents than these, leaving some out is not tried.
const KINDS_MAX: usize = 200;
