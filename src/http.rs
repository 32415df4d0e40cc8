//! The staff API: HTTP and JSON over the gateway's Unix socket.
//!
//! Rule: handlers translate, they decide nothing; who may call is checked on the socket before a request is read.

mod answer;
mod stream;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::json;

use crate::config::STAFF_BODY_BYTES_MAX;
use crate::desk::bundles::Announce;
use crate::desk::cases::OpenCase;
use crate::desk::inbox::Opened;
use crate::desk::opinions::GiveOpinion;
use crate::desk::partners::AddPartner;
use crate::desk::{
    Staff, alarms, approvals, audit, bundles, cases, consents, disclosures, emergencies, erasures, explain, holds,
    inbox, incident, opinions, partners, recalls, replay, retention, stamps,
};
use crate::gateway::{Gateway, Reloaded};
use crate::id::{BundleId, CaseId, ConsentId, InstitutionId, PatientIdentifier};
use crate::partner::Standing;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::records::Outcome;
use crate::witness;

use answer::{Answer, Input, items};

type App = State<Arc<Gateway>>;
type Who = Extension<Staff>;

/// Every route of the staff API.
pub fn routes(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/gateway", get(gateway_facts))
        .route("/v1/policy/reload", post(policy_reload))
        .route("/v1/card", get(card))
        .route("/v1/keys", get(keys))
        .route("/v1/partners", get(partner_list).post(partner_add))
        .route("/v1/partners/{id}", get(partner_show).delete(partner_remove))
        .route("/v1/partners/{id}/suspend", post(partner_suspend))
        .route("/v1/partners/{id}/resume", post(partner_resume))
        .route("/v1/partners/{id}/ping", post(partner_ping))
        .route("/v1/consents", post(consent_add))
        .route("/v1/consents/evidenced", post(consent_add_evidenced))
        .route("/v1/consents/search", post(consent_search))
        .route("/v1/consents/{id}", get(consent_show))
        .route("/v1/consents/{id}/evidence/{number}", get(consent_scan))
        .route("/v1/consents/{id}/withdraw", post(consent_withdraw))
        .route("/v1/cases", get(case_list).post(case_open))
        .route("/v1/cases/{id}", get(case_show))
        .route("/v1/cases/{id}/close", post(case_close))
        .route("/v1/cases/{id}/opinion", post(opinion_announce))
        .route("/v1/bundles", get(bundle_list).post(bundle_announce))
        .route("/v1/bundles/{id}", get(bundle_show))
        .route("/v1/bundles/{id}/content", put(bundle_fill).layer(DefaultBodyLimit::disable()))
        .route("/v1/bundles/{id}/wait", get(bundle_wait))
        .route("/v1/bundles/{id}/explain", get(bundle_explain))
        .route("/v1/bundles/{id}/approve", post(bundle_approve))
        .route("/v1/bundles/{id}/reject", post(bundle_reject))
        .route("/v1/bundles/{id}/patient-told", post(patient_told))
        .route("/v1/bundles/{id}/review", post(emergency_review))
        .route("/v1/emergencies", get(emergency_list))
        .route("/v1/bundles/{id}/recall", post(bundle_recall))
        .route("/v1/queue", get(queue))
        .route("/v1/inbox", get(inbox_list))
        .route("/v1/inbox/{id}", get(inbox_show))
        .route("/v1/inbox/{id}/content", get(inbox_content))
        .route("/v1/inbox/{id}/opened", post(inbox_opened))
        .route("/v1/audit/entries", get(audit_entries))
        .route("/v1/audit/checkpoint", get(audit_checkpoint))
        .route("/v1/audit/checkpoint/to-show", get(audit_checkpoint_to_show))
        .route("/v1/audit/countersigned", get(audit_countersigned))
        .route("/v1/audit/witnesses", get(audit_witnesses))
        .route("/v1/audit/keys", get(audit_keys))
        .route("/v1/audit/countersignatures", post(audit_bring))
        .route("/v1/audit/checkpoints", get(audit_checkpoints))
        .route("/v1/audit/stamps", get(audit_stamps).post(audit_stamp_keep))
        .route("/v1/audit/stamps/request", post(audit_stamp_request))
        .route("/v1/audit/alarms", get(audit_alarms))
        .route("/v1/audit/alarms/{id}/evidence", get(audit_evidence))
        .route("/v1/audit/alarms/{id}/acknowledge", post(audit_acknowledge))
        .route("/v1/audit/growth", get(audit_growth))
        .route("/v1/audit/policy", get(audit_policy))
        .route("/v1/audit/disclosures", post(audit_disclosures))
        .route("/v1/erasures", post(erase))
        .route("/v1/retention", post(retention_look))
        .route("/v1/incident", post(incident_look))
        .route("/v1/holds", get(hold_list).post(hold_place))
        .route("/v1/holds/lift", post(hold_lift))
        .route("/v1/holds/confirm", post(hold_confirm))
        .route("/v1/audit/proof", get(audit_proof))
        .route("/v1/audit/place", get(audit_place))
        .route("/v1/audit/verify", get(audit_verify))
        .route("/v1/audit/replay", get(audit_replay))
        .fallback(|| async { Answer::<()>::from(Err(Problem::not_found("there is no such thing in the staff API"))) })
        .layer(DefaultBodyLimit::max(STAFF_BODY_BYTES_MAX))
        .with_state(gateway)
}

