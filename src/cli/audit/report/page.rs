//! The accounting of disclosures as one page for a person: plain words, printable.
//!
//! Rule: every word from outside is escaped, and the page runs no script and loads nothing.

use std::fmt::Write as _;

use crate::cli::page::{END, begin, escape, moment};
use crate::desk::disclosures::{Line, Report};

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut page = begin("Accounting of disclosures");
    page.push_str("<dl>\n");
    let mut row = |name: &str, value: &str| {
        writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escape(value)).expect("a string takes everything");
    };
    row("Institution", &report.institution);
    row("Patient", &report.patient);
    row("Period", &period(report));
    row("Made", &moment(&report.made));
    if report.officer {
        row("Copy", "for the officer: with what was refused; not for the patient");
    }
    page.push_str("</dl>\n<h2>What was disclosed</h2>\n");
    table(&mut page, report.lines.iter().filter(|line| line.disclosure), "Nothing was disclosed in this period.");
    page.push_str("<h2>What else happened</h2>\n");
    table(&mut page, report.lines.iter().filter(|line| !line.disclosure), "Nothing.");
    write!(
        page,
        "<footer>Each line is a statement in the institution's log <code>{}</code>, where you are called <code>{}</code>. \
         The number and the code under the date name the statement. Each proof is a file beside this page: with it and \
         with the log's key, as the institution gave it to you by another way, anyone can check that the log has the \
         statement, word for word: <code>medseal audit verify {} --key KEY</code>. It shows that the statement was made \
         then and not changed since, not that it is true.</footer>\n{END}",
        escape(&report.log),
        escape(&report.subject),
        escape(report.lines.first().map_or("proofs/statement-N.tlog-proof", |line| &line.proof)),
    )
    .expect("a string takes everything");
    page
}

fn table<'a>(page: &mut String, lines: impl Iterator<Item = &'a Line>, none: &str) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        writeln!(page, "<p>{none}</p>").expect("a string takes everything");
        return;
    }
    page.push_str("<table>\n<thead><tr><th>Date</th><th>What</th><th>With whom</th><th>Of what</th><th>Why, and on which basis</th></tr></thead>\n<tbody>\n");
    for line in lines {
        writeln!(
            page,
            "<tr><td>{}<small>statement {}<br><code>{}</code>{}</small></td><td>{}{}</td><td>{}{}</td><td>{}{}</td><td>{}{}</td></tr>",
            escape(&moment(&line.at)),
            line.seq,
            escape(&line.leaf),
            [&line.proof, &line.released_proof].map(|proof| link(proof)).concat(),
            escape(&line.what),
            small("receipt", &line.receipt),
            escape(&line.party),
            small("", &line.address),
            escape(&line.description),
            small("", &line.bundle),
            escape(&line.purpose),
            small("", &line.basis),
        )
        .expect("a string takes everything");
    }
    page.push_str("</tbody>\n</table>\n");
}

/// The proof of a line, as the name of its file.
fn link(proof: &str) -> String {
    let proof = escape(proof);
    if proof.is_empty() { proof } else { format!("<br>proof: <a href=\"{proof}\">{proof}</a>") }
}

fn small(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("<small>{name} {}</small>", escape(value)) }
}

fn period(report: &Report) -> String {
    let from = report.from.as_deref().unwrap_or("the beginning of the log");
    let to = report.to.as_deref().unwrap_or("now");
    format!("{from} to {to}, days in UTC")
}
