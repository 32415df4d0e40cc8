//! All consents of a patient against one release: permitted by one of them, or refused with the most helpful reason.
//!
//! Rule: denials override, across every consent on file that is not withdrawn; a permission comes wholly from one.
//! A denial outlives its own end date: only the patient's withdrawal of it, or a new status, lifts it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::bundle::document::Document;
use crate::id::{ConsentId, Country, InstitutionId, PatientIdentifier, Purpose};
use crate::reason::Reason;

use super::terminology::Fit;
use super::{Consent, Grantor, OPEN_ENDED_DAYS_MAX, OnFile, Provision, Source, Status};

/// What is asked of the patient's consents.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "it holds the patient's identifiers")]
pub struct Question<'a> {
    /// Every identifier under which the patient is known.
    pub patient: &'a [PatientIdentifier],
    /// Who is to receive.
    pub recipient: &'a InstitutionId,
    /// The recipient's country, as its card stands now.
    pub country: &'a Country,
    /// Why.
    pub purpose: &'a Purpose,
    /// What.
    pub documents: &'a [Document],
    /// The obligations that this way of delivery meets.
    pub obligations_met: &'a BTreeSet<String>,
    /// The zone in which days begin and end.
    pub zone: &'a TimeZone,
    /// The time of the decision.
    pub now: Timestamp,
}

/// What the consents answer.
#[derive(Debug)]
pub enum Answer {
    /// Each of these permits every document by itself; the one that ends first comes first. Never empty.
    Permits(Vec<Granted>),
    /// None does; at least one finding says why, the most helpful one first.
    Refuses(Vec<Finding>),
}

/// The one consent that permits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Granted {
    /// Which one.
    pub consent: ConsentId,
    /// Which version of its record.
    pub version: u64,
    /// The first instant at which it no longer permits.
    pub until: Timestamp,
    /// Whether it names every sensitivity of the documents.
    pub sensitivities_named: bool,
    /// What it asks for: obligations and refrains of v3-ActCode.
    pub obligations: BTreeSet<String>,
    /// When it was given; `None`: it does not say.
    pub given: Option<Timestamp>,
    /// When the recipient must have erased what it got; `None`: it does not say.
    pub erase_at: Option<Timestamp>,
    /// Who gave it.
    pub grantor: Grantor,
    /// Version or digest of the notice about a transfer without adequate protection that the patient was given.
    pub risk_notice: Option<String>,
    /// Whether it names the recipient's country itself, beyond naming the recipient.
    pub cross_border: bool,
    /// In which form it was written.
    pub source: Source,
    /// Which of its provisions permits, as a FHIR path.
    pub path: String,
}

/// One cause of a refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The document that it concerns, as an index into the question's list; `None`: the release as a whole.
    pub document: Option<usize>,
    /// The code.
    pub reason: Reason,
    /// One plain sentence, without the patient and without a file's name.
    pub text: String,
}

/// Asks every consent on file.
pub fn evaluate(on_file: &[OnFile], question: &Question<'_>) -> Answer {
    let mut denials: Vec<Finding> = on_file.iter().flat_map(|kept| denials_of(kept, question)).collect();
    if !denials.is_empty() {
        denials.sort_by(|a, b| (a.reason, a.document, &a.text).cmp(&(b.reason, b.document, &b.text)));
        denials.dedup();
        return Answer::Refuses(denials);
    }
    let mut permits: Vec<Granted> = Vec::new();
    let mut refusals: Vec<Refusal> = Vec::new();
    for kept in on_file {
        match assess(kept, question) {
            Assessed::Permits(granted) => permits.push(granted),
            Assessed::Refuses(refusal) => refusals.push(refusal),
            Assessed::Aside => {}
        }
    }
    if !permits.is_empty() {
        permits.sort_by(|a, b| (a.until, &a.consent).cmp(&(b.until, &b.consent)));
        return Answer::Permits(permits);
    }
    let best = refusals.into_iter().min_by(Refusal::order);
    Answer::Refuses(best.map_or_else(|| vec![nothing_on_file()], |refusal| refusal.findings))
}

