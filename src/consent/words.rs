//! A consent in plain sentences, for the clerk who records it and compares it with the paper.
//!
//! Rule: every limit that the evaluation knows is said, and so is what it will not evaluate.

use std::collections::BTreeSet;

use super::moment::{Moment, Period};
use super::{Class, Code, Consent, Effect, Grantor, Label, Limits, OPEN_ENDED_DAYS_MAX, Provision, Recipient, Status};

pub(super) fn of(consent: &Consent) -> Vec<String> {
    let mut lines = Vec::new();
    if consent.status == Status::NotActive {
        lines.push("It is not active, so it permits nothing.".to_owned());
    }
    if !consent.about_privacy {
        lines.push("It is not about privacy, so it permits nothing here.".to_owned());
    }
    let grants = consent.grants();
    for (index, grant) in grants.iter().enumerate() {
        permission(consent, grant, index > 0, &mut lines);
    }
    if grants.is_empty() {
        denial(consent, &mut lines);
    }
    let own = if grants.len() > 1 { "Of every permission it excludes" } else { "It excludes" };
    let beside: &[Provision] = if consent.base.effect == Effect::Permit { &consent.base.exceptions } else { &[] };
    lines.extend(beside.iter().map(|exception| format!("{own} {}.", excluded(exception))));
    terms(consent, &mut lines);
    if !grants.is_empty() && consent.base.effect == Effect::Deny {
        lines.push("It says nothing about anybody else; another consent may.".to_owned());
    }
    lines
}

fn permission(consent: &Consent, grant: &Provision, also: bool, lines: &mut Vec<String>) {
    let limits = &grant.limits;
    let it = if also { "It also permits" } else { "It permits" };
    lines.push(match recipients(limits) {
        Some(to) => format!("{it} sending records to {to}."),
        None if also => "A further part names no recipient, so it permits nothing.".to_owned(),
        None => "It names no recipient, so it permits nothing.".to_owned(),
    });
    lines.extend(limited_to(limits).into_iter().map(|limit| format!("Only {limit}.")));
    if !limits.unsupported.is_empty() {
        let what = list(limits.unsupported.iter().map(|what| (*what).to_owned()));
        lines.push(format!("It is also limited by {what}, which medseal does not evaluate, so it permits nothing."));
    }
    lines.extend(travelling(&limits.handling));
    lines.push(validity(consent, grant));
    if consent.base.effect == Effect::Deny {
        lines.extend(grant.exceptions.iter().map(|exception| format!("It excludes {}.", excluded(exception))));
    }
}

fn denial(consent: &Consent, lines: &mut Vec<String>) {
    let base = &consent.base;
    lines.push(match recipients(&base.limits) {
        Some(to) => format!("It forbids sending records to {to}."),
        None => "It forbids sending records to anyone.".to_owned(),
    });
    lines.extend(limited_to(&base.limits).into_iter().map(|limit| format!("Only {limit}.")));
    lines.push(match consent.period.and_then(|period| period.start) {
        Some(start) => format!("It holds from {} until it is withdrawn.", day(start, true)),
        None => "It holds until it is withdrawn.".to_owned(),
    });
    for lifted in &base.exceptions {
        lines.push(format!("It does not forbid {}; this alone permits nothing.", excluded(lifted)));
    }
}

/// An exception in one clause, with the exceptions to it.
fn excluded(exception: &Provision) -> String {
    let limits = &exception.limits;
    let (mut parts, mut request): (Vec<_>, Vec<_>) =
        limited_to(limits).into_iter().partition(|part| part.starts_with("documents"));
    request.extend(recipients(limits).map(|to| format!("to {to}")));
    if let Some(first) = request.first_mut().filter(|_| parts.is_empty()) {
        *first = format!("sending {first}");
    }
    parts.append(&mut request);
    let not_evaluated = match exception.effect {
        Effect::Deny => "not evaluated: it excludes all",
        Effect::Permit => "not evaluated: it lifts nothing",
    };
    parts.extend(limits.unsupported.iter().map(|what| format!("{what} ({not_evaluated})")));
    parts.extend(exception.period.filter(|_| exception.effect == Effect::Permit).map(span));
    let mut text = if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") };
    for lifted in &exception.exceptions {
        text = format!("{text}, unless {}", excluded(lifted));
    }
    text
}

fn recipients(limits: &Limits) -> Option<String> {
    if limits.recipients.is_empty() { None } else { Some(list(limits.recipients.iter().map(recipient))) }
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

fn validity(consent: &Consent, grant: &Provision) -> String {
    let periods: Vec<Period> = [consent.period, grant.period].into_iter().flatten().collect();
    if periods.iter().any(|period| period.end.is_some()) {
        return format!("It holds {}.", periods.into_iter().map(span).collect::<Vec<_>>().join(", and only "));
    }
    match consent.given.or_else(|| periods.iter().find_map(|period| period.start)) {
        Some(given) => format!("It names no end: it holds for {OPEN_ENDED_DAYS_MAX} days from {}.", day(given, true)),
        None => "It names no end and not when it was given, so it permits nothing.".to_owned(),
    }
}

fn terms(consent: &Consent, lines: &mut Vec<String>) {
    let terms = &consent.terms;
    if !terms.countries.is_empty() {
        lines.push(format!("Only in {}.", list(terms.countries.iter().map(ToString::to_string))));
    }
    if let Some(erase) = terms.erase_at {
        lines
            .push(format!("The recipient may keep the records until {}, and must then erase them.", day(erase, false)));
    }
    lines.extend(travelling(&terms.obligations));
    if let Some(version) = &terms.risk_notice {
        lines.push(format!("The patient was told of the risks of sending abroad (notice {version})."));
    }
    let checked =
        |verified| if verified { "whose authority was checked" } else { "whose authority nobody has checked" };
    lines.extend(match terms.grantor {
        Grantor::SelfGiven => Some("The patient gave it.".to_owned()),
        Grantor::Parent { verified } => Some(format!("A parent gave it, {}.", checked(verified))),
        Grantor::Guardian { verified } => Some(format!("A representative gave it, {}.", checked(verified))),
        Grantor::NotStated => None,
    });
}

fn travelling(obligations: &BTreeSet<String>) -> Option<String> {
    let codes: Vec<&str> = obligations.iter().map(String::as_str).collect();
    (!codes.is_empty()).then(|| format!("It asks that these travel with the records: {}.", codes.join(", ")))
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
