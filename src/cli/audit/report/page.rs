//! The accounting of disclosures as one page for a person: plain words, printable.
//!
//! Rule: every word from outside is escaped, and the page runs no script and loads nothing.

use std::fmt::Write as _;

use crate::desk::disclosures::{Line, Report};

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut page = format!("{HEAD}<h1>Accounting of disclosures</h1>\n<dl>\n");
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
         then and not changed since, not that it is true.</footer>\n</main>\n</body>\n</html>\n",
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

/// `2026-11-22 10:15 UTC`.
fn moment(stamp: &str) -> String {
    match (stamp.get(..10), stamp.get(11..16)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => stamp.to_owned(),
    }
}

fn escape(text: &str) -> String {
    crate::bundle::cover::escape(text)
}

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Accounting of disclosures</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 76rem; margin: 0 auto; padding: 2rem 1.5rem; }
h1 { font-size: 1.6rem; border-bottom: 3px solid #17695f; padding-bottom: .4rem; }
h2 { font-size: 1.15rem; margin-top: 2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; margin: 0; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem; border-bottom: 1px solid #9995; }
td { overflow-wrap: anywhere; min-width: 8rem; } td small { display: block; opacity: .8; }
footer { margin-top: 2.5rem; font-size: .85rem; opacity: .8; }
@media print { main { padding: 0; } tr { break-inside: avoid; } }
</style>
</head>
<body>
<main>
";