/// What one consent denies; a consent that cannot be understood might deny anything.
fn denials_of(kept: &OnFile, question: &Question<'_>) -> Vec<Finding> {
    if kept.withdrawn.is_some() {
        return Vec::new();
    }
    let consent = match &kept.consent {
        Ok(consent) => consent,
        Err(error) => {
            let text = format!("{} is on file and cannot be evaluated: {error}", kept.id);
            return vec![Finding { document: None, reason: Reason::ConsentUnsupported, text }];
        }
    };
    let begun = consent.period.is_none_or(|period| period.from(question.zone) <= question.now);
    if !consent.is_in_force() || is_of(consent, question.patient) == Fit::No || !begun {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for denial in consent.denials(question) {
        let finding = |document, what| Finding {
            document,
            reason: Reason::ConsentDenied,
            text: format!("the patient excludes {what} ({})", kept.id),
        };
        let denied = |document: &Document| denial.holds(question, document) != Fit::No;
        if denial.depends_on_the_document() {
            let documents = question.documents.iter().enumerate().filter(|(_, document)| denied(document));
            findings.extend(documents.map(|(index, _)| finding(Some(index), "this document")));
        } else if question.documents.iter().any(denied) {
            findings.push(finding(None, "this release"));
        }
    }
    findings
}

enum Assessed {
    Permits(Granted),
    Refuses(Refusal),
    /// Not this patient's, not about this, or a denial: nothing to say about a permission.
    Aside,
}

/// Why one consent does not permit, and how near it came.
struct Refusal {
    /// Smaller is more helpful.
    rank: u8,
    findings: Vec<Finding>,
    id: ConsentId,
}

impl Refusal {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        (self.rank, self.findings.len(), &self.id).cmp(&(other.rank, other.findings.len(), &other.id))
    }
}

fn assess(kept: &OnFile, question: &Question<'_>) -> Assessed {
    let Ok(consent) = &kept.consent else { return Assessed::Aside };
    if !consent.about_privacy || is_of(consent, question.patient) != Fit::Yes {
        return Assessed::Aside;
    }
    let refusal = |rank, findings| Refusal { rank, findings, id: kept.id.clone() };
    let mut refusals = Vec::new();
    let mut open = Vec::new();
    for grant in consent.grants() {
        let lapsed = lapsed(kept, consent, grant, question);
        if let Some((rank, finding)) = outside_request(kept, consent, grant, question) {
            // What has ended and was about something else is of no help.
            refusals.extend(lapsed.is_none().then(|| refusal(rank, vec![finding])));
        } else if let Some(finding) = lapsed {
            let covers = left_out(kept, &[grant], question).is_empty();
            let rank = match (covers, finding.reason) {
                (true, Reason::ConsentWithdrawn) => WITHDRAWN,
                (true, _) => LAPSED,
                (false, _) => LAPSED_AND_LEAVES_OUT,
            };
            refusals.push(refusal(rank, vec![finding]));
        } else if consent.until(grant, question.zone).is_none() {
            refusals.push(refusal(CLOSED, vec![endless(kept)]));
        } else {
            open.push(grant);
        }
    }
    if !open.is_empty() {
        let left_out = left_out(kept, &open, question);
        if left_out.is_empty() {
            return granted(kept, consent, &open, question).map_or(Assessed::Aside, Assessed::Permits);
        }
        refusals.push(refusal(LEAVES_OUT, left_out));
    }
    refusals.into_iter().min_by(Refusal::order).map_or(Assessed::Aside, Assessed::Refuses)
}

