//! What the decision is asked: everything it needs, read from the store for this one attempt.

use std::collections::BTreeSet;

use jiff::civil::Date;

use crate::bundle::document::Document;
use crate::clock::{self, Timestamp};
use crate::consent::{OnFile, Source};
use crate::decision::{
    Basis, BreakGlass, CaseState, Confirmation, DELIVERY_MEETS, Kind, NOTICES_MEET, PartnerState, Request,
};
use crate::gateway::{Gateway, Person};
use crate::id::{BundleId, ConsentId, Digest};
use crate::partner::Partner;
use crate::problem::Problem;
use crate::records::{BundleRecord, CaseRecord, ConsentRecord, Emergency, NewBundle};
use crate::statement::dispatch::Answers;
use crate::store::Space;

/// The question of the next attempt of a bundle, as everything stands now; `without` asks as if that consent were
/// withdrawn.
pub fn question_of(gateway: &Gateway, record: &BundleRecord, without: Option<&ConsentId>) -> Result<Request, Problem> {
    let case = gateway
        .row::<CaseRecord>(Space::Case, &CaseRecord::key(&record.side, &record.case))?
        .ok_or_else(|| Problem::conflict(format!("the case {} is not on file", record.case)))?
        .value;
    // An erased subject has no documents on file any more, and a request without documents is denied.
    let person = gateway.person(&case.subject)?;
    let person = person.as_ref();
    let documents = person.map_or(Ok(None), |person| person.documents(&record.bundle))?.unwrap_or_default();
    // A partner that was removed is for the policy to refuse.
    let partner = gateway.known_partner(&record.partner)?;
    // Without its reason, which an erasure takes away, nobody could justify it.
    let reason = person.filter(|_| record.emergency.is_some());
    let justified = reason.map_or(Ok(None), |person| person.emergency(&record.bundle))?.is_some();
    let emergency = record.emergency.as_ref().map(|emergency| (emergency, justified));
    let about = About {
        bundle: &record.bundle,
        kind: record.kind,
        basis: basis(gateway, record.answers.as_ref(), emergency),
        attempt: u32::try_from(record.attempts.len()).unwrap_or(u32::MAX).saturating_add(1),
        sealed_to: record.sealed.as_ref().map(|sealed| sealed.recipients.as_slice()),
    };
    let confirmation = Confirmation {
        sent_by: record.sent_by,
        sealed: record.sealed.as_ref().map(|sealed| (sealed.sealed_sha256, sealed.manifest_sha256)),
        // Whoever is no longer of the staff no longer stands behind anything.
        approvals: record.approvals.iter().filter(|approval| gateway.people.has(approval.by)).cloned().collect(),
    };
    ask(gateway, person, about, confirmation, &case, &partner, documents, without)
}

/// The question about a bundle that is not sealed yet.
pub fn question_of_new(gateway: &Gateway, new: &NewBundle, documents: &[Document]) -> Result<Request, Problem> {
    let partner = gateway.partner(&new.partner)?;
    // It is announced with a clinician and a reason, or not at all.
    let basis = basis(gateway, new.answers.as_ref(), new.emergency.as_ref().map(|emergency| (emergency, true)));
    let about = About { bundle: &new.bundle, kind: new.kind, basis, attempt: 1, sealed_to: None };
    let person = gateway.person(&new.case.subject)?;
    let nobody = Confirmation::none(new.sent_by);
    ask(gateway, person.as_ref(), about, nobody, &new.case, &partner, documents.to_vec(), None)
}

/// What is to authorise it: what an opinion answers, an emergency with whether its reason can still be read, or the
/// patient's consent.
fn basis(gateway: &Gateway, answers: Option<&Answers>, emergency: Option<(&Emergency, bool)>) -> Basis {
    match (answers, emergency) {
        (Some(answers), _) => Basis::Answers(answers.dispatch),
        (None, Some((emergency, justified))) => {
            let config = &gateway.config.break_glass;
            // A stamp that nobody can read begins and ends nowhere: no moment is within it.
            let requested = clock::read_stamp(&emergency.requested).unwrap_or(Timestamp::MAX);
            let until = clock::read_stamp(&emergency.until).unwrap_or(Timestamp::MIN);
            let lasts = jiff::SignedDuration::from_secs(i64::from(config.box_s_max));
            let longest = requested.checked_add(lasts).unwrap_or(until);
            Basis::BreakGlass(BreakGlass { enabled: config.enabled, justified, requested, until: until.min(longest) })
        }
        (None, None) => Basis::Consent,
    }
}