/// The staff API of a gateway in read-only mode: it says why, to every question.
pub fn read_only_routes(reason: Reason, detail: String) -> Router {
    Router::new().fallback(move || {
        let problem = Problem::try_again(reason, detail.clone());
        async move { Answer::<()>::from(Err(problem)) }
    })
}

/// The staff API for somebody who is not of the staff: no, to every question, whatever it is.
pub fn stranger_routes(uid: u32) -> Router {
    let problem = Problem::refused(Reason::NotStaff, format!("user {uid} is not among the staff of this gateway"));
    Router::new().fallback(move || async move { Answer::<()>::from(Err(problem)) })
}

async fn gateway_facts(State(gateway): App) -> Answer<serde_json::Value> {
    let config = &gateway.config;
    Ok(json!({
        "id": config.id, "name": config.name, "country": config.country, "endpoint": config.endpoint,
        "entries": gateway.log.size(), "origin": gateway.log.reader().origin().as_str(), "policy": gateway.policy().digest(),
        "software": env!("CARGO_PKG_VERSION"),
    }))
    .into()
}

async fn policy_reload(State(gateway): App, Extension(staff): Who) -> Answer<Reloaded> {
    gateway.reload_policy(Some(staff.uid)).await.into()
}

async fn card(State(gateway): App) -> Answer<serde_json::Value> {
    let read = || {
        let text =
            std::fs::read_to_string(gateway.home.card()).map_err(|error| Problem::internal("our card", &error))?;
        let card = crate::partner::SignedCard::parse(text.as_bytes())
            .map_err(|error| Problem::internal("our card", &error))?;
        Ok(json!({ "id": gateway.id(), "fingerprint": card.fingerprint(), "card": text }))
    };
    read().into()
}

async fn keys(State(gateway): App) -> Answer<serde_json::Value> {
    items(gateway.keys.inventory(gateway.now()).map_err(|error| Problem::internal("the keys", &error)))
}

async fn partner_list(State(gateway): App) -> Answer<serde_json::Value> {
    items(partners::list(&gateway))
}

async fn partner_add(
    State(gateway): App,
    Extension(staff): Who,
    body: Input<AddPartner>,
) -> Answer<partners::PartnerView> {
    partners::add(&gateway, staff, body.0).await.into()
}

async fn partner_show(State(gateway): App, Path(id): Path<InstitutionId>) -> Answer<partners::PartnerView> {
    partners::show(&gateway, &id).into()
}

async fn partner_remove(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<InstitutionId>,
) -> Answer<partners::PartnerView> {
    partners::set_standing(&gateway, staff, &id, Standing::Removed).await.into()
}

async fn partner_suspend(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<InstitutionId>,
) -> Answer<partners::PartnerView> {
    partners::set_standing(&gateway, staff, &id, Standing::Suspended).await.into()
}

async fn partner_resume(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<InstitutionId>,
) -> Answer<partners::PartnerView> {
    partners::set_standing(&gateway, staff, &id, Standing::Active).await.into()
}

async fn partner_ping(State(gateway): App, Path(id): Path<InstitutionId>) -> Answer<partners::Pong> {
    partners::ping(&gateway, &id).await.into()
}