/// The documents that none of these permissions surely covers, each with what stands in the way of the first.
fn left_out(kept: &OnFile, grants: &[&Provision], question: &Question<'_>) -> Vec<Finding> {
    let uncovered = |document: &Document| {
        let mut reasons = grants.iter().map(|grant| grant.limits.leaves_out(document, question.zone));
        reasons.all(|reason| reason.is_some())
    };
    let documents = question.documents.iter().enumerate().filter(|(_, document)| uncovered(document));
    documents
        .filter_map(|(index, document)| {
            let reason = grants.iter().find_map(|grant| grant.limits.leaves_out(document, question.zone))?;
            let text = format!("{} ({})", left_out_text(reason, document), kept.id);
            Some(Finding { document: Some(index), reason, text })
        })
        .collect()
}

/// What the consent grants by these permissions, which together cover every document. `None` if one does not hold
/// after all, which only a denial of the same consent could cause, and that was heard before.
fn granted(kept: &OnFile, consent: &Consent, open: &[&Provision], question: &Question<'_>) -> Option<Granted> {
    let mut used: Vec<&Provision> = Vec::new();
    let mut sensitivities_named = true;
    for document in question.documents {
        let covering = || open.iter().filter(|grant| grant.holds(question, document) == Fit::Yes);
        let naming = covering().find(|grant| grant.limits.names_sensitivities_of(document));
        sensitivities_named &= naming.is_some();
        let grant = naming.or_else(|| covering().next())?;
        if !used.iter().any(|other| std::ptr::eq(*other, *grant)) {
            used.push(grant);
        }
    }
    let ends = used.iter().flat_map(|grant| [consent.until(grant, question.zone), grant.lifted_until(question)]);
    let mut paths: Vec<&str> = used.iter().map(|grant| grant.path.as_str()).collect();
    paths.sort_unstable();
    let terms = &consent.terms;
    Some(Granted {
        consent: kept.id.clone(),
        version: kept.version,
        until: ends.flatten().min()?,
        sensitivities_named,
        obligations: used.iter().flat_map(|grant| &grant.limits.handling).chain(&terms.obligations).cloned().collect(),
        given: consent.given.map(|moment| moment.start(question.zone)),
        erase_at: terms.erase_at.map(|moment| moment.end(question.zone)),
        grantor: terms.grantor,
        risk_notice: terms.risk_notice.clone(),
        cross_border: terms.countries.contains(question.country),
        source: consent.source,
        path: paths.join(", "),
    })
}

// How helpful a refusal is to the person who reads it: what stopped a release that was otherwise covered comes first.
const WITHDRAWN: u8 = 0;
const LEAVES_OUT: u8 = 1;
const LAPSED: u8 = 2;
const LAPSED_AND_LEAVES_OUT: u8 = 3;
const CLOSED: u8 = 4;
const OTHER_PURPOSE: u8 = 5;
const OTHER_COUNTRY: u8 = 6;
const OTHER_RECIPIENT: u8 = 7;

/// Why the consent does not permit now, were it to cover the release.
fn lapsed(kept: &OnFile, consent: &Consent, grant: &Provision, question: &Question<'_>) -> Option<Finding> {
    let finding = |reason, text: String| Some(Finding { document: None, reason, text });
    let id = &kept.id;
    if kept.withdrawn.is_some() {
        return finding(Reason::ConsentWithdrawn, format!("the patient has withdrawn the consent ({id})"));
    }
    if consent.status == Status::NotActive {
        return finding(Reason::ConsentInactive, format!("the consent on file is not active ({id})"));
    }
    if consent.until(grant, question.zone).is_some_and(|until| until <= question.now) {
        let ended = [consent.period, grant.period].into_iter().flatten().any(|period| period.end.is_some());
        let why = match consent.terms.erase_at {
            _ if ended => "the consent has ended".to_owned(),
            Some(erase) if erase.end(question.zone) <= question.now => {
                "the recipient would have to erase the documents at once".to_owned()
            }
            _ => format!("the consent names no end and was given more than {OPEN_ENDED_DAYS_MAX} days ago"),
        };
        return finding(Reason::ConsentExpired, format!("{why} ({id})"));
    }
    if consent.from(grant, question.zone) > question.now {
        return finding(Reason::ConsentNotYet, format!("the consent begins later ({id})"));
    }
    None
}

