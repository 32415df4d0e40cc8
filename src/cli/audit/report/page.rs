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
    disclosures(&mut page, report.lines.iter().filter(|line| line.disclosure));
    page.push_str("<h2>What else happened</h2>\n");
    others(&mut page, report.lines.iter().filter(|line| !line.disclosure));
    write!(
        page,
        "<footer>Each line is a statement in the institution's log <code>{}</code>, where you are called <code>{}</code>. \
         The number and the code name the statement. Each proof is a file beside this page: with it and \
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

fn disclosures<'a>(page: &mut String, lines: impl Iterator<Item = &'a Line>) {
    let heads = ["Date", "To whom", "What", "Why, and on which basis", "Statement"];
    table(page, &heads, "Nothing was disclosed in this period.", lines, |line| {
        vec![
            format!("{}{}", escape(&moment(&line.at)), small(&line.what)),
            format!("{}{}", escape(&line.party), small(&line.address)),
            format!("{}{}", escape(&line.description), small(&line.bundle)),
            format!("{}{}", escape(&purpose(&line.purpose)), small(&line.basis)),
            statement(line),
        ]
    });
}

fn others<'a>(page: &mut String, lines: impl Iterator<Item = &'a Line>) {
    table(page, &["Date", "What", "With whom", "Statement"], "Nothing.", lines, |line| {
        vec![
            escape(&moment(&line.at)),
            format!("{}{}{}", escape(&line.what), small(&line.description), small(&line.bundle)),
            format!("{}{}", escape(&line.party), small(&line.address)),
            statement(line),
        ]
    });
}

fn table<'a>(
    page: &mut String,
    heads: &[&str],
    none: &str,
    lines: impl Iterator<Item = &'a Line>,
    cells: impl Fn(&Line) -> Vec<String>,
) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        writeln!(page, "<p>{none}</p>").expect("a string takes everything");
        return;
    }
    let heads: String = heads.iter().map(|head| ["<th>", head, "</th>"].concat()).collect();
    writeln!(page, "<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>").expect("a string takes everything");
    for line in lines {
        let cells = cells(line).join("</td><td>");
        writeln!(page, "<tr><td class=\"when\">{cells}</td></tr>").expect("a string takes everything");
    }
    page.push_str("</tbody>\n</table>\n");
}

/// The entry and its proofs; the codes are for whoever compares, so they are small.
fn statement(line: &Line) -> String {
    let released = match line.released {
        Some(seq) => format!("<br>released by {}", link(seq, &line.released_proof)),
        None => String::new(),
    };
    let receipt =
        if line.receipt.is_empty() { String::new() } else { format!("receipt <code>{}</code>", escape(&line.receipt)) };
    format!("{}{released}<small><code>{}</code><br>{receipt}</small>", link(line.seq, &line.proof), escape(&line.leaf))
}

/// The number of an entry, which leads to its proof.
fn link(seq: u64, proof: &str) -> String {
    if proof.is_empty() { seq.to_string() } else { format!("<a href=\"{}\">{seq}, proof</a>", escape(proof)) }
}

fn small(value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("<small>{}</small>", escape(value)) }
}

/// A code of v3-ActReason in words.
fn purpose(code: &str) -> String {
    let words = match code {
        "TREAT" => "treatment",
        "ETREAT" => "emergency treatment",
        "BTG" => "an emergency in which no consent could be asked for",
        "CAREMGT" => "care management",
        "PATRQT" => "the patient asked for it",
        "HPAYMT" => "payment",
        "HRESCH" => "research",
        other => return other.to_owned(),
    };
    format!("{words} ({code})")
}

fn period(report: &Report) -> String {
    let from = report.from.as_deref().unwrap_or("the beginning of the log");
    let to = report.to.as_deref().unwrap_or("now");
    format!("{from} to {to}, days in UTC")
}
