//! Partners: registered with a fingerprint that two people compared, suspended, resumed, removed.

use serde::{Deserialize, Serialize};

use super::Staff;
use crate::audit::happened::Happened;
use crate::audit::log::Change;
use crate::clock;
use crate::deliver::{DeliverError, Line};
use crate::gateway::{Gateway, put};
use crate::id::{Digest, InstitutionId};
use crate::partner::{Agreement, Certificate, Partner, SignedCard, Standing};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::store::{Expect, Space};

/// What `partner add` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddPartner {
    /// The card file's text.
    pub card: String,
    /// The fingerprint that was compared with the partner by another way.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// What was agreed; an active agreement from now on unless it says otherwise.
    #[serde(default)]
    pub agreement: Option<Agreement>,
}

/// A partner as the staff sees it.
#[derive(Clone, Debug, Serialize)]
pub struct PartnerView {
    /// Its id.
    pub id: InstitutionId,
    /// Its name.
    pub name: String,
    /// Its country.
    pub country: String,
    /// Where it is reached; empty for a partner that fetches.
    pub endpoint: String,
    /// `medseal`, `https-put` or `pull`.
    pub exchange: &'static str,
    /// The fingerprint of its card.
    pub fingerprint: Digest,
    /// The card's serial.
    pub serial: u64,
    /// `active` or `suspended`.
    pub standing: Standing,
    /// When the card ends.
    pub expires: String,
}

impl PartnerView {
    fn of(partner: &Partner) -> Self {
        let card = partner.card();
        Self {
            id: card.id.clone(),
            name: card.name.clone(),
            country: card.country.to_string(),
            endpoint: card.endpoint.clone(),
            exchange: card.exchange.as_str(),
            fingerprint: partner.fingerprint(),
            serial: card.serial,
            standing: partner.standing,
            expires: clock::stamp(card.expires),
        }
    }
}

/// Registers a partner, or renews its card.
pub async fn add(gateway: &Gateway, staff: Staff, request: AddPartner) -> Result<PartnerView, Problem> {
    let refuse = |error: crate::partner::CardError| {
        let problem = Problem::refused(error.reason(), error.to_string());
        if let Some(hint) = error.hint() { problem.hint(hint) } else { problem }
    };
    let card = SignedCard::parse(request.card.as_bytes()).map_err(refuse)?;
    if card.card().id == *gateway.id() {
        return Err(Problem::bad_input(Reason::BadInput, "this is our own card"));
    }
    let fingerprint = request
        .fingerprint
        .map(|text| crate::partner::parse_fingerprint(&text))
        .transpose()
        .map_err(|error| Problem::bad_input(Reason::BadInput, format!("the fingerprint: {error}")))?;
    let key = card.card().id.as_str().as_bytes().to_vec();
    let existing = gateway.row::<Partner>(Space::Partner, &key)?;
    let now = gateway.now();
    let agreement = request
        .agreement
        .or_else(|| existing.as_ref().map(|row| row.value.agreement.clone()))
        .unwrap_or_else(|| Agreement::attested(now));
    let before = existing.as_ref().map(|row| &row.value);
    let partner = Partner::admit(before, card, fingerprint.as_ref(), agreement, now).map_err(refuse)?;
    // Two partners with one authority could pose as each other, so TLS would know neither. What counts is the key, at
    // whatever time: anybody can write another certificate around it.
    let authorities = || partner.card().tls.iter().map(|entry| &entry.value);
    let is_shared = |known: &Certificate| authorities().any(|ours| ours.has_key_of(known));
    let shared = gateway
        .partners()?
        .into_iter()
        .find(|other| other.id() != partner.id() && other.card().tls.iter().any(|entry| is_shared(&entry.value)));
    if let Some(other) = shared {
        let detail =
            format!("the card holds the certificate authority of {}: each institution has its own", other.id());
        return Err(Problem::refused(Reason::BadInput, detail));
    }
    let expect = existing.as_ref().map_or(Expect::Absent, crate::gateway::Row::unchanged);
    let event = Happened::partner_added(
        partner.id(),
        partner.fingerprint(),
        partner.card().serial,
        partner.card().country.as_str(),
        before.is_some(),
    );
    let change = Change { puts: vec![put(Space::Partner, &key, &partner, expect)], ..Change::default() };
    gateway.enter(event.by(staff.uid), change).await?;
    gateway.trust_partners();
    Ok(PartnerView::of(&partner))
}

/// Every registered partner.
pub fn list(gateway: &Gateway) -> Result<Vec<PartnerView>, Problem> {
    Ok(gateway.partners()?.iter().map(PartnerView::of).collect())
}

/// One partner.
pub fn show(gateway: &Gateway, id: &InstitutionId) -> Result<PartnerView, Problem> {
    gateway.partner(id).map(|partner| PartnerView::of(&partner))
}

/// Suspends, resumes or removes a partner. It bites at once: TLS forgets the partner, every decision sees it.
pub async fn set_standing(
    gateway: &Gateway,
    staff: Staff,
    id: &InstitutionId,
    standing: Standing,
) -> Result<PartnerView, Problem> {
    let row = gateway
        .row::<Partner>(Space::Partner, id.as_str().as_bytes())?
        .filter(|row| row.value.is_registered())
        .ok_or_else(|| Problem::bad_input(Reason::PartnerUnknown, format!("{id} is not a registered partner")))?;
    let expect = row.unchanged();
    let mut partner = row.value;
    partner.standing = standing;
    let action = match standing {
        Standing::Active => "resumed",
        Standing::Suspended => "suspended",
        Standing::Removed => "removed",
    };
    let change = Change { puts: vec![put(Space::Partner, &row.key, &partner, expect)], ..Change::default() };
    gateway.enter(Happened::partner_standing(id, action).by(staff.uid), change).await?;
    gateway.trust_partners();
    Ok(PartnerView::of(&partner))
}

/// What a ping found.
#[derive(Clone, Debug, Serialize)]
pub struct Pong {
    /// Who answered.
    pub institution: InstitutionId,
    /// The partner's time.
    pub time: String,
    /// Our time.
    pub our_time: String,
}

/// Asks the partner's gateway whether it is there and knows us.
pub async fn ping(gateway: &Gateway, id: &InstitutionId) -> Result<Pong, Problem> {
    let partner = gateway.partner(id)?;
    let failed = |error: DeliverError| match error.reason() {
        reason @ (Reason::WrongPartner | Reason::PartnerExpired | Reason::PartnerRefused) => {
            Problem::refused(reason, error.to_string())
        }
        reason => Problem::try_again(reason, error.to_string()),
    };
    let line = Line::connect(&gateway.tls, id, &partner.card().endpoint, gateway.line_limits()).await;
    let pong = line.map_err(failed)?.ping().await.map_err(failed)?;
    Ok(Pong { institution: pong.institution, time: pong.time, our_time: clock::stamp(gateway.now()) })
}
