//! All consents of a patient against one release: permitted by one of them, or refused with the most helpful reason.
//!
//! Rule: denials override, across every consent on file that is not withdrawn; a permission comes wholly from one.
//! A denial outlives its own end date: only the patient's withdrawal of it, or a new status, lifts it.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::bundle::document::Document;
use crate::id::{ConsentId, Country, InstitutionId, PatientIdentifier, Purpose};
use crate::reason::Reason;

use super::terminology::Fit;
use super::{Consent, Effect, Grantor, Limits, OPEN_ENDED_DAYS_MAX, OnFile, Source, Status};

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
    let request =
        |limits: &Limits| Fit::all([limits.fits_recipient(question.recipient), limits.fits_purpose(question.purpose)]);
    let denying = match consent.effect {
        Effect::Deny => std::slice::from_ref(&consent.limits),
        // Exceptions hold where their permission would: for its recipients and purposes, whatever the document.
        Effect::Permit if request(&consent.limits) == Fit::No => &[],
        Effect::Permit => &consent.exceptions[..],
    };
    let mut findings = Vec::new();
    for limits in denying.iter().filter(|limits| request(limits) != Fit::No) {
        let finding = |document, what| Finding {
            document,
            reason: Reason::ConsentDenied,
            text: format!("the patient excludes {what} ({})", kept.id),
        };
        if !limits.depends_on_the_document() {
            findings.push(finding(None, "this release"));
            continue;
        }
        let denied = |document: &Document| limits.denies_document(document, question.zone);
        let documents = question.documents.iter().enumerate().filter(|(_, document)| denied(document));
        findings.extend(documents.map(|(index, _)| finding(Some(index), "this document")));
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
    if consent.effect == Effect::Deny || !consent.about_privacy || is_of(consent, question.patient) != Fit::Yes {
        return Assessed::Aside;
    }
    let lapsed = lapsed(kept, consent, question);
    let refuse = |rank, findings| Assessed::Refuses(Refusal { rank, findings, id: kept.id.clone() });
    if let Some((rank, finding)) = outside_request(kept, consent, question) {
        return if lapsed.is_none() { refuse(rank, vec![finding]) } else { Assessed::Aside };
    }
    let left_out: Vec<Finding> = question
        .documents
        .iter()
        .enumerate()
        .filter_map(|(index, document)| {
            let reason = consent.limits.leaves_out(document, question.zone)?;
            Some(Finding {
                document: Some(index),
                reason,
                text: format!("{} ({})", left_out_text(reason, document), kept.id),
            })
        })
        .collect();
    match (lapsed, left_out.is_empty()) {
        (None, true) => match consent.until(question.zone) {
            Some(until) => Assessed::Permits(Granted {
                consent: kept.id.clone(),
                version: kept.version,
                until,
                sensitivities_named: question.documents.iter().all(|d| consent.limits.names_sensitivities_of(d)),
                obligations: consent.terms.obligations.clone(),
                erase_at: consent.terms.erase_at.map(|moment| moment.end(question.zone)),
                grantor: consent.terms.grantor,
                risk_notice: consent.terms.risk_notice.clone(),
                cross_border: consent.terms.countries.contains(question.country),
                source: consent.source,
                path: "Consent.provision".to_owned(),
            }),
            None => refuse(CLOSED, vec![endless(kept)]),
        },
        (None, false) => refuse(LEAVES_OUT, left_out),
        (Some(finding), true) if finding.reason == Reason::ConsentWithdrawn => refuse(WITHDRAWN, vec![finding]),
        (Some(finding), true) => refuse(LAPSED, vec![finding]),
        (Some(finding), false) => refuse(LAPSED_AND_LEAVES_OUT, vec![finding]),
    }
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
fn lapsed(kept: &OnFile, consent: &Consent, question: &Question<'_>) -> Option<Finding> {
    let finding = |reason, text: String| Some(Finding { document: None, reason, text });
    let id = &kept.id;
    if kept.withdrawn.is_some() {
        return finding(Reason::ConsentWithdrawn, format!("the patient has withdrawn the consent ({id})"));
    }
    if consent.status == Status::NotActive {
        return finding(Reason::ConsentInactive, format!("the consent on file is not active ({id})"));
    }
    if consent.until(question.zone).is_some_and(|until| until <= question.now) {
        let why = match consent.period.and_then(|period| period.end) {
            Some(_) => "the consent has ended".to_owned(),
            None => format!("the consent names no end and was given more than {OPEN_ENDED_DAYS_MAX} days ago"),
        };
        return finding(Reason::ConsentExpired, format!("{why} ({id})"));
    }
    if consent.period.is_some_and(|period| period.from(question.zone) > question.now) {
        return finding(Reason::ConsentNotYet, format!("the consent begins later ({id})"));
    }
    None
}

/// Why the consent does not cover this request, whatever the documents are.
fn outside_request(kept: &OnFile, consent: &Consent, question: &Question<'_>) -> Option<(u8, Finding)> {
    let (limits, id) = (&consent.limits, &kept.id);
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

impl Consent {
    fn is_in_force(&self) -> bool {
        self.status == Status::Active && self.about_privacy
    }

    /// The first instant at which it no longer permits; `None` if nothing tells.
    pub(super) fn until(&self, zone: &TimeZone) -> Option<Timestamp> {
        let begun = || self.given.or_else(|| self.period.and_then(|period| period.start));
        let end = self.period.and_then(|period| period.until(zone));
        end.or_else(|| begun()?.start(zone).checked_add((24 * OPEN_ENDED_DAYS_MAX).hours()).ok())
    }
}