/// Why the consent does not cover this request, whatever the documents are.
fn outside_request(
    kept: &OnFile,
    consent: &Consent,
    grant: &Provision,
    question: &Question<'_>,
) -> Option<(u8, Finding)> {
    let (limits, id) = (&grant.limits, &kept.id);
    let finding = |rank, reason, text: String| Some((rank, Finding { document: None, reason, text }));
    if limits.recipients.is_empty() {
        return finding(OTHER_RECIPIENT, Reason::Recipient, format!("the consent names no recipient at all ({id})"));
    }
    if limits.fits_recipient(question.recipient) != Fit::Yes {
        let text = format!("the consent does not name {} as a recipient ({id})", question.recipient);
        return finding(OTHER_RECIPIENT, Reason::Recipient, text);
    }
    match kept.countries.get(question.recipient) {
        Some(country) if country == question.country => {}
        Some(country) => {
            let text = format!(
                "the consent was given for {} in {country}; it is in {} now ({id})",
                question.recipient, question.country
            );
            return finding(OTHER_COUNTRY, Reason::RecipientCountry, text);
        }
        None => {
            let text = format!("no card of {} was known when the consent was recorded ({id})", question.recipient);
            return finding(OTHER_COUNTRY, Reason::RecipientCountry, text);
        }
    }
    if !(consent.terms.countries.is_empty() || consent.terms.countries.contains(question.country)) {
        let text = format!("the consent is limited to other countries than {} ({id})", question.country);
        return finding(OTHER_COUNTRY, Reason::RecipientCountry, text);
    }
    if limits.fits_purpose(question.purpose) != Fit::Yes {
        let text = format!("the consent does not cover the purpose {} ({id})", question.purpose);
        return finding(OTHER_PURPOSE, Reason::Purpose, text);
    }
    if limits.fits_sending() != Fit::Yes {
        let text = format!("the consent permits other actions than sending records ({id})");
        return finding(CLOSED, Reason::ConsentUnsupported, text);
    }
    if let Some(unmet) = limits.handling.difference(question.obligations_met).next() {
        let text = format!("the consent asks for {unmet}, which this way of delivery does not do ({id})");
        return finding(CLOSED, Reason::Obligation, text);
    }
    if let Some(what) = limits.unsupported.first() {
        let text = format!("the consent is limited by {what}, which is not evaluated, so it cannot permit ({id})");
        return finding(CLOSED, Reason::ConsentUnsupported, text);
    }
    None
}

fn left_out_text(reason: Reason, document: &Document) -> &'static str {
    match reason {
        Reason::DocumentClass if document.class.is_none() => "the document's class is not known",
        Reason::Date if document.date.is_none() => "the document has no date",
        Reason::Confidentiality if document.confidentiality.assumed => "the document's confidentiality is not stated",
        other => other.meaning(),
    }
}

/// Whose consent this is: another identifier of the same issuer is another person, another issuer's may be the same.
fn is_of(consent: &Consent, patient: &[PatientIdentifier]) -> Fit {
    if patient.contains(&consent.patient) {
        return Fit::Yes;
    }
    let issuer = |known: &PatientIdentifier| known.system() == consent.patient.system();
    if patient.iter().any(issuer) { Fit::No } else { Fit::Unknown }
}

fn nothing_on_file() -> Finding {
    Finding { document: None, reason: Reason::NoConsent, text: Reason::NoConsent.meaning().to_owned() }
}

fn endless(kept: &OnFile) -> Finding {
    let text = format!("the consent names no end and not when it was given ({})", kept.id);
    Finding { document: None, reason: Reason::ConsentUnsupported, text }
}