struct About<'a> {
    bundle: &'a BundleId,
    kind: Kind,
    basis: Basis,
    attempt: u32,
    sealed_to: Option<&'a [String]>,
}

#[allow(clippy::too_many_arguments, reason = "each is a different thing that one decision is about")]
fn ask(
    gateway: &Gateway,
    person: Option<&Person<'_>>,
    about: About<'_>,
    confirmation: Confirmation,
    case: &CaseRecord,
    partner: &Partner,
    documents: Vec<Document>,
    without: Option<&ConsentId>,
) -> Result<Request, Problem> {
    let read_at = gateway.now();
    let patient = person.map_or(Ok(None), |person| person.case(case).map(|private| private.patient))?;
    let birth_date = patient.as_ref().and_then(|patient| patient.birth_date.as_deref()).map(birth_date).transpose()?;
    let patient = patient.map(|patient| patient.identifiers).unwrap_or_default();
    let sealed_to_one_of = |keys: &[String]| {
        about
            .sealed_to
            .map_or(!keys.is_empty(), |recipients| recipients.iter().any(|recipient| keys.contains(recipient)))
    };
    let has_valid_recipient_key = sealed_to_one_of(&partner.recipients_at(read_at));
    let recipient_key_begins_later = !has_valid_recipient_key && sealed_to_one_of(&partner.recipients_after(read_at));
    let card = partner.card();
    Ok(Request {
        bundle: about.bundle.clone(),
        attempt: about.attempt,
        kind: about.kind,
        basis: about.basis,
        case: CaseState {
            id: case.case.clone(),
            open: case.closed.is_none(),
            partners: BTreeSet::from([case.partner.clone()]),
            purpose: case.purpose.clone(),
            subject: case.subject.clone(),
        },
        partner: PartnerState {
            id: card.id.clone(),
            country: card.country.clone(),
            standing: partner.standing,
            agreement_from: partner.agreement.from,
            agreement_until: partner.agreement.until,
            transfer_basis: partner.agreement.basis,
            card: partner.fingerprint(),
            card_expires: card.expires,
            part2: partner.agreement.part2,
            has_valid_recipient_key,
            recipient_key_begins_later,
        },
        confirmation,
        documents,
        patient,
        birth_date,
        // Without a key, an erased consent is none: it neither permits nor denies any more.
        consents: person.map_or(Ok(Vec::new()), |person| consents_on_file(gateway, person, case, without))?,
        obligations_met: DELIVERY_MEETS.into_iter().chain(NOTICES_MEET).map(str::to_owned).collect(),
        origin_country: gateway.config.country.clone(),
        zone: gateway.config.zone(),
        read_at,
    })
}

fn birth_date(text: &str) -> Result<Date, Problem> {
    text.parse().map_err(|error| Problem::internal("the birth date of a case", &error))
}

fn consents_on_file(
    gateway: &Gateway,
    person: &Person<'_>,
    case: &CaseRecord,
    without: Option<&ConsentId>,
) -> Result<Vec<OnFile>, Problem> {
    let mut consents = Vec::new();
    for row in gateway.consents_of(&case.subject)? {
        let Some(mut kept) = consent_of(gateway, person, &row.value)? else { continue };
        if without == Some(&kept.id) {
            kept.withdrawn.get_or_insert_with(|| gateway.now());
        }
        consents.push(kept);
    }
    Ok(consents)
}

/// A consent as a decision reads it, by one version of its record; `None` when the subject was erased.
pub fn consent_on_file(gateway: &Gateway, record: &ConsentRecord) -> Result<Option<OnFile>, Problem> {
    gateway.person(&record.subject)?.map_or(Ok(None), |person| consent_of(gateway, &person, record))
}

fn consent_of(gateway: &Gateway, person: &Person<'_>, record: &ConsentRecord) -> Result<Option<OnFile>, Problem> {
    let Some(private) = person.consent(&record.consent)? else { return Ok(None) };
    let withdrawn = record.withdrawn.as_deref().map(|at| clock::read_stamp(at).unwrap_or_else(|| gateway.now()));
    let consent = gateway.read_consent(private.resource.as_bytes());
    let depends = matches!(&consent, Ok(consent) if consent.source() == Source::Abdm);
    Ok(Some(OnFile {
        id: record.consent.clone(),
        version: record.version,
        withdrawn,
        countries: record.countries.iter().cloned().collect(),
        sha256: Digest::of(private.resource.as_bytes()),
        depends: depends.then(|| gateway.network().meaning()),
        consent,
    }))
}
