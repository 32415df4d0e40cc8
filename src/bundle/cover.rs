//! `index.html`: the cover sheet, for a person who opens the bag without medseal.
//!
//! Rule: every word from a document or a clerk is escaped, and the page runs no script and loads nothing.

use std::fmt::Write as _;

mod words;

pub use words::class as class_name;

use super::descriptor::Descriptor;
use super::document::{Document, PatientCheck};

/// The cover sheet of a bundle.
pub fn page(descriptor: &Descriptor) -> String {
    let opinion = descriptor.kind == "opinion";
    let title = if opinion { "Second opinion" } else { "Records for a second opinion" };
    let mut page = format!(
        "{HEAD}<title>{title}: {}</title>\n{STYLE}</head>\n<body>\n<main>\n<h1>{title}</h1>\n<dl>\n",
        escape(descriptor.case.as_str())
    );
    let mut row = |name: &str, value: &str| {
        writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escape(value)).expect("a string takes everything");
    };
    row("From", descriptor.from.as_str());
    row("To", descriptor.to.as_str());
    row("Case", descriptor.case.as_str());
    row("Bundle", descriptor.bundle.as_str());
    row("Sealed", &moment(&descriptor.created));
    row("Purpose", descriptor.purpose.as_str());
    if let Some(patient) = &descriptor.patient {
        if let Some(name) = &patient.name {
            row("Patient", name);
        }
        if let Some(birth_date) = &patient.birth_date {
            row("Born", birth_date);
        }
        for identifier in &patient.identifiers {
            row("Identifier", &identifier.to_string());
        }
    }
    if let Some(said) = &descriptor.opinion {
        row("Outcome", &said.outcome);
        row("Status", &said.status);
        if let Some(author) = &said.author {
            row("Author", author);
        }
        if let Some(registration) = &said.registration {
            row("Registration", registration);
        }
    }
    if let Some(answers) = &descriptor.answers {
        row("Answers", answers.bundle.as_str());
    }
    page.push_str("</dl>\n");
    if let Some(question) = &descriptor.question {
        write!(page, "<h2>Question</h2>\n<p class=\"question\">{}</p>\n", escape(question))
            .expect("a string takes everything");
    }
    for notice in &descriptor.notices {
        writeln!(page, "<p class=\"notice\">{}</p>", escape(notice)).expect("a string takes everything");
    }
    write!(page, "<h2>Documents ({})</h2>\n<table>\n<thead><tr><th>Document</th><th>Type</th><th>Date</th><th>Class</th><th>Label</th><th>Patient</th><th class=\"n\">Size</th></tr></thead>\n<tbody>\n", descriptor.documents.len()).expect("a string takes everything");
    let mut by_date: Vec<&Document> = descriptor.documents.iter().collect();
    by_date.sort_by_key(|document| (document.date.map(|date| date.first()), document.path.clone()));
    for document in by_date {
        document_row(&mut page, document);
    }
    page.push_str("</tbody>\n</table>\n");
    let unchecked =
        descriptor.documents.iter().filter(|document| document.patient_check == PatientCheck::NotChecked).count();
    if unchecked > 0 && !opinion {
        writeln!(page, "<p>In {unchecked} of {} documents the patient's name could not be read by a machine. Compare them with the patient before you rely on them.</p>", descriptor.documents.len()).expect("a string takes everything");
    }
    page.push_str(FOOT);
    page
}

fn document_row(page: &mut String, document: &Document) {
    let days = document.date.map_or_else(
        || "not stated".to_owned(),
        |range| {
            if range.first() == range.last() {
                range.first().to_string()
            } else {
                format!("{} to {}", range.first(), range.last())
            }
        },
    );
    let label = format!(
        "{}{}",
        words::label(document.confidentiality.code),
        if document.confidentiality.assumed { ", assumed" } else { "" }
    );
    let check = match document.patient_check {
        PatientCheck::Match => "compared",
        PatientCheck::Confirmed => "confirmed by a person",
        PatientCheck::NotChecked => "not checked",
    };
    let path = escape(document.path.as_str());
    // Each part is encoded on its own, so that a name with # or ? still leads to its file.
    let link: Vec<String> = document.path.parts().map(percent).collect();
    let title =
        document.title.as_deref().map(|title| format!("<br><small>{}</small>", escape(title))).unwrap_or_default();
    writeln!(
        page,
        "<tr><td><a href=\"data/{}\">{path}</a>{title}</td><td>{}</td><td>{days}</td><td>{}</td><td>{}</td><td>{check}</td><td class=\"n\">{}</td></tr>",
        escape(&link.join("/")),
        escape(words::media_type(&document.media_type)),
        document.class.as_deref().map_or_else(|| "not stated".to_owned(), class_cell),
        escape(&label),
        size(document.bytes),
    )
    .expect("a string takes everything");
}

/// A class in words with its code; the code alone where we have no words for it.
fn class_cell(code: &str) -> String {
    let code_text = escape(code);
    words::class(code).map_or_else(|| code_text.clone(), |word| format!("{word}<br><small>{code_text}</small>"))
}

/// A time stamp to the minute, as a person reads it.
fn moment(stamp: &str) -> String {
    match (stamp.get(..10), stamp.get(11..16)) {
        (Some(day), Some(minute)) if stamp.ends_with('Z') => format!("{day} {minute} UTC"),
        _ => stamp.to_owned(),
    }
}

/// A size as a person reads it.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{}.{} kB", bytes / 1_000, bytes % 1_000 / 100),
        1_000_000..1_000_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000),
    }
}

/// Escapes for HTML text and for quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn percent(part: &str) -> String {
    let mut encoded = String::new();
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
    }
    encoded
}

/// How a page of ours begins: no script, nothing loaded.
pub(crate) const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width\">\n";

/// How a page of ours looks, on paper too.
pub(crate) const STYLE: &str = "<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.5rem; }
h1 { font-size: 1.6rem; border-bottom: 3px solid #17695f; padding-bottom: .4rem; }
h2 { font-size: 1.15rem; margin-top: 2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; margin: 0; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
.question { white-space: pre-wrap; border-left: 4px solid #17695f; padding: .2rem 1rem; margin: 0; }
.notice { border: 2px solid #a33; padding: .6rem 1rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem; border-bottom: 1px solid #9995; }
td:first-child { overflow-wrap: anywhere; min-width: 12rem; } td small { opacity: .8; }
.n { text-align: right; white-space: nowrap; }
footer { margin-top: 2.5rem; font-size: .85rem; opacity: .8; }
@media print { main { padding: 0; } a { color: inherit; text-decoration: none; } }
</style>
";

const FOOT: &str = "<footer>Every file of this bag is listed with its SHA-256 digest in <code>manifest-sha256.txt</code>; <code>sha256sum -c manifest-sha256.txt</code> checks them all.</footer>\n</main>\n</body>\n</html>\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_in_words_and_an_unknown_one_as_it_is() {
        assert_eq!(class_cell("18842-5"), "Discharge summary<br><small>18842-5</small>");
        assert_eq!(class_cell("0<1"), "0&lt;1");
        assert_eq!(words::media_type("application/pdf"), "PDF");
        assert_eq!(words::media_type("model/step"), "model/step");
    }

    #[test]
    fn a_time_is_shown_to_the_minute_with_its_zone() {
        assert_eq!(moment("2026-11-23T02:45:20.694389Z"), "2026-11-23 02:45 UTC");
        assert_eq!(moment("some day"), "some day");
    }
}