async fn consent_add(State(gateway): App, Extension(staff): Who, resource: Bytes) -> Answer<consents::ConsentView> {
    consents::add(&gateway, staff, &resource, Vec::new()).await.into()
}

/// A consent with scans of the paper beside it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Evidenced {
    /// The consent's text, byte for byte.
    consent: String,
    /// The scans, each as base64.
    evidence: Vec<String>,
}

async fn consent_add_evidenced(
    State(gateway): App,
    Extension(staff): Who,
    body: Input<Evidenced>,
) -> Answer<consents::ConsentView> {
    let scans: Result<Vec<Vec<u8>>, _> = body.0.evidence.iter().map(|scan| BASE64.decode(scan)).collect();
    match scans {
        Ok(scans) => consents::add(&gateway, staff, body.0.consent.as_bytes(), scans).await.into(),
        Err(_) => Err(Problem::bad_input(Reason::BadInput, "a scan in the request is not base64")).into(),
    }
}

async fn consent_scan(State(gateway): App, Path((id, number)): Path<(ConsentId, u32)>) -> Response {
    match consents::scan(&gateway, &id, number).await {
        Ok((scan, bytes)) => ([(header::CONTENT_TYPE, scan.media_type)], bytes.to_vec()).into_response(),
        Err(problem) => Answer::<()>::from(Err(problem)).into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    #[serde(default)]
    patient: Option<String>,
}

async fn consent_search(State(gateway): App, body: Input<Search>) -> Answer<serde_json::Value> {
    let patient = body.0.patient.map(|text| text.parse::<PatientIdentifier>()).transpose();
    match patient {
        Ok(patient) => items(consents::list(&gateway, patient.as_ref())),
        Err(error) => Err(Problem::bad_input(Reason::BadInput, error.to_string())).into(),
    }
}

async fn consent_show(State(gateway): App, Path(id): Path<ConsentId>) -> Answer<consents::ConsentView> {
    consents::show(&gateway, &id).into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Withdraw {
    reason: String,
}

async fn consent_withdraw(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<ConsentId>,
    body: Input<Withdraw>,
) -> Answer<consents::Withdrawn> {
    consents::withdraw(&gateway, staff, &id, &body.0.reason).await.into()
}

async fn case_list(State(gateway): App) -> Answer<serde_json::Value> {
    items(cases::list(&gateway))
}

async fn case_open(State(gateway): App, Extension(staff): Who, body: Input<OpenCase>) -> Answer<serde_json::Value> {
    cases::open(&gateway, staff, body.0).await.map(|case| json!({ "case": case })).into()
}

async fn case_show(State(gateway): App, Path(id): Path<CaseId>) -> Answer<cases::CaseView> {
    cases::show(&gateway, &id).into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseCase {
    outcome: Outcome,
}

async fn case_close(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<CaseId>,
    body: Input<CloseCase>,
) -> Answer<cases::CaseView> {
    cases::close(&gateway, staff, &id, body.0.outcome).await.into()
}

async fn opinion_announce(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<CaseId>,
    body: Input<GiveOpinion>,
) -> Response {
    created(opinions::announce(&gateway, staff, &id, body.0).await)
}

async fn bundle_list(State(gateway): App) -> Answer<serde_json::Value> {
    items(bundles::list(&gateway))
}

async fn bundle_announce(State(gateway): App, Extension(staff): Who, body: Input<Announce>) -> Response {
    created(bundles::announce(&gateway, staff, body.0).await)
}

async fn bundle_fill(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<BundleId>,
    body: Body,
) -> Answer<bundles::Sealed> {
    let (pump, reader) = stream::body_as_reader(body);
    let (answer, ()) = tokio::join!(bundles::fill(&gateway, staff, &id, reader), pump);
    answer.into()
}

async fn bundle_show(State(gateway): App, Path(id): Path<BundleId>) -> Answer<bundles::BundleView> {
    bundles::show(&gateway, &id).into()
}

#[derive(Deserialize)]
struct Seconds {
    #[serde(default)]
    seconds: u64,
}

async fn bundle_wait(
    State(gateway): App,
    Path(id): Path<BundleId>,
    Query(time): Query<Seconds>,
) -> Answer<bundles::BundleView> {
    bundles::wait(&gateway, &id, time.seconds.min(WAIT_S_MAX)).await.into()
}

async fn bundle_explain(State(gateway): App, Path(id): Path<BundleId>) -> Answer<explain::Explained> {
    explain::explain(&gateway, &id).into()
}

async fn bundle_approve(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<BundleId>,
) -> Answer<bundles::BundleView> {
    approvals::approve(&gateway, staff, &id).await.into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    reason: String,
}

async fn bundle_reject(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<BundleId>,
    body: Input<Because>,
) -> Answer<bundles::BundleView> {
    approvals::reject(&gateway, staff, &id, &body.0.reason).await.into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

async fn patient_told(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<BundleId>,
    body: Input<Text>,
) -> Answer<bundles::BundleView> {
    emergencies::patient_told(&gateway, staff, &id, &body.0.text).await.into()
}

async fn emergency_review(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<BundleId>,
    body: Input<Text>,
) -> Answer<bundles::BundleView> {
    emergencies::review(&gateway, staff, &id, &body.0.text).await.into()
}

async fn emergency_list(State(gateway): App) -> Answer<serde_json::Value> {
    items(emergencies::list(&gateway))
}

async fn bundle_recall(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<BundleId>,
    body: Input<Because>,
) -> Answer<bundles::BundleView> {
    recalls::order(&gateway, staff, &id, &body.0.reason).await.into()
}

async fn queue(State(gateway): App) -> Answer<serde_json::Value> {
    items(bundles::queue(&gateway))
}

async fn inbox_list(State(gateway): App) -> Answer<serde_json::Value> {
    items(inbox::list(&gateway))
}

async fn inbox_show(State(gateway): App, Path(id): Path<BundleId>) -> Answer<inbox::InboxItem> {
    inbox::show(&gateway, &id).into()
}

async fn inbox_content(State(gateway): App, Path(id): Path<BundleId>) -> Response {
    match inbox::content(&gateway, &id) {
        Ok((file, bytes)) => {
            let headers = [(header::CONTENT_LENGTH, bytes.to_string()), (header::CONTENT_TYPE, SEALED_TYPE.to_owned())];
            (headers, stream::file_as_body(file)).into_response()
        }
        Err(problem) => Answer::<()>::from(Err(problem)).into_response(),
    }
}

async fn inbox_opened(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<BundleId>,
    body: Input<Opened>,
) -> Answer<inbox::InboxView> {
    inbox::opened(&gateway, staff, &id, body.0).await.into()
}

async fn audit_entries(State(gateway): App, Query(range): Query<audit::Range>) -> Response {
    match audit::entries(&gateway, &range) {
        Ok(lines) => ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response(),
        Err(problem) => Answer::<()>::from(Err(problem)).into_response(),
    }
}

async fn audit_checkpoint(State(gateway): App) -> Response {
    match audit::checkpoint(&gateway).await {
        Ok(note) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response(),
        Err(problem) => Answer::<()>::from(Err(problem)).into_response(),
    }
}

async fn audit_checkpoint_to_show(State(gateway): App) -> Response {
    match audit::checkpoint_to_show(&gateway).await {
        Ok(note) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response(),
        Err(problem) => Answer::<()>::from(Err(problem)).into_response(),
    }
}

async fn audit_countersigned(State(gateway): App) -> Response {
    match audit::countersigned(&gateway) {
        Ok(note) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response(),
        Err(problem) => Answer::<()>::from(Err(problem)).into_response(),
    }
}

async fn audit_witnesses(State(gateway): App) -> Answer<audit::Witnesses> {
    audit::witnesses(&gateway).into()
}

async fn audit_bring(
    State(gateway): App,
    Extension(staff): Who,
    body: Input<audit::BroughtNote>,
) -> Answer<crate::audit::trust::Standing> {
    witness::bring(&gateway, staff.uid, &body.0.checkpoint).await.into()
}

async fn audit_checkpoints(State(gateway): App, Query(below): Query<audit::Below>) -> Answer<serde_json::Value> {
    items(audit::past(&gateway, &below))
}

async fn audit_stamps(State(gateway): App) -> Answer<serde_json::Value> {
    items(stamps::list(&gateway))
}

async fn audit_stamp_request(State(gateway): App) -> Answer<stamps::StampRequest> {
    stamps::request(&gateway).await.into()
}

async fn audit_stamp_keep(
    State(gateway): App,
    Extension(staff): Who,
    body: Input<stamps::StampAnswer>,
) -> Answer<stamps::StampView> {
    stamps::keep(&gateway, staff, body.0).await.into()
}

async fn audit_alarms(State(gateway): App) -> Answer<serde_json::Value> {
    items(alarms::list(&gateway))
}

async fn audit_evidence(State(gateway): App, Path(id): Path<String>) -> Response {
    match alarms::evidence(&gateway, &id) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response(),
        Err(problem) => Answer::<()>::from(Err(problem)).into_response(),
    }
}

async fn audit_acknowledge(
    State(gateway): App,
    Extension(staff): Who,
    Path(id): Path<String>,
) -> Answer<alarms::AlarmView> {
    alarms::acknowledge(&gateway, staff, &id).await.into()
}

async fn audit_keys(State(gateway): App) -> Answer<serde_json::Value> {
    audit::keys(&gateway).into()
}

async fn audit_growth(State(gateway): App, Query(asked): Query<audit::Grown>) -> Answer<serde_json::Value> {
    audit::growth(&gateway, asked).await.into()
}

async fn audit_policy(State(gateway): App) -> Answer<serde_json::Value> {
    audit::policy(&gateway).into()
}

async fn audit_proof(State(gateway): App, Query(asked): Query<audit::Asked>) -> Answer<serde_json::Value> {
    audit::prove(&gateway, &asked).await.into()
}

async fn audit_place(State(gateway): App, Query(asked): Query<audit::Placed>) -> Answer<serde_json::Value> {
    audit::place(&gateway, asked).await.into()
}

async fn audit_verify(State(gateway): App) -> Answer<crate::audit::verify::Report> {
    audit::verify(&gateway).await.into()
}

async fn audit_disclosures(State(gateway): App, body: Input<disclosures::AskReport>) -> Answer<disclosures::Report> {
    disclosures::report(&gateway, body.0).await.into()
}

async fn erase(
    State(gateway): App,
    Extension(staff): Who,
    body: Input<erasures::AskErasure>,
) -> Answer<erasures::ErasureView> {
    erasures::erase(&gateway, staff, body.0).await.into()
}

async fn retention_look(
    State(gateway): App,
    Extension(staff): Who,
    body: Input<retention::AskRetention>,
) -> Answer<retention::Schedule> {
    retention::look(&gateway, staff, body.0).await.into()
}

async fn incident_look(
    State(gateway): App,
    Extension(staff): Who,
    body: Input<incident::AskIncident>,
) -> Answer<incident::Incident> {
    incident::look(&gateway, staff, body.0).await.into()
}

async fn hold_list(State(gateway): App) -> Answer<serde_json::Value> {
    items(holds::list(&gateway))
}

async fn hold_place(
    State(gateway): App,
    Extension(staff): Who,
    body: Input<holds::AskHold>,
) -> Answer<holds::HoldView> {
    holds::place(&gateway, staff, body.0).await.into()
}

async fn hold_lift(State(gateway): App, Extension(staff): Who, body: Input<holds::AskHold>) -> Answer<holds::HoldView> {
    holds::lift(&gateway, staff, body.0).await.into()
}

async fn hold_confirm(
    State(gateway): App,
    Extension(staff): Who,
    body: Input<holds::ConfirmHold>,
) -> Answer<holds::HoldView> {
    holds::confirm(&gateway, staff, body.0).await.into()
}

async fn audit_replay(State(gateway): App, Query(stretch): Query<audit::Stretch>) -> Answer<replay::Replayed> {
    audit::replay(&gateway, &stretch).await.into()
}

fn created(announced: Result<bundles::Announced, Problem>) -> Response {
    match announced {
        Ok(announced) => (StatusCode::CREATED, Json(announced)).into_response(),
        Err(problem) => Answer::<()>::from(Err(problem)).into_response(),
    }
}

/// The longest that a caller may wait in one request, in seconds.
const WAIT_S_MAX: u64 = 60;

/// The registered name is still to come; this is what tools use.
const SEALED_TYPE: &str = "application/age-encryption";
