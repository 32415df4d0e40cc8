//! The page for the first hour of an incident: how many, where, and whom to tell until when.
//!
//! Rule: the clocks stand before the list, and the page says what the log cannot know.

use std::fmt::Write as _;

use crate::cli::page::{END, begin, escape};
use crate::desk::incident::{Affected, Incident, NoticeClock};

pub(super) use crate::cli::page::moment;

/// The page.
pub(super) fn page(found: &Incident) -> String {
    let mut page = begin("Incident: who is affected");
    page.push_str("<dl>\n");
    let mut row = |name: &str, value: &str| {
        writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escape(value)).expect("a string takes everything");
    };
    row("Institution", &format!("{} ({})", found.institution, found.country));
    row("About", &found.scope.join("; "));
    row("Known since", &moment(&found.known_at));
    row("Made", &moment(&found.made));
    row("Patients", &found.subjects.to_string());
    row("Bundles", &format!("{} with {}, as far as the log knows", found.bundles, documents(found.documents)));
    row("Of the bundles", &openings(found));
    row("Countries", &found.countries.join(", "));
    page.push_str("</dl>\n<h2>Whom to tell, until when</h2>\n");
    clocks(&mut page, &found.clocks);
    page.push_str("<h2>Where it went and came from</h2>\n");
    parties(&mut page, found);
    page.push_str("<h2>Bundles and patients</h2>\n");
    list(&mut page, found);
    write!(
        page,
        "<footer><p>This page lists duties and counts; whether a duty applies is for people to decide. The log knows what \
         was sealed, sent, received and opened through medseal. It does not know who looked at a screen, what became of \
         copies that were opened, nor what left by another way. Until somebody knows better, count whoever is listed \
         here as affected.</p><p>Out of {} statements of the log <code>{}</code>; that this was asked is statement {}. \
         Patients are named by the pseudonym under which the log speaks of them{}.</p></footer>\n{END}",
        found.entries,
        escape(&found.log),
        found.entry,
        if found.affected.iter().any(|one| one.patient.is_some()) { "; this copy names them" } else { "" },
    )
    .expect("a string takes everything");
    page
}

/// Those of a law that is in force in one of the countries as a table, the others in a line each.
fn clocks(page: &mut String, clocks: &[NoticeClock]) {
    let (here, elsewhere): (Vec<_>, Vec<_>) = clocks.iter().partition(|clock| !clock.countries.is_empty());
    if !here.is_empty() {
        page.push_str("<table>\n<thead><tr><th>Until</th><th>Whom</th><th>How soon, since when</th><th>Whether</th></tr></thead>\n<tbody>\n");
    }
    for clock in &here {
        writeln!(
            page,
            "<tr><td class=\"when\">{}</td><td>{}<small>{}; {}</small></td><td>{}<small>since {}</small></td><td>{}</td></tr>",
            until(clock),
            escape(&clock.whom),
            escape(&clock.source),
            escape(&clock.countries.join(", ")),
            escape(&clock.within),
            escape(&clock.runs_since),
            escape(&clock.applies),
        )
        .expect("a string takes everything");
    }
    if !here.is_empty() {
        page.push_str("</tbody>\n</table>\n");
    }
    if !elsewhere.is_empty() {
        page.push_str("<p>If patients or institutions of other countries are affected:</p>\n<ul>\n");
    }
    for clock in &elsewhere {
        writeln!(
            page,
            "<li>{}: {} <small>{}; {}, since {}; {}</small></li>",
            until(clock),
            escape(&clock.whom),
            escape(&clock.source),
            escape(&clock.within),
            escape(&clock.runs_since),
            escape(&clock.applies),
        )
        .expect("a string takes everything");
    }
    if !elsewhere.is_empty() {
        page.push_str("</ul>\n");
    }
}

