//! A request that breaks a property, as lines that a privacy officer reads.
//!
//! Rule: everything that the rules were told is shown, in the names of the schema; nothing is left out, so that the
//! reader sees why it was allowed.

use cedar_policy::{Entities, EntityUid, Request};
use serde_json::{Map, Value};

/// What a request and its entities say.
pub(super) fn of(request: &Request, entities: &Entities) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(partner) = request.principal() {
        lines.push(line("partner", &attributes(entities, partner)));
    }
    if let Some(bundle) = request.resource() {
        let mut bundle = attributes(entities, bundle);
        if let Some(case) = bundle.remove("case").as_ref().and_then(uid_of) {
            let mut case = attributes(entities, &case);
            let invited = request.principal().is_some_and(|partner| names(case.get("partners"), partner));
            case.remove("partners");
            case.insert("this partner invited".to_owned(), Value::Bool(invited));
            lines.push(line("case", &case));
        }
        lines.push(line("bundle", &bundle));
    }
    let context = request.context().and_then(|context| context.to_json_value().ok());
    let mut context = context.and_then(|context| context.as_object().cloned()).unwrap_or_default();
    let release = request.action().is_some_and(|action| action.id().unescaped() == "release");
    match context.remove("consent").as_ref().and_then(Value::as_object) {
        Some(consent) => lines.push(line("consent", consent)),
        None if release => lines.push("consent: none".to_owned()),
        None => {}
    }
    lines.push(line("request", &context));
    lines
}

fn line(what: &str, attributes: &Map<String, Value>) -> String {
    let said: Vec<String> =
        attributes.iter().map(|(name, value)| format!("{} {}", name.replace('_', " "), said(value))).collect();
    format!("{what}: {}", said.join(", "))
}

fn said(value: &Value) -> String {
    match value {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(said).collect::<Vec<_>>().join(" and "),
        // A date: {"__extn": {"fn": "datetime", "arg": "..."}}.
        Value::Object(object) => match object.get("__extn").and_then(|extension| extension.get("arg")) {
            Some(Value::String(text)) => text.clone(),
            _ => value.to_string(),
        },
        Value::String(text) => format!("\"{text}\""),
        other => other.to_string(),
    }
}

fn attributes(entities: &Entities, uid: &EntityUid) -> Map<String, Value> {
    let entity = entities.get(uid).and_then(|entity| entity.to_json_value().ok());
    entity.and_then(|entity| entity.get("attrs")?.as_object().cloned()).unwrap_or_default()
}

/// Whether a set of entities holds this one.
fn names(set: Option<&Value>, uid: &EntityUid) -> bool {
    set.and_then(Value::as_array).is_some_and(|items| items.iter().filter_map(uid_of).any(|each| each == *uid))
}

/// An entity's name as Cedar writes it in JSON: {"__entity": {"type": "T", "id": "x"}}.
fn uid_of(value: &Value) -> Option<EntityUid> {
    EntityUid::from_json(value.clone()).ok()
}
