//! A consent in plain sentences, for the clerk who records it and compares it with the paper.
//!
//! Rule: every limit that the evaluation knows is said, and so is what it will not evaluate.

use super::moment::{Moment, Period};
use super::{Class, Code, Consent, Effect, Label, Limits, OPEN_ENDED_DAYS_MAX, Recipient, Status};

pub(super) fn of(consent: &Consent) -> Vec<String> {
    let mut lines = Vec::new();
    if consent.status == Status::NotActive {
        lines.push("It is not active, so it permits nothing.".to_owned());
    }
    if !consent.about_privacy {
        lines.push("It is not about privacy, so it permits nothing here.".to_owned());
    }
    let limits = &consent.limits;
    let to = if limits.recipients.is_empty() { None } else { Some(list(limits.recipients.iter().map(recipient))) };
    lines.push(match (consent.effect, to) {
        (Effect::Permit, Some(to)) => format!("It permits sending records to {to}."),
        (Effect::Permit, None) => "It names no recipient, so it permits nothing.".to_owned(),
        (Effect::Deny, Some(to)) => format!("It forbids sending records to {to}."),
        (Effect::Deny, None) => "It forbids sending records to anyone.".to_owned(),
    });
    lines.extend(limited_to(limits).into_iter().map(|limit| format!("Only {limit}.")));
    if consent.effect == Effect::Permit && !limits.unsupported.is_empty() {
        let what = list(limits.unsupported.iter().map(|what| (*what).to_owned()));
        lines.push(format!("It is also limited by {what}, which medseal does not evaluate, so it permits nothing."));
    }
    lines.push(validity(consent));
    for exception in &consent.exceptions {
        let mut limits = limited_to(exception);
        if !exception.recipients.is_empty() {
            limits.push(format!("to {}", list(exception.recipients.iter().map(recipient))));
        }
        limits.extend(exception.unsupported.iter().map(|what| format!("{what} (not evaluated: it excludes all)")));
        let what = if limits.is_empty() { "everything".to_owned() } else { limits.join(", ") };
        lines.push(format!("It excludes {what}."));
    }
    lines
}

fn limited_to(limits: &Limits) -> Vec<String> {
    let mut parts = Vec::new();
    if !limits.purposes.is_empty() {
        parts.push(format!("for the purpose {}", list(limits.purposes.iter().map(code))));
    }
    if !limits.actions.is_empty() {
        parts.push(format!("for the action {}", list(limits.actions.iter().map(code))));
    }
    if !limits.classes.is_empty() {
        parts.push(format!("documents of the class {}", list(limits.classes.iter().map(class))));
    }
    if let Some(period) = limits.data_period {
        parts.push(format!("documents dated {}", span(period)));
    }
    if !limits.labels.is_empty() {
        parts.push(format!("documents labelled {}", list(limits.labels.iter().map(label))));
    }
    parts
}

fn validity(consent: &Consent) -> String {
    match (consent.effect, consent.period) {
        (Effect::Deny, Some(Period { start: Some(start), .. })) => {
            format!("It holds from {} until it is withdrawn.", day(start, true))
        }
        (Effect::Deny, _) => "It holds until it is withdrawn.".to_owned(),
        (Effect::Permit, Some(period)) if period.end.is_some() => format!("It holds {}.", span(period)),
        (Effect::Permit, period) => match consent.given.or_else(|| period.and_then(|period| period.start)) {
            Some(given) => {
                format!("It names no end: it holds for {OPEN_ENDED_DAYS_MAX} days from {}.", day(given, true))
            }
            None => "It names no end and not when it was given, so it permits nothing.".to_owned(),
        },
    }
}

fn span(period: Period) -> String {
    match (period.start, period.end) {
        (Some(start), Some(end)) => format!("from {} to {}", day(start, true), day(end, false)),
        (Some(start), None) => format!("from {}", day(start, true)),
        (None, Some(end)) => format!("until {}", day(end, false)),
        (None, None) => "at any time".to_owned(),
    }
}

fn day(moment: Moment, start: bool) -> String {
    match moment {
        Moment::Days(first, last) => (if start { first } else { last }).to_string(),
        Moment::At(at) => at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    }
}

fn recipient(recipient: &Recipient) -> String {
    match recipient {
        Recipient::Institution(id) => id.to_string(),
        Recipient::Unresolved => "someone whom medseal cannot identify".to_owned(),
    }
}

fn code(code: &Code) -> String {
    match code {
        Code::Known(code) => code.clone(),
        Code::Elsewhere => "a code that medseal does not know".to_owned(),
    }
}

fn class(class: &Class) -> String {
    match class {
        Class::Loinc(code) => format!("LOINC {code}"),
        Class::MediaType(media_type) => media_type.clone(),
        Class::Elsewhere => "a kind that medseal does not know".to_owned(),
    }
}

fn label(label: &Label) -> String {
    match label {
        Label::Confidentiality(code) => format!("{code:?} (confidentiality)"),
        Label::Sensitivity(code) => format!("{code} (sensitivity)"),
        Label::Elsewhere => "with a label that medseal does not know".to_owned(),
    }
}

/// `a`, `a or b`, `a, b or c`.
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match items.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