fn until(clock: &NoticeClock) -> String {
    let until = match (&clock.due, clock.in_force) {
        (Some(due), _) => moment(due),
        (None, true) => "without delay".to_owned(),
        (None, false) => "not in force yet".to_owned(),
    };
    let late = if clock.passed { " <span class=\"late\">passed</span>" } else { "" };
    format!("{}{late}", escape(&until))
}

fn parties(page: &mut String, found: &Incident) {
    if found.parties.is_empty() {
        page.push_str("<p>No bundle is affected.</p>\n");
        return;
    }
    page.push_str("<table>\n<thead><tr><th>Institution</th><th>Country</th><th>Patients</th><th>Bundles sent</th><th>Bundles received</th></tr></thead>\n<tbody>\n");
    for party in &found.parties {
        writeln!(
            page,
            "<tr><td>{}<small>{}</small></td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(if party.name.is_empty() { "not known here" } else { &party.name }),
            escape(&party.id),
            escape(&party.country),
            party.subjects,
            party.sent,
            party.received,
        )
        .expect("a string takes everything");
    }
    page.push_str("</tbody>\n</table>\n");
}

fn list(page: &mut String, found: &Incident) {
    if found.affected.is_empty() {
        page.push_str("<p>Nobody, as far as the log knows.</p>\n");
        return;
    }
    page.push_str("<table>\n<thead><tr><th>Patient</th><th>What</th><th>With whom</th><th>Opened</th><th>When</th></tr></thead>\n<tbody>\n");
    for one in found.affected.iter().take(LINES_MAX) {
        writeln!(
            page,
            "<tr><td>{}</td><td>{}<small>{}</small><small>{}</small></td><td>{}<small>{}</small></td><td>{}<small>{}</small></td><td class=\"when\">{}<small>to {}</small></td></tr>",
            patient(one),
            escape(&what(one)),
            escape(&one.bundle),
            escape(&one.classes),
            escape(&with_whom(one)),
            escape(&reached(one)),
            escape(&one.opened),
            escape(&one.opened_how),
            escape(&moment(&one.first)),
            escape(&moment(&one.last)),
        )
        .expect("a string takes everything");
    }
    page.push_str("</tbody>\n</table>\n");
    let left = found.affected.len().saturating_sub(LINES_MAX);
    if left > 0 {
        writeln!(page, "<p>{left} more stand in incident.csv.</p>").expect("a string takes everything");
    }
}

fn patient(one: &Affected) -> String {
    let mut cell = String::new();
    if let Some(patient) = &one.patient {
        cell.push_str(&escape(patient.name.as_deref().unwrap_or("no name on file")));
        for more in patient.birth_date.iter().cloned().chain(patient.identifiers.iter().map(ToString::to_string)) {
            write!(cell, "<small>{}</small>", escape(&more)).expect("a string takes everything");
        }
    }
    let erased = if one.erased { "<small>erased here since</small>" } else { "" };
    format!("{cell}<code class=\"id\">{}</code>{erased}", escape(&one.subject))
}

fn what(one: &Affected) -> String {
    match (one.way.as_str(), one.content.as_str()) {
        ("on-file", _) => "something on file, no bundle".to_owned(),
        (way, "opinion") => format!("opinion {way}, {}", documents(one.documents)),
        (way, _) => format!("records {way}, {}", documents(one.documents)),
    }
}

/// How many bundles were opened, as far as it is known.
pub(super) fn openings(found: &Incident) -> String {
    let unknown = found.bundles.saturating_sub(found.opened + found.unopened);
    format!("{} opened, {} not opened, {unknown} not known", found.opened, found.unopened)
}

fn documents(count: u64) -> String {
    if count == 1 { "1 document".to_owned() } else { format!("{count} documents") }
}

fn reached(one: &Affected) -> String {
    if one.fate.is_empty() { one.reached.clone() } else { format!("{}; {}", one.reached, one.fate) }
}

fn with_whom(one: &Affected) -> String {
    if one.country.is_empty() { one.party.clone() } else { format!("{}, {}", one.party, one.country) }
}

/// So many lines stand on the page; the table has all of them.
const LINES_MAX: usize = 40;
